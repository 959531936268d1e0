//! Two programs that speak `mptcp_connect`'s command line, against each other over loopback.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

use super::asking;
use super::selftests::in_namespaces;

/// A transfer between a server and a client.
#[derive(Clone, Copy)]
pub struct Arrangement {
    /// What is arranged.
    pub name: &'static str,
    /// The server's options.
    pub server: &'static str,
    /// The client's.
    pub client: &'static str,
    /// How many bytes each sends.
    pub size: usize,
    /// What must come of it.
    pub comes: Comes,
    /// Counters of the kernel that show that it was as arranged, and the least they must be.
    pub counters: &'static [(&'static str, u64)],
}

/// What comes of a transfer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Comes {
    /// Both files arrive.
    Whole,
    /// The server's input arrives once, the client's this many times.
    Repeated(usize),
    /// So many bytes arrive at the client, and no more; of what the server got, each byte is right.
    Cut(usize),
}

const WHOLE: Arrangement =
    Arrangement { name: "", server: "", client: "", size: 300_000, comes: Comes::Whole, counters: &[] };

const MPC: &str = "MPTcpExtMPCapableSYNRX";

/// All modes and pairings that both programs have.
pub const ALL: [Arrangement; 27] = [
    Arrangement { name: "poll", counters: &[(MPC, 1)], ..WHOLE },
    Arrangement { name: "poll to TCP", server: "-s TCP", ..WHOLE },
    Arrangement { name: "poll from TCP", client: "-s TCP", ..WHOLE },
    Arrangement { name: "poll between TCP", server: "-s tcp", client: "-s tcp", ..WHOLE },
    Arrangement { name: "mmap", server: "-m mmap", client: "-m mmap", ..WHOLE },
    Arrangement { name: "mmap to TCP", server: "-m mmap -s TCP", client: "-m mmap", ..WHOLE },
    Arrangement { name: "mmap from TCP", server: "-m mmap", client: "-m mmap -s TCP", ..WHOLE },
    Arrangement { name: "sendfile", server: "-m sendfile", client: "-m sendfile", ..WHOLE },
    Arrangement { name: "sendfile to TCP", server: "-m sendfile -s TCP", client: "-m sendfile", ..WHOLE },
    Arrangement { name: "sendfile from TCP", server: "-m sendfile", client: "-m sendfile -s TCP", ..WHOLE },
    Arrangement { name: "splice", server: "-m splice", client: "-m splice", ..WHOLE },
    Arrangement { name: "splice to TCP", server: "-m splice -s TCP", client: "-m splice", ..WHOLE },
    Arrangement { name: "splice from TCP", server: "-m splice", client: "-m splice -s TCP", ..WHOLE },
    Arrangement { name: "mixed modes", server: "-m sendfile", client: "-m poll", ..WHOLE },
    Arrangement { name: "save with peek", server: "-P saveWithPeek", client: "-P saveWithPeek", ..WHOLE },
    Arrangement { name: "save after peek", server: "-P saveAfterPeek", client: "-P saveAfterPeek", ..WHOLE },
    Arrangement { name: "join", server: "-j", client: "-j", ..WHOLE },
    Arrangement { name: "slow", server: "-r 200", client: "-r 300", size: 700, ..WHOLE },
    Arrangement { name: "late shutdown", server: "-w 1", client: "-w 1", size: 5000, ..WHOLE },
    Arrangement { name: "buffers", server: "-S 20000 -R 30000", client: "-S 0x8000 -R 20000", ..WHOLE },
    Arrangement { name: "marks", server: "-M 1", client: "-M 0x2", ..WHOLE },
    Arrangement { name: "transparent", server: "-o TRANSPARENT", ..WHOLE },
    Arrangement {
        name: "ancillary data",
        server: "-r 200 -c TIMESTAMPNS,TCPINQ",
        client: "-r 200 -c TIMESTAMPNS,TCPINQ",
        size: 1000,
        ..WHOLE
    },
    Arrangement { name: "fast open", server: "-o MPTFO", client: "-o MPTFO -I 1", ..WHOLE },
    Arrangement {
        name: "disconnect",
        server: "-I 3 -i server",
        client: "-I 3 -i client",
        comes: Comes::Repeated(3),
        counters: &[(MPC, 3)],
        ..WHOLE
    },
    Arrangement {
        name: "fastclose of the client",
        server: "-j -f -1",
        client: "-j -f 5000",
        comes: Comes::Cut(5000),
        counters: &[("MPTcpExtMPFastcloseTx", 1), ("MPTcpExtMPFastcloseRx", 1)],
        ..WHOLE
    },
    Arrangement { name: "runtime", server: "-T 60000", client: "-T 60000", ..WHOLE },
];

/// What a pair of programs did.
#[derive(Debug)]
pub struct Outcome {
    /// The exit codes of client and server.
    pub codes: (i32, i32),
    /// What the two said on standard error.
    pub said: String,
    /// What is wrong, in words.
    pub wrong: Vec<String>,
}

/// Says on which port a server listens; waits for it, runs the client, and says how both ended and what was counted.
const SCRIPT: &str = r#"
ip link set lo up
sysctl -qw net.ipv4.tcp_fastopen=3
"$1" -l -t 20 -p 12345 $2 127.0.0.1 <server >from-client 2>server-said & server=$!
for try in $(seq 1000); do grep -q ':3039 .* 0A ' /proc/net/tcp && break; sleep 0.02; done
"$3" -t 20 -p 12345 $4 127.0.0.1 <client >from-server 2>client-said; client=$?
wait $server; echo "codes $client $?"
NSTAT_HISTORY=/run/nstat nstat -asz
"#;

/// Runs an arrangement between these two programs, in an empty folder.
pub fn run(arrangement: &Arrangement, server: &Path, client: &Path, folder: &Path) -> Outcome {
    let bytes = |seed: u32| -> Vec<u8> {
        (0..arrangement.size as u32).map(|at| (at.wrapping_mul(2_654_435_761).rotate_left(seed) >> 11) as u8).collect()
    };
    let (up, down) = (bytes(3), bytes(17));
    fs::write(folder.join("client"), &up).expect("write");
    fs::write(folder.join("server"), &down).expect("write");
    let mut command: Command = in_namespaces(folder);
    let output = command.args(["timeout", "60", "bash", "-c", SCRIPT, "bash"]).arg(server).arg(arrangement.server);
    let output = output.arg(client).arg(arrangement.client).output().expect("unshare starts");
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let number = |start: &str, place: usize| {
        let line = told.lines().find(|line| line.split_whitespace().next() == Some(start))?;
        line.split_whitespace().nth(place)?.parse().ok()
    };
    let read = |name: &str| fs::read(folder.join(name)).unwrap_or_default();
    let said = ["client-said", "server-said"].map(|name| String::from_utf8_lossy(&read(name)).into_owned()).concat();
    let code = |place| number("codes", place).unwrap_or(-1);
    let mut outcome = Outcome { codes: (code(1), code(2)), said, wrong: Vec::new() };
    let (got_up, got_down) = (read("from-client"), read("from-server"));
    let mut same = |what: &str, got: &[u8], expected: &[u8]| {
        if got != expected {
            let at = got.iter().zip(expected).position(|(got, expected)| got != expected);
            let (got, expected) = (got.len(), expected.len());
            outcome.wrong.push(format!("{what}: {got} bytes of {expected}, first difference at {at:?}"));
        }
    };
    match arrangement.comes {
        Comes::Whole => {
            same("client to server", &got_up, &up);
            same("server to client", &got_down, &down);
        }
        Comes::Repeated(times) => {
            same("client to server", &got_up, &up.repeat(times));
            same("server to client", &got_down, &down.repeat(times));
        }
        Comes::Cut(most) => {
            same("client to server", &got_up, &up[..got_up.len().min(up.len())]);
            same("server to client", &got_down, &down[..most]);
        }
    }
    for (counter, least) in arrangement.counters {
        let counted = number(counter, 1).map(|counted: i32| counted as u64);
        if counted.is_none_or(|counted| counted < *least) {
            outcome.wrong.push(format!("{counter} is {counted:?}, not at least {least}"));
        }
    }
    if outcome.codes != (0, 0) {
        outcome.wrong.push(format!("exit codes of client and server: {:?}", outcome.codes));
    }
    outcome
}

/// How many transfers run at once: most of them sleep.
const AT_ONCE: usize = 6;

/// Runs arrangements with a server's and a client's program; what is wrong with those that fail [again](asking). The tools
/// listen before they set all options, so a quick client may be there too early.
pub fn failures<'a>(runs: impl Iterator<Item = (&'a Arrangement, &'a Path, &'a Path)> + Send) -> Vec<String> {
    let (queue, failures) = (Mutex::new(runs), Mutex::new(Vec::new()));
    let next = || queue.lock().expect("a queue").next();
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((arrangement, server, client)) = next() {
                    let result = asking::again(false, || {
                        let folder = tempfile::tempdir().expect("a folder");
                        let outcome = run(arrangement, server, client, folder.path());
                        let (name, wrong) = (arrangement.name, outcome.wrong.join("; "));
                        let told = format!("{name}, {} serves: {wrong}\n{}", server.display(), outcome.said);
                        if wrong.is_empty() { Ok(()) } else { Err(told) }
                    });
                    failures.lock().expect("a list").extend(result.err());
                }
            });
        }
    });
    failures.into_inner().expect("a list")
}
