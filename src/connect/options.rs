//! The options, and how they are read from a command line.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use super::getopt::{self, Flag, LongFlag};
use super::number;
use super::words::{Exit, Step, die, say, strerror};
use crate::seed::Seed;
use crate::sys::signal;

/// The flags of Linux 7.2's mptcp_connect, as getopt(3) wants them.
const LETTERS: &str = "6c:f:hi:I:jlm:M:o:p:P:r:R:s:S:t:T:w:";

/// Our own.
const LONG: [LongFlag; 2] = [("seed", true), ("help", false)];

/// How long slow mode waits before the shutdown and at the end.
const SLOW_WAIT: Duration = Duration::from_millis(400);

/// The bytes of a write in slow mode where no number is given.
const SLOW_WRITE: usize = 50;

/// Everything that a command line says.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Options {
    /// Whether to use IPv6 (`-6`, or a colon in the address).
    pub(super) ipv6: bool,
    /// Which ancillary data to ask for and to check (`-c`).
    pub(super) ancillary: Ancillary,
    /// Stop after this many bytes both ways (`-f N`).
    pub(super) stop_after: Option<u64>,
    /// The peer may close before all is sent (`-f` with a negative number).
    pub(super) tolerant: bool,
    /// The file to send instead of standard input (`-i`).
    pub(super) input: Option<PathBuf>,
    /// How many transfers (`-I`).
    pub(super) repeat: i32,
    /// Leave time for joins (`-j`).
    pub(super) join: bool,
    /// Accept a connection (`-l`).
    pub(super) listen: bool,
    /// How bytes move (`-m`).
    pub(super) mode: Mode,
    /// SO_MARK, 0 for none (`-M`).
    pub(super) mark: u32,
    /// IP_TRANSPARENT on the listener (`-o TRANSPARENT`).
    pub(super) transparent: bool,
    /// TCP fast open (`-o MPTFO`).
    pub(super) fast_open: bool,
    /// The port (`-p`).
    pub(super) port: String,
    /// How to read (`-P`).
    pub(super) peek: Option<Peek>,
    /// Slow mode: the most bytes of a write (`-r`).
    pub(super) slow: Option<usize>,
    /// SO_RCVBUF, 0 for none (`-R`).
    pub(super) receive_buffer: i32,
    /// SO_SNDBUF, 0 for none (`-S`).
    pub(super) send_buffer: i32,
    /// The protocol of the socket (`-s`).
    pub(super) protocol: Protocol,
    /// The longest wait for the socket; `None` waits for ever (`-t`).
    pub(super) timeout: Option<Duration>,
    /// The longest transfer that is fast enough, in ms; 0 for any (`-T`).
    pub(super) expected_ms: u32,
    /// How long to wait before the shutdown (`-w`, `-r`).
    pub(super) wait: Duration,
    /// The address.
    pub(super) host: String,
    /// Where random sizes come from (`--seed`).
    pub(super) seed: Seed,
}

/// Ancillary data to ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ancillary {
    /// Whether `-c` was given.
    pub(super) enabled: bool,
    /// SO_TIMESTAMPNS.
    pub(super) timestamps: bool,
    /// TCP_INQ.
    pub(super) inq: bool,
}

/// How bytes move.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Mode {
    /// Both ways at once, driven by poll(2).
    #[default]
    Poll,
    /// First one way, then the other; sent with write(2) from a mapping.
    Mmap,
    /// First one way, then the other; sent with sendfile(2).
    Sendfile,
    /// First one way, then the other; sent and received with splice(2).
    Splice,
}

/// How MSG_PEEK is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peek {
    /// Keep what was peeked, and read it away.
    SaveWith,
    /// Peek, then read and keep.
    SaveAfter,
}

/// The protocol of a socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Protocol {
    /// IPPROTO_TCP.
    Tcp,
    /// IPPROTO_MPTCP.
    #[default]
    Mptcp,
}

impl Protocol {
    /// Its number.
    pub(super) fn number(self) -> i32 {
        match self {
            Protocol::Tcp => libc::IPPROTO_TCP,
            Protocol::Mptcp => libc::IPPROTO_MPTCP,
        }
    }
}

impl Options {
    fn new(seed: Seed) -> Options {
        Options {
            ipv6: false,
            ancillary: Ancillary::default(),
            stop_after: None,
            tolerant: false,
            input: None,
            repeat: 1,
            join: false,
            listen: false,
            mode: Mode::default(),
            mark: 0,
            transparent: false,
            fast_open: false,
            port: "12000".to_owned(),
            peek: None,
            slow: None,
            receive_buffer: 0,
            send_buffer: 0,
            protocol: Protocol::default(),
            timeout: Some(Duration::from_secs(10)),
            expected_ms: 0,
            wait: Duration::ZERO,
            host: String::new(),
            seed,
        }
    }

    /// Reads a command line, without the program's name, which is `name`. Without `--seed`, `fresh` is the seed.
    pub(super) fn parse(name: &str, arguments: Vec<OsString>, fresh: Seed) -> Step<Options> {
        let mut options = Options::new(fresh);
        let parsed = getopt::parse(LETTERS, &LONG, arguments);
        for complaint in &parsed.complaints {
            say(&format!("{name}: {complaint}\n"));
        }
        for (flag, value) in &parsed.flags {
            match flag {
                Flag::Letter(letter) => options.take(*letter, value)?,
                Flag::Long("seed") => options.seed = seed(value)?,
                Flag::Long(_) => {
                    print!("{}", usage());
                    return Err(Exit(0));
                }
            }
        }
        let [host] = &parsed.operands[..] else { return Err(die_usage()) };
        options.host = host.to_string_lossy().into_owned();
        options.ipv6 |= options.host.contains(':');
        Ok(options)
    }

    fn take(&mut self, letter: char, value: &OsStr) -> Step<()> {
        let text = &*value.to_string_lossy();
        match letter {
            '6' => self.ipv6 = true,
            'c' => self.ancillary = ancillary(self.ancillary, text)?,
            'f' => self.truncate(number::atoi(text)),
            'i' => self.input = Some(value.into()),
            'I' => self.repeat = number::atoi(text),
            'j' => (self.join, self.mode) = (true, Mode::Poll),
            'l' => self.listen = true,
            'm' => self.mode = mode(text)?,
            'M' => self.mark = number::mark(text),
            'o' => self.socket_options(text)?,
            'p' => self.port = text.to_owned(),
            'P' => self.peek = Some(peek(text)?),
            'r' => {
                let most = usize::try_from(number::atoi(text)).unwrap_or(0);
                self.slow = Some(if most == 0 { SLOW_WRITE } else { most });
                (self.mode, self.wait) = (Mode::Poll, SLOW_WAIT);
            }
            'R' => self.receive_buffer = size(text)?,
            's' => self.protocol = protocol(text)?,
            'S' => self.send_buffer = size(text)?,
            't' => self.timeout = seconds(text).filter(|timeout| !timeout.is_zero()),
            'T' => self.expected_ms = number::atoi(text).cast_unsigned(),
            'w' => self.wait = seconds(text).unwrap_or_default(),
            _ => return Err(die_usage()),
        }
        Ok(())
    }

    fn truncate(&mut self, bytes: i32) {
        self.stop_after = u64::try_from(bytes).ok().filter(|bytes| *bytes > 0);
        if bytes < 0 {
            self.tolerant = true;
            signal::ignore_pipe();
        }
    }

    fn socket_options(&mut self, list: &str) -> Step<()> {
        for name in list.rsplit(',') {
            if "TRANSPARENT".starts_with(name) {
                self.transparent = true;
            } else if "MPTFO".starts_with(name) {
                self.fast_open = true;
            } else {
                return Err(die(&format!("Unrecognized setsockopt option {name}\n")));
            }
        }
        Ok(())
    }
}

fn seed(value: &OsStr) -> Step<Seed> {
    value.to_string_lossy().parse().map_err(|error| die(&format!("{error}\n")))
}

/// A list of what `-c` knows; any beginning of a name will do, as with the original.
fn ancillary(before: Ancillary, list: &str) -> Step<Ancillary> {
    let mut ancillary = Ancillary { enabled: true, ..before };
    for name in list.rsplit(',') {
        if "TIMESTAMPNS".starts_with(name) {
            ancillary.timestamps = true;
        } else if "TCPINQ".starts_with(name) {
            ancillary.inq = true;
        } else {
            return Err(die(&format!("Unrecognized cmsg option {name}\n")));
        }
    }
    Ok(ancillary)
}

fn mode(text: &str) -> Step<Mode> {
    match text.to_ascii_lowercase().as_str() {
        "poll" => Ok(Mode::Poll),
        "mmap" => Ok(Mode::Mmap),
        "sendfile" => Ok(Mode::Sendfile),
        "splice" => Ok(Mode::Splice),
        _ => {
            say(&format!("Unknown test mode: {text}\nSupported modes are: poll, mmap, sendfile, splice\n"));
            Err(die_usage())
        }
    }
}

fn peek(text: &str) -> Step<Peek> {
    match text.to_ascii_lowercase().as_str() {
        "savewithpeek" => Ok(Peek::SaveWith),
        "saveafterpeek" => Ok(Peek::SaveAfter),
        _ => {
            say(&format!("Unknown: {text}\nSupported MSG_PEEK mode are: saveWithPeek, saveAfterPeek\n"));
            Err(die_usage())
        }
    }
}

fn protocol(text: &str) -> Step<Protocol> {
    match text.to_ascii_lowercase().as_str() {
        "mptcp" => Ok(Protocol::Mptcp),
        "tcp" => Ok(Protocol::Tcp),
        _ => {
            say(&format!("Unknown protocol: {text}\n."));
            Err(die_usage())
        }
    }
}

/// The size of a buffer. The original speaks of the send buffer for both.
fn size(text: &str) -> Step<i32> {
    number::size(text).ok_or_else(|| {
        let range = strerror(&std::io::Error::from_raw_os_error(libc::ERANGE));
        say(&format!("Invalid sndbuf size {text} ({range})\n"));
        die_usage()
    })
}

/// A time in whole seconds; `None` if it is negative.
fn seconds(text: &str) -> Option<Duration> {
    u64::try_from(number::atoi(text)).ok().map(Duration::from_secs)
}

fn die_usage() -> Exit {
    die(&usage())
}

fn usage() -> String {
    let line = "Usage: mptcp_connect [-6] [-c cmsg] [-f offset] [-h] [-i file] [-I num] [-j] [-l] [-m mode] [-M mark] \
                [-o option] [-p port] [-P mode] [-r num] [-R num] [-s MPTCP|TCP] [-S num] [-t num] [-T num] [-w sec] \
                [--seed seed] connect_address";
    format!("{line}\n{FLAGS}")
}

const FLAGS: &str = "
Sends standard input to the peer, and what the peer sends to standard output. Option for option the tool of that name
among the Linux kernel's selftests.

  -6             IPv6; also meant by a colon in the address
  -c LIST        check ancillary data: TIMESTAMPNS, TCPINQ
  -f N           stop after N bytes each way: bytes that are left unread make the close a fastclose. Below 0: the peer
                 may do so, its reset is no failure
  -i FILE        send this file instead of standard input
  -I N           N transfers: the listener accepts as often, the client disconnects and connects again
  -j             leave time for joins: 100 bytes at most, then 200 ms, before the rest
  -l             listen, and accept a connection
  -m MODE        poll (both ways at once), mmap, sendfile or splice (one way, then the other; from a regular file)
  -M MARK        SO_MARK
  -o LIST        TRANSPARENT (a listener for any address), MPTFO (fast open)
  -p PORT        the port; 12000 where it is not given
  -P MODE        peek first: saveWithPeek keeps what was peeked, saveAfterPeek what was read then
  -r N           slow: N bytes at most (0: 50), then 200 ms
  -R N, -S N     SO_RCVBUF, SO_SNDBUF, once connected or listening
  -s PROTOCOL    MPTCP or TCP
  -t SECONDS     the longest wait for the socket: 10 where it is not given, 0 for ever
  -T MS          fail where the transfer takes longer
  -w SECONDS     wait before the shutdown
  --seed SEED    repeat the sizes of reads and writes, and whether the listening socket is closed early; the seed of
                 every run is on standard error
";

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Step<Options> {
        Options::parse("mptcp_connect", line.split_whitespace().map(OsString::from).collect(), Seed(7))
    }

    #[test]
    fn an_address_alone_leaves_all_at_its_default() {
        let expected = Options { host: "10.0.1.1".to_owned(), ..Options::new(Seed(7)) };
        assert_eq!(parse("10.0.1.1"), Ok(expected));
    }

    #[test]
    fn every_option_is_taken() {
        let line = "-6 -c TIMESTAMPNS,TCPINQ -f 100 -i file -I 3 -l -m splice -M 0x2a -o MPTFO,TRANSPARENT -p 20000 \
                    -P saveAfterPeek -R 0x1000 -S 8192 -s tcp -t 30 -T 1500 -w 2 --seed 0x11 ::";
        let expected = Options {
            ipv6: true,
            ancillary: Ancillary { enabled: true, timestamps: true, inq: true },
            stop_after: Some(100),
            input: Some("file".into()),
            repeat: 3,
            listen: true,
            mode: Mode::Splice,
            mark: 42,
            transparent: true,
            fast_open: true,
            port: "20000".to_owned(),
            peek: Some(Peek::SaveAfter),
            receive_buffer: 4096,
            send_buffer: 8192,
            protocol: Protocol::Tcp,
            timeout: Some(Duration::from_secs(30)),
            expected_ms: 1500,
            wait: Duration::from_secs(2),
            host: "::".to_owned(),
            ..Options::new(Seed(0x11))
        };
        assert_eq!(parse(line), Ok(expected));
    }

    #[test]
    fn what_scripts_rely_on_holds() {
        let of = |line: &str| parse(line).expect("a good line");
        assert_eq!(of("-jt 30 h").timeout, Some(Duration::from_secs(30)));
        assert_eq!(of("-t -1 h").timeout, None);
        assert_eq!(of("-t 0 h").timeout, None);
        // The last one of -j, -r and -m wins; so does the last of -r and -w.
        assert_eq!(of("-m mmap -j h").mode, Mode::Poll);
        assert_eq!(of("-j -m mmap h").mode, Mode::Mmap);
        assert_eq!(of("-r 0 -w 20 h").wait, Duration::from_secs(20));
        assert_eq!(of("-w 20 -r 0 h").wait, SLOW_WAIT);
        assert_eq!(of("-r 0 h").slow, Some(50));
        assert_eq!(of("-r -4 h").slow, Some(50));
        assert_eq!(of("-r 1024 h").slow, Some(1024));
        assert_eq!(of("-c TIME h").ancillary, Ancillary { enabled: true, timestamps: true, inq: false });
        assert!(of("dead:beef:1::1").ipv6 && !of("10.0.1.1").ipv6);
        assert_eq!(of("-s MpTcP h").protocol, Protocol::Mptcp);
        // What getopt does not know is said and passed over.
        assert_eq!(of("-z h").host, "h");
    }

    #[test]
    fn what_makes_no_sense_ends_with_1() {
        let lines =
            ["", "one two", "-h host", "-m river h", "-s udp h", "-P never h", "-R -1 h", "-c INQ h", "-o FAST h"];
        for line in lines {
            assert_eq!(parse(line), Err(Exit(1)), "{line}");
        }
        assert_eq!(parse("--seed river h"), Err(Exit(1)));
    }
}
