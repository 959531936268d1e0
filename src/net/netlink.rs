//! rtnetlink(7), synchronous: many requests in one send, with an answer each or one for all.

use std::io;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload, NlasIterator,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_ROUTE;

use super::NetError;

/// The longest batch: so that its acknowledgements fit the socket's default receive buffer.
pub const MAX_BATCH: usize = 128;

/// The largest datagram that the kernel builds for one answer (NLMSG_GOODSIZE is at most this).
const ANSWER: usize = 32 * 1024;

/// The attribute of an acknowledgement in which the kernel says in words what is wrong (NLMSGERR_ATTR_MSG).
const MESSAGE_ATTRIBUTE: u16 = 1;

/// The length of a netlink header, which an error repeats before its attributes.
const HEADER: usize = 16;

/// One request, and how an error message calls it.
#[derive(Debug)]
pub struct Request {
    /// What is asked.
    pub message: RouteNetlinkMessage,
    /// NLM_F_CREATE and the like; NLM_F_REQUEST and NLM_F_ACK go without saying.
    pub flags: u16,
    /// The device that it concerns.
    pub device: String,
    /// What it does, such as `add address 10.0.1.1/24`.
    pub operation: String,
}

/// A socket to the rtnetlink of one network namespace.
#[derive(Debug)]
pub struct Netlink {
    socket: Socket,
    sequence: u32,
    host: String,
}

impl Netlink {
    /// Opens one in the calling thread's network namespace. `host` is what error messages call that.
    pub fn open(host: &str) -> Result<Netlink, NetError> {
        let open = || -> io::Result<Socket> {
            let socket = Socket::new(NETLINK_ROUTE)?;
            // Errors then come with words, and without a copy of the request.
            socket.set_ext_ack(true)?;
            socket.set_cap_ack(true)?;
            // Neither bound nor connected: it gets its address with its first message, which goes to the kernel.
            Ok(socket)
        };
        let socket = open().map_err(|error| NetError::new("open a netlink socket", error).on(host))?;
        Ok(Netlink { socket, sequence: 0, host: host.to_owned() })
    }

    /// What error messages call its namespace.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Has the kernel carry out `requests` in order. All are tried; the first that failed is reported. The last alone asks
    /// for an acknowledgement, which ends the answers: the kernel tells of a failure unasked (netlink_rcv_skb).
    ///
    /// # Panics
    /// Where there are more than [`MAX_BATCH`].
    pub fn carry_out(&mut self, requests: Vec<Request>) -> Result<(), NetError> {
        assert!(requests.len() <= MAX_BATCH, "a batch of {} requests is too long", requests.len());
        let first = self.sequence;
        let mut names = Vec::with_capacity(requests.len());
        let mut buffer = Vec::with_capacity(requests.len() * 128);
        let last = requests.len().saturating_sub(1);
        for Request { message, flags, device, operation } in requests {
            self.append(&mut buffer, message, if names.len() == last { flags | NLM_F_ACK } else { flags });
            names.push((device, operation));
        }
        if names.is_empty() {
            return Ok(());
        }
        self.send(&buffer)?;
        let mut failure = None;
        let mut open = true;
        while open {
            for message in self.receive()? {
                let NetlinkPayload::Error(error) = message.payload else { continue };
                let place = message.header.sequence_number.wrapping_sub(first) as usize;
                open &= place != last;
                if error.code.is_some() && failure.is_none() {
                    let (device, operation) = names.get(place).cloned().unwrap_or_default();
                    let failed = NetError::new(operation, error.to_io()).on(&self.host).device(&device);
                    failure = Some(failed.detail(in_words(&error.header)));
                }
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// Asks several questions at once, each of which has one answer. The answers come in the order of the questions; `None`
    /// where the kernel had an error for one.
    pub fn ask(&mut self, questions: Vec<RouteNetlinkMessage>) -> Result<Vec<Option<RouteNetlinkMessage>>, NetError> {
        assert!(questions.len() <= MAX_BATCH, "a batch of {} questions is too long", questions.len());
        let first = self.sequence;
        let mut answers: Vec<Option<RouteNetlinkMessage>> = questions.iter().map(|_| None).collect();
        let mut buffer = Vec::with_capacity(questions.len() * 64);
        let mut open = questions.len();
        for question in questions {
            self.append(&mut buffer, question, 0);
        }
        self.send(&buffer)?;
        while open > 0 {
            for message in self.receive()? {
                let place = message.header.sequence_number.wrapping_sub(first) as usize;
                if place >= answers.len() {
                    continue;
                }
                open = open.saturating_sub(1);
                if let NetlinkPayload::InnerMessage(answer) = message.payload {
                    answers[place] = Some(answer);
                }
            }
        }
        Ok(answers)
    }

    /// Asks a question with any number of answers.
    pub fn dump(&mut self, question: RouteNetlinkMessage) -> Result<Vec<RouteNetlinkMessage>, NetError> {
        let mut buffer = Vec::new();
        self.append(&mut buffer, question, NLM_F_DUMP);
        self.send(&buffer)?;
        let mut answers = Vec::new();
        loop {
            for message in self.receive()? {
                match message.payload {
                    NetlinkPayload::InnerMessage(answer) => answers.push(answer),
                    NetlinkPayload::Done(_) => return Ok(answers),
                    NetlinkPayload::Error(error) => {
                        return Err(NetError::new("dump by netlink", error.to_io()).on(&self.host));
                    }
                    _ => {}
                }
            }
        }
    }

    fn append(&mut self, buffer: &mut Vec<u8>, message: RouteNetlinkMessage, flags: u16) {
        let mut header = NetlinkHeader::default();
        header.flags = flags | NLM_F_REQUEST;
        header.sequence_number = self.sequence;
        self.sequence = self.sequence.wrapping_add(1);
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
        message.finalize();
        let start = buffer.len();
        buffer.resize(start + message.buffer_len().next_multiple_of(4), 0);
        message.serialize(&mut buffer[start..]);
    }

    fn send(&self, buffer: &[u8]) -> Result<(), NetError> {
        self.socket.send(buffer, 0).map(drop).map_err(|error| NetError::new("send by netlink", error).on(&self.host))
    }

    /// The messages of one datagram.
    fn receive(&self) -> Result<Vec<NetlinkMessage<RouteNetlinkMessage>>, NetError> {
        let failed = |error: io::Error| NetError::new("receive by netlink", error).on(&self.host);
        let mut buffer = Vec::with_capacity(ANSWER);
        self.socket.recv(&mut buffer, 0).map_err(failed)?;
        let mut messages = Vec::new();
        let mut rest = &buffer[..];
        while rest.len() >= HEADER {
            let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest)
                .map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidData, error.to_string())))?;
            let length = (message.header.length as usize).next_multiple_of(4);
            messages.push(message);
            rest = rest.get(length..).unwrap_or_default();
        }
        Ok(messages)
    }
}

/// What an error says in words, behind the copy of the request's header.
fn in_words(error: &[u8]) -> Option<String> {
    NlasIterator::new(error.get(HEADER..)?)
        .filter_map(Result::ok)
        .find(|attribute| attribute.kind() == MESSAGE_ATTRIBUTE)
        .map(|attribute| String::from_utf8_lossy(attribute.value()).trim_end_matches('\0').to_owned())
}
