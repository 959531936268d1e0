//! Captures on the hosts of both ends: every packet of all their devices, loopback included, as `tcpdump -i any` shows it.
//!
//! On a live kernel a thread empties each packet socket as packets arrive. In a guest the sockets are read only at the end:
//! there, a thread that wakes up would change the run, and the kernel grants a buffer that holds everything.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use nix::errno::Errno;
use nix::net::if_::if_nameindex;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::socket::{setsockopt, sockopt};
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{InterfaceDescriptionBlock, InterfaceDescriptionOption};
use pcap_file::{DataLink, PcapError};

use super::init;
use crate::case::{Case, Host, Protocol};
use crate::endpoint::PORT;
use crate::link::packet::{ETHERNET_HEADER, View};
use crate::link::seen::{self, Seen};
use crate::net::{NetError, packet};
use crate::observation::CaptureStory;
use crate::sys;
use crate::topology::{self, Topology};

/// How many packets of one host are kept: those of 64 MiB each way in full segments.
const PACKETS_MAX: usize = 1 << 17;

/// How much a socket is asked to hold, in bytes. An ordinary user gets less, and may miss packets.
const BUFFER: usize = 64 << 20;

/// The device that shows each packet twice: when it leaves and when it arrives.
const LOOPBACK: &str = "lo";

/// The resolution of timestamps: 10 to the power of minus 9 seconds.
const NANOSECONDS: u8 = 9;

/// The lowest bits of `epb_flags`.
const INBOUND: u32 = 1;
const OUTBOUND: u32 = 2;

/// What captures the packets of one host.
pub(super) struct Capturing {
    stop: Arc<EventFd>,
    /// Where there is no thread, the recording so far.
    work: Result<JoinHandle<Recording>, Box<Recording>>,
}

/// The packets of one host.
#[derive(Debug)]
pub struct Recording {
    host: Host,
    /// The beginning of the file's name, as the kernel's selftest has it, and what this host is there.
    name: String,
    socket: OwnedFd,
    devices: BTreeMap<usize, String>,
    packets: Vec<Packet>,
    seen: u64,
    missed: u64,
}

#[derive(Debug)]
struct Packet {
    at: Duration,
    device: usize,
    outgoing: bool,
    length: u32,
    frame: Box<[u8]>,
}

/// Starts capturing on the hosts of the client and of the server.
pub(super) fn start(case: &Case, topology: &Topology) -> Result<Vec<Capturing>, NetError> {
    let mut ends = vec![(case.server.host, "listener")];
    if case.client.host != case.server.host {
        ends.push((case.client.host, "connector"));
    }
    ends.into_iter().map(|(host, role)| Capturing::start(Recording::open(case, host, role, topology)?)).collect()
}

impl Capturing {
    fn start(recording: Recording) -> Result<Capturing, NetError> {
        let stop = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
            .map_err(|errno| NetError::new("make an eventfd", errno))?;
        let stop = Arc::new(stop);
        if init::is_guest() {
            return Ok(Capturing { stop, work: Err(Box::new(recording)) });
        }
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("capture".into()).spawn(move || recording.follow(&stopped));
        let thread = thread.map_err(|error| NetError::new("start a thread", error))?;
        Ok(Capturing { stop, work: Ok(thread) })
    }

    /// What was captured; `None` if the thread has panicked.
    pub fn finish(self) -> Option<Recording> {
        let _ = self.stop.write(1);
        let mut recording = match self.work {
            Ok(thread) => thread.join().ok()?,
            Err(recording) => *recording,
        };
        recording.drain();
        recording.missed = sys::packet::drops(&recording.socket).unwrap_or(0).into();
        Some(recording)
    }
}

impl Recording {
    fn open(case: &Case, host: Host, role: &str, topology: &Topology) -> Result<Recording, NetError> {
        let (socket, devices) = topology.namespace(host).run(|| -> Result<_, NetError> {
            let socket = packet::open_capture()?;
            let _ = setsockopt(&socket, sockopt::RcvBufForce, &BUFFER);
            let _ = setsockopt(&socket, sockopt::ReceiveTimestampns, &true);
            sys::packet::bind(&socket, 0).map_err(|error| NetError::new("bind a packet socket", error))?;
            let names = if_nameindex().map_err(|errno| NetError::new("list devices", errno))?;
            let named = |device: &nix::net::if_::Interface| {
                (device.index() as usize, device.name().to_string_lossy().into_owned())
            };
            Ok((socket, names.iter().map(named).collect()))
        })??;
        let name = format!("{}-{role}", transfer(case));
        Ok(Recording { host, name, socket, devices, packets: Vec::new(), seen: 0, missed: 0 })
    }

    /// Empties the socket as packets come, until it is told to stop.
    fn follow(mut self, stop: &EventFd) -> Recording {
        loop {
            let stopped = {
                let watched = [self.socket.as_fd(), stop.as_fd()];
                let mut polled = watched.map(|descriptor| PollFd::new(descriptor, PollFlags::POLLIN));
                match poll(&mut polled, PollTimeout::NONE) {
                    Ok(_) => polled[1].any() != Some(false),
                    Err(errno) => errno != Errno::EINTR,
                }
            };
            self.drain();
            if stopped {
                return self;
            }
        }
    }

    fn drain(&mut self) {
        let (mut buffer, mut control) = ([0; packet::SNAP as usize], seen::control());
        loop {
            match seen::receive(&self.socket, &mut buffer, &mut control) {
                Ok(seen) => self.note(&seen, &buffer[..seen.length]),
                Err(Errno::EINTR) => {}
                Err(_) => return,
            }
        }
    }

    fn note(&mut self, seen: &Seen, frame: &[u8]) {
        let twice = seen.outgoing && self.devices.get(&seen.device).is_some_and(|name| name == LOOPBACK);
        if twice {
            return;
        }
        self.seen += 1;
        if self.packets.len() == PACKETS_MAX {
            return;
        }
        let whole = ETHERNET_HEADER as u32 + View::of(frame).flippable.end / 8;
        let (length, frame) = (whole.max(frame.len() as u32), frame.into());
        self.packets.push(Packet { at: seen.at, device: seen.device, outgoing: seen.outgoing, length, frame });
    }

    /// The host whose packets these are.
    pub fn host(&self) -> Host {
        self.host
    }

    /// How many packets there were, and how many are missing.
    pub fn captured(&self) -> CaptureStory {
        let left_out = self.seen - self.packets.len() as u64;
        CaptureStory { packets: self.seen + self.missed, missed: self.missed + left_out }
    }

    /// Writes the packets into `folder`, into a file that is named after the transfer.
    ///
    /// # Errors
    /// The file cannot be made or written; the error names the path.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        let path = folder.join(format!("{}.pcapng", self.name));
        let fill = || -> Result<(), PcapError> {
            let mut to = BufWriter::new(File::create(&path).map_err(PcapError::IoError)?);
            self.blocks(&mut to)?;
            to.flush().map_err(PcapError::IoError)
        };
        fill().map_err(|error| io::Error::other(format!("cannot write the capture {}: {error}", path.display())))
    }

    fn blocks(&self, to: &mut impl Write) -> Result<(), PcapError> {
        let mut writer = PcapNgWriter::new(to)?;
        let numbers: BTreeMap<usize, u32> = self.devices.keys().copied().zip(0..).collect();
        for name in self.devices.values() {
            writer.write_pcapng_block(self.interface(name))?;
        }
        for packet in &self.packets {
            // A device that came later has no block.
            let Some(&interface_id) = numbers.get(&packet.device) else { continue };
            writer.write_pcapng_block(EnhancedPacketBlock {
                interface_id,
                timestamp: packet.at,
                original_len: packet.length,
                data: (&*packet.frame).into(),
                options: vec![EnhancedPacketOption::Flags(if packet.outgoing { OUTBOUND } else { INBOUND })],
            })?;
        }
        Ok(())
    }

    fn interface(&self, name: &str) -> InterfaceDescriptionBlock<'static> {
        let CaptureStory { packets, missed } = self.captured();
        let comment = format!("{packets} packets at {}, {missed} of them dropped by the capture", self.host);
        InterfaceDescriptionBlock {
            linktype: DataLink::ETHERNET,
            snaplen: packet::SNAP,
            options: vec![
                InterfaceDescriptionOption::Comment(comment.into()),
                InterfaceDescriptionOption::IfName(name.to_owned().into()),
                InterfaceDescriptionOption::IfTsResol(NANOSECONDS),
            ],
        }
    }
}

/// A transfer as the kernel's selftest names its captures: `ns1-ns4-MPTCP-MPTCP-10.0.3.1-12000`.
fn transfer(case: &Case) -> String {
    let loud = |protocol: Protocol| protocol.to_string().to_uppercase();
    let (client, server) = (&case.client, &case.server);
    let address = topology::connect_target(case).to_string();
    format!("{}-{}-{}-{}-{address}-{PORT}", client.host, server.host, loud(client.protocol), loud(server.protocol))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capture_is_called_what_the_selftest_calls_it() {
        let mut case = Case::default();
        case.client.protocol = Protocol::Mptcp;
        let named = format!("ns1-{}-MPTCP-TCP-{}-12000", case.server.host, topology::connect_target(&case));
        case.server.protocol = Protocol::Tcp;
        assert_eq!(transfer(&case), named);
    }
}
