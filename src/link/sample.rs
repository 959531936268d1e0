//! Frames for tests.

use etherparse::PacketBuilder;

use crate::case::Direction;

/// Where the TCP header of a sample begins in its frame.
pub const TCP: usize = 34;

/// A TCP segment over IPv4 to be made into a frame.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    ports: (u16, u16),
    sequence: u32,
    acknowledgement: Option<u32>,
    payload: u32,
    syn: bool,
    fin: bool,
    rst: bool,
    v6: bool,
    /// Options, and how many bytes of them count.
    options: ([u8; 40], usize),
}

const PLAIN: Sample = Sample {
    ports: (40000, 5000),
    sequence: 0,
    acknowledgement: None,
    payload: 0,
    syn: false,
    fin: false,
    rst: false,
    v6: false,
    options: ([0; 40], 0),
};

/// From the client: a SYN.
pub fn syn(sequence: u32) -> Sample {
    Sample { sequence, syn: true, ..PLAIN }
}

/// From the server: a SYN/ACK.
pub fn syn_ack(sequence: u32, acknowledgement: u32) -> Sample {
    Sample { sequence, acknowledgement: Some(acknowledgement), syn: true, ..PLAIN }
}

/// A segment with payload, or without.
pub fn data(sequence: u32, acknowledgement: u32, payload: u32) -> Sample {
    Sample { sequence, acknowledgement: Some(acknowledgement), payload, ..PLAIN }
}

impl Sample {
    /// The same with FIN.
    pub fn fin(self) -> Sample {
        Sample { fin: true, ..self }
    }

    /// The same with RST.
    pub fn rst(self) -> Sample {
        Sample { rst: true, ..self }
    }

    /// The same over IPv6.
    pub fn v6(self) -> Sample {
        Sample { v6: true, ..self }
    }

    /// The same with TCP options, as they are on the wire.
    pub fn options(self, options: &[u8]) -> Sample {
        let mut all = [0; 40];
        all[..options.len()].copy_from_slice(options);
        Sample { options: (all, options.len()), ..self }
    }

    /// The same between other ports.
    pub fn ports(self, client: u16, server: u16) -> Sample {
        Sample { ports: (client, server), ..self }
    }

    /// The frame of a packet that goes in `direction`; the client is at the left end.
    pub fn frame(self, direction: Direction) -> Vec<u8> {
        let ((client, server), (a, b)) = (self.ports, ([10, 0, 1, 1], [10, 0, 1, 2]));
        let (source, destination, from, to) =
            if direction == Direction::Backward { (server, client, b, a) } else { (client, server, a, b) };
        let ethernet = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
        let wide = |short: [u8; 4]| {
            let mut address = [0; 16];
            address[12..].copy_from_slice(&short);
            address
        };
        let ip = if self.v6 { ethernet.ipv6(wide(from), wide(to), 64) } else { ethernet.ipv4(from, to, 64) };
        let mut tcp = ip.tcp(source, destination, self.sequence, 1000);
        if let Some(number) = self.acknowledgement {
            tcp = tcp.ack(number);
        }
        if self.syn {
            tcp = tcp.syn();
        }
        if self.fin {
            tcp = tcp.fin();
        }
        if self.rst {
            tcp = tcp.rst();
        }
        let (options, length) = self.options;
        let tcp = tcp.options_raw(&options[..length]).expect("options of a sample fit");
        let payload: Vec<u8> = (0..self.payload).map(|index| index as u8).collect();
        let mut frame = Vec::new();
        tcp.write(&mut frame, &payload).expect("a sample is a valid packet");
        frame
    }
}
