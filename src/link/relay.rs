//! Carries the packets of all links of a case, in one thread: reads frames, lets the engine of their link decide, writes
//! them on when they are due.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Instant, SystemTime};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::TimeSpec;

use crate::case::{Direction, Host, LinkId};
use crate::seed::Seed;
use crate::sys;

use super::batch::{Batches, Exchanged, Reads};
use super::capture::Capture;
use super::conduct::Conduct;
use super::engine::Engine;
use super::log::{LinkLog, Parts};
use super::packet::ETHERNET_HEADER;
use super::stage::Nanos;
use super::trouble::Troubles;
use super::{Carrier, Wiring};

/// How many frames are read from one device before the others, and the queues, have their turn.
const BUDGET: usize = 64;

/// How many times in a row devices are read in batches before the queues have their turn.
const ROUNDS: usize = 8;

/// The largest frame there is: a TAP device or a packet socket without offloads yields far smaller ones.
const MAX_FRAME: usize = 1 << 16;

/// How much a packet socket is asked to hold, in bytes. An ordinary user gets less.
const BUFFER: usize = 8 << 20;

/// How long to wait for a full device. Everything else waits as well, and the log shows it; but a lost frame would make
/// the whole run worthless.
const PATIENCE: Nanos = 100_000_000;

/// The links of a case at work. Dropping it stops them.
#[derive(Debug)]
pub struct Relay {
    control: Arc<Control>,
    /// Wakes the thread up.
    wake: PipeWriter,
    thread: Option<JoinHandle<Vec<LinkLog>>>,
}

/// How links work.
#[derive(Clone, Copy, Debug, Default)]
pub struct RelayOptions {
    /// Read and write many frames at a time, if the kernel can, and read the clock once for all of them. For guests, where
    /// virtual time stands still meanwhile and system calls are expensive.
    pub batches: bool,
    /// The links err on purpose: for tests of the tester.
    #[doc(hidden)]
    pub sabotage: bool,
}

/// What the thread and its owner share.
#[derive(Debug, Default)]
struct Control {
    stopped: AtomicBool,
    healed: AtomicBool,
    packets: AtomicU64,
    /// The links that nothing passes, a bit each.
    blocked: AtomicU32,
    /// The links whose devices may be down, a bit each.
    fragile: AtomicU32,
}

/// The bit of a link.
fn bit(id: LinkId) -> u32 {
    1 << id.index()
}

impl Relay {
    /// Puts the links at work. Their random decisions come from `seed`.
    ///
    /// # Errors
    /// The pipe or the thread cannot be created.
    pub fn start(seed: Seed, wirings: Vec<Wiring>) -> io::Result<Relay> {
        Relay::start_with(seed, wirings, Conduct::default(), RelayOptions::default())
    }

    /// As [`Relay::start`], in a particular way, and looks at the conduct of the hosts.
    pub fn start_with(seed: Seed, wirings: Vec<Wiring>, conduct: Conduct, options: RelayOptions) -> io::Result<Relay> {
        let (woken, wake) = io::pipe()?;
        let control = Arc::new(Control::default());
        let shared = Arc::clone(&control);
        let began = (Instant::now(), SystemTime::now());
        let thread = std::thread::Builder::new()
            .name("links".to_owned())
            .spawn(move || Links::new(seed, wirings, conduct, options, began, shared).run(woken))?;
        Ok(Relay { control, wake, thread: Some(thread) })
    }

    /// From now on every stage lets everything pass at once, and what waits leaves.
    pub fn heal(&self) {
        self.control.healed.store(true, Ordering::Release);
        self.wake();
    }

    /// From now on nothing passes a link, or everything may again. A link that the kernel carries by itself takes no notice.
    pub fn block(&self, id: LinkId, blocked: bool) {
        match blocked {
            true => self.control.blocked.fetch_or(bit(id), Ordering::AcqRel),
            false => self.control.blocked.fetch_and(!bit(id), Ordering::AcqRel),
        };
        self.wake();
    }

    /// From now on a device of this link may be down: what it then does not take is lost, and no trouble of ours.
    pub fn may_go_down(&self, id: LinkId) {
        self.control.fragile.fetch_or(bit(id), Ordering::AcqRel);
    }

    /// How many packets the links have seen so far. On links that the kernel carries by itself, some are seen late and
    /// some never.
    pub fn packets(&self) -> u64 {
        self.control.packets.load(Ordering::Relaxed)
    }

    /// Stops the links and returns what each leaves behind. What is still under way is lost.
    pub fn stop(mut self) -> Vec<LinkLog> {
        match self.end() {
            Some(Ok(logs)) => logs,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => Vec::new(),
        }
    }

    fn wake(&self) {
        // A full pipe wakes the thread as well as one more byte would; a broken one means that it has ended.
        let _ = (&self.wake).write(&[0]);
    }

    fn end(&mut self) -> Option<std::thread::Result<Vec<LinkLog>>> {
        let thread = self.thread.take()?;
        self.control.stopped.store(true, Ordering::Release);
        self.wake();
        Some(thread.join())
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.end();
    }
}

/// A link that goes through this thread.
struct Wire {
    id: LinkId,
    engine: Engine,
    left: OwnedFd,
    right: OwnedFd,
    /// Whether the ends are packet sockets.
    sockets: bool,
    /// Whether a device may be down.
    fragile: bool,
    troubles: Troubles,
}

/// Everything the thread works on.
struct Links {
    wires: Vec<Wire>,
    captures: Vec<(LinkId, Option<Capture>)>,
    began: (Instant, SystemTime),
    control: Arc<Control>,
    /// Where frames go many at a time.
    batches: Option<Batches>,
    /// There: the time when the thread last woke up.
    last: Option<Nanos>,
    conduct: Conduct,
}

/// An end of a wire that is still polled.
struct Port {
    wire: usize,
    /// Where the frames go that are read here.
    direction: Direction,
    ready: bool,
    /// Whether anything can be read from it any more.
    alive: bool,
    /// How many frames the last batch brought.
    brought: usize,
}

/// The host that sends into a link in this direction.
fn sender(id: LinkId, direction: Direction) -> Host {
    match direction {
        Direction::Forward => id.left(),
        Direction::Backward => id.right(),
    }
}

impl Links {
    fn new(
        seed: Seed,
        wirings: Vec<Wiring>,
        conduct: Conduct,
        options: RelayOptions,
        began: (Instant, SystemTime),
        control: Arc<Control>,
    ) -> Links {
        let longest = wirings.iter().map(|wiring| usize::from(wiring.link.mtu) + ETHERNET_HEADER).max();
        let (mut wires, mut captures) = (Vec::new(), Vec::new());
        for Wiring { id, link, carrier } in wirings {
            let mut wire = |left, right, sockets| {
                let mut engine = Engine::new(seed, id, &link);
                if options.sabotage {
                    engine.sabotage();
                }
                wires.push(Wire { id, engine, left, right, sockets, fragile: false, troubles: Troubles::default() });
            };
            match carrier {
                Carrier::Veth { capture } => {
                    captures.push((id, capture.map(|socket| Capture::new(socket, began.1, options.batches))));
                }
                Carrier::Tap { left, right } => wire(left, right, false),
                Carrier::Packet { left, right } => {
                    widen(&left);
                    widen(&right);
                    wire(left, right, true);
                }
            }
        }
        // Packet sockets fill up, and then each frame has to wait for its turn.
        let batched = options.batches && !wires.is_empty() && wires.iter().all(|wire| !wire.sockets);
        // Without, everything is as well, but slower.
        let batches = longest.filter(|_| batched).and_then(|longest| Batches::new(longest).ok());
        Links { wires, captures, began, control, batches, last: None, conduct }
    }

    fn now(&self) -> Nanos {
        self.began.0.elapsed().as_nanos() as Nanos
    }

    /// The life of the thread.
    fn run(mut self, mut woken: PipeReader) -> Vec<LinkLog> {
        // Without this, timers end up to 50 us late. They then do so, and the log says it.
        let _ = nix::sys::prctl::set_timerslack(1);
        let mut ports: Vec<Port> = (0..self.wires.len())
            .flat_map(|wire| {
                Direction::BOTH.map(|direction| Port { wire, direction, ready: false, alive: true, brought: 0 })
            })
            .collect();
        let mut buffer = vec![0; MAX_FRAME];
        let mut healed = false;
        while !self.control.stopped.load(Ordering::Acquire) {
            if !healed && self.control.healed.load(Ordering::Acquire) {
                healed = true;
                self.wires.iter_mut().for_each(|wire| wire.engine.heal());
            }
            let timeout = self.turn();
            match self.wait(&mut ports, woken.as_fd(), timeout) {
                Ok(true) => {
                    // The flags above say what it is about.
                    let _ = woken.read(&mut [0; 16]);
                }
                Ok(false) | Err(Errno::EINTR) => {}
                Err(errno) => {
                    let text = format!("the relay cannot poll its devices: {}", describe(errno));
                    self.wires.iter_mut().for_each(|wire| wire.troubles.add(&text));
                    break;
                }
            }
            if ports.iter().any(|port| port.ready) {
                // All that waits now came by now. A clock read for each frame would cost a guest as much as the frame.
                let now = self.now();
                if let Some(mut batches) = self.batches.take() {
                    self.last = Some(now);
                    self.pump_all(&mut ports, now, &mut batches);
                    self.batches = Some(batches);
                } else {
                    ports.retain_mut(|port| !std::mem::take(&mut port.ready) || self.pump(port, now, &mut buffer));
                }
            }
        }
        self.finish()
    }

    /// Sends what is due, and looks at captures where it is time to. Says how long nothing more is to be done, where that
    /// is bounded.
    fn turn(&mut self) -> Option<Nanos> {
        let last = self.last.take();
        self.next()?;
        let now = last.unwrap_or_else(|| self.now());
        match self.batches.take() {
            Some(mut batches) => {
                self.flush_all(now, &mut batches);
                self.batches = Some(batches);
            }
            None => self.wires.iter_mut().for_each(|wire| wire.flush(now, &mut self.conduct)),
        }
        for capture in self.captures.iter_mut().filter_map(|(_, capture)| capture.as_mut()) {
            self.control.packets.fetch_add(capture.look(now), Ordering::Relaxed);
        }
        self.next().map(|next| next.saturating_sub(now))
    }

    /// When the next packet is due, or the next look at a capture.
    fn next(&self) -> Option<Nanos> {
        let due = self.wires.iter().filter_map(|wire| wire.engine.next_due());
        let looks = self.captures.iter().filter_map(|(_, capture)| capture.as_ref()).map(Capture::next);
        due.chain(looks).min()
    }

    /// Waits until a port is ready, the time is over, or somebody wakes the thread up; true for the last.
    fn wait(&self, ports: &mut [Port], woken: BorrowedFd<'_>, timeout: Option<Nanos>) -> Result<bool, Errno> {
        let mut polled: Vec<PollFd<'_>> = std::iter::once(woken)
            .chain(ports.iter().map(|port| self.wires[port.wire].source(port.direction)))
            .map(|descriptor| PollFd::new(descriptor, PollFlags::POLLIN))
            .collect();
        ppoll(&mut polled, timeout.map(timespec), None)?;
        let is_ready = |polled: &PollFd<'_>| polled.revents().is_some_and(|events| !events.is_empty());
        for (port, polled) in ports.iter_mut().zip(&polled[1..]) {
            port.ready = is_ready(polled);
        }
        Ok(is_ready(&polled[0]))
    }

    /// Reads frames from a port, which all come at `now`, and lets the link decide. False once nothing can be read from
    /// it any more.
    fn pump(&mut self, port: &Port, now: Nanos, buffer: &mut [u8]) -> bool {
        let wire = &mut self.wires[port.wire];
        let mut packets = 0;
        let alive = loop {
            if packets == BUDGET as u64 {
                break true;
            }
            match nix::unistd::read(wire.source(port.direction), buffer) {
                Ok(length) if length > 0 => {
                    self.conduct.enters(wire.id, port.direction, now, &buffer[..length]);
                    wire.fragile = self.control.fragile.load(Ordering::Acquire) & bit(wire.id) != 0;
                    if self.control.blocked.load(Ordering::Acquire) & bit(wire.id) != 0 {
                        wire.engine.swallow(port.direction, now, &mut buffer[..length]);
                    } else {
                        wire.carry(port.direction, now, &mut buffer[..length], &mut self.conduct);
                    }
                    packets += 1;
                }
                Err(Errno::EINTR) => {}
                ended => {
                    let fragile = self.control.fragile.load(Ordering::Acquire) & bit(wire.id) != 0;
                    break wire.is_alive(port.direction, ended, fragile);
                }
            }
        };
        self.control.packets.fetch_add(packets, Ordering::Relaxed);
        alive
    }

    /// Reads frames from all ports that are ready, which all come at `now`, lets the links decide, and sends on what need
    /// not wait: what one batch has brought is written in one call with the reads of the next.
    fn pump_all(&mut self, ports: &mut Vec<Port>, now: Nanos, batches: &mut Batches) {
        for round in 0..=ROUNDS {
            let ready: Vec<usize> = match round {
                // What still waits is found by the next poll.
                ROUNDS => Vec::new(),
                _ => (0..ports.len()).filter(|place| ports[*place].ready).collect(),
            };
            if ready.is_empty() && batches.is_empty() {
                break;
            }
            let counts: Vec<usize> =
                ready.iter().map(|place| Batches::count(ports[*place].brought, ready.len())).collect();
            let devices = ready.iter().map(|place| (ports[*place].wire, ports[*place].direction)).zip(&counts);
            let read = self.exchange(batches, &devices.map(|(from, count)| (from, *count)).collect::<Vec<_>>());
            let mut slots = (0..).zip(read);
            for (place, count) in ready.into_iter().zip(counts) {
                let port = &mut ports[place];
                let wire = &mut self.wires[port.wire];
                let fragile = self.control.fragile.load(Ordering::Acquire) & bit(wire.id) != 0;
                let blocked = self.control.blocked.load(Ordering::Acquire) & bit(wire.id) != 0;
                (port.brought, wire.fragile) = (0, fragile);
                for (slot, result) in slots.by_ref().take(count) {
                    match result {
                        Ok(length) if length > 0 => {
                            port.brought += 1;
                            if batches.is_cut(length) {
                                let text = format!("link {}: a frame longer than its MTU came", wire.id);
                                wire.troubles.add(&text);
                            }
                            let frame = batches.frame(slot, length);
                            self.conduct.enters(wire.id, port.direction, now, frame);
                            if blocked {
                                wire.engine.swallow(port.direction, now, frame);
                                continue;
                            }
                            let times = wire.engine.offer(port.direction, now, frame);
                            for _ in 0..times {
                                self.conduct.leaves(wire.id, port.direction, now, frame);
                            }
                            for _ in 0..times {
                                batches.send(port.wire, port.direction, slot, length);
                            }
                        }
                        Err(Errno::EINTR) => {}
                        // All that are behind it ended alike: nothing comes while they are carried out.
                        ended if port.ready => {
                            port.ready = false;
                            port.alive = wire.is_alive(port.direction, ended, fragile);
                        }
                        _ => {}
                    }
                }
                self.control.packets.fetch_add(port.brought as u64, Ordering::Relaxed);
            }
        }
        ports.retain_mut(|port| {
            port.ready = false;
            port.alive
        });
    }

    /// Sends what is due.
    fn flush_all(&mut self, now: Nanos, batches: &mut Batches) {
        for (place, wire) in self.wires.iter_mut().enumerate() {
            for direction in Direction::BOTH {
                while let Some(due) = wire.engine.due(direction, now) {
                    self.conduct.leaves(wire.id, direction, now, &due.frame);
                    batches.send_kept(place, direction, due.frame);
                }
            }
        }
        if !batches.is_empty() {
            self.exchange(batches, &[]);
        }
    }

    /// One call: writes what waits, and reads this many times from each of these ends. What each read came to.
    fn exchange(&mut self, batches: &mut Batches, from: &[((usize, Direction), usize)]) -> Vec<Result<usize, Errno>> {
        let wires = &self.wires;
        let reads = from.iter().map(|&((wire, way), count)| Reads { device: wires[wire].source(way), count });
        let mut unsent = Vec::new();
        let Exchanged { read, kept } = batches.exchange(
            |one| wires[one.wire].source(one.direction.reverse()),
            &reads.collect::<Vec<_>>(),
            |one, frame, result| {
                if result != Ok(frame.len()) {
                    unsent.push((one.wire, one.direction, frame.to_vec(), result));
                }
            },
        );
        for (wire, direction, frame, result) in unsent {
            match result {
                // Alone, it may take its time.
                Err(Errno::EAGAIN | Errno::EINTR) => self.wires[wire].send(direction, &frame),
                result => self.wires[wire].has_sent(direction, &frame, result),
            }
        }
        for (wire, direction, frame) in kept {
            self.wires[wire].engine.recycle(direction, frame);
        }
        read
    }

    /// What each link leaves behind.
    fn finish(self) -> Vec<LinkLog> {
        let began = self.began.1;
        let wires = self.wires.into_iter().map(|wire| wire.finish(began));
        let captures = self.captures.into_iter().map(|(id, capture)| {
            let (remains, missed) = capture.map(Capture::finish).unwrap_or_default();
            LinkLog::new(Parts { id, carrier: "veth", remains, began, missed, trouble: Vec::new() })
        });
        let mut logs: Vec<LinkLog> = wires.chain(captures).collect();
        for (id, breach) in self.conduct.finish() {
            logs.iter_mut().filter(|log| log.id == id).for_each(|log| log.story.breaches.push(breach.clone()));
        }
        logs.sort_by_key(|log| log.id);
        logs
    }
}

impl Wire {
    /// Where frames come from that go in `direction`.
    fn source(&self, direction: Direction) -> BorrowedFd<'_> {
        match direction {
            Direction::Forward => self.left.as_fd(),
            Direction::Backward => self.right.as_fd(),
        }
    }

    /// Takes a frame that has come, and sends it on where it need not wait.
    fn carry(&mut self, direction: Direction, now: Nanos, frame: &mut [u8], conduct: &mut Conduct) {
        for _ in 0..self.engine.offer(direction, now, frame) {
            conduct.leaves(self.id, direction, now, frame);
            self.send(direction, frame);
        }
    }

    /// Whether more can be read from a device where the last read brought nothing; tells where not. `fragile`: it may be
    /// down.
    fn is_alive(&mut self, direction: Direction, ended: Result<usize, Errno>, fragile: bool) -> bool {
        let (id, host) = (self.id, sender(self.id, direction));
        match ended {
            Err(Errno::EAGAIN) => return true,
            // A packet socket tells once that its device went down.
            Err(Errno::ENETDOWN) if fragile => return true,
            Ok(_) => self.troubles.add(&format!("link {id}: the device of {host} has been closed")),
            Err(errno) => {
                let text = format!("link {id}: cannot read from the device of {host}: {}", describe(errno));
                self.troubles.add(&text);
            }
        }
        false
    }

    /// Sends what is due.
    fn flush(&mut self, now: Nanos, conduct: &mut Conduct) {
        for direction in Direction::BOTH {
            while let Some(due) = self.engine.due(direction, now) {
                conduct.leaves(self.id, direction, now, &due.frame);
                self.send(direction, &due.frame);
                self.engine.recycle(direction, due.frame);
            }
        }
    }

    fn send(&mut self, direction: Direction, frame: &[u8]) {
        let device = self.source(direction.reverse());
        let mut patient = true;
        let result = loop {
            match nix::unistd::write(device, frame) {
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) if patient => patient = has_room(device),
                result => break result,
            }
        };
        self.has_sent(direction, frame, result);
    }

    /// Tells where a frame was lost.
    fn has_sent(&mut self, direction: Direction, frame: &[u8], result: Result<usize, Errno>) {
        let why = match result {
            Ok(length) if length == frame.len() => return,
            // A device that is down (drivers/net/tun.c, tun_get_user; net/packet/af_packet.c, packet_snd).
            Err(Errno::EIO | Errno::ENETDOWN | Errno::ENOBUFS | Errno::ENXIO) if self.fragile => return,
            Ok(_) => "it took only a part".to_owned(),
            Err(errno) => describe(errno),
        };
        let host = sender(self.id, direction.reverse());
        self.troubles.add(&format!("link {}: a frame was lost at the device of {host}: {why}", self.id));
    }

    fn finish(mut self, began: SystemTime) -> LinkLog {
        let id = self.id;
        self.troubles.add_many(
            &format!("link {id}: a packet was lost because more than {} were under way", super::pipeline::MAX_QUEUED),
            self.engine.overflowed(),
        );
        for (end, socket) in [(id.left(), &self.left), (id.right(), &self.right)] {
            if self.sockets {
                let drops = sys::packet::drops(socket).unwrap_or(0);
                let text = format!("link {id}: the packet socket of {end} had no room for a frame (tp_drops)");
                self.troubles.add_many(&text, drops.into());
            }
        }
        let carrier = if self.sockets { "packet" } else { "tap" };
        let (remains, trouble) = (self.engine.finish(), self.troubles.into_lines());
        LinkLog::new(Parts { id, carrier, remains, began, missed: 0, trouble })
    }
}

/// Waits until a device that was full has room again; false if that takes longer than [`PATIENCE`].
fn has_room(device: BorrowedFd<'_>) -> bool {
    let mut polled = [PollFd::new(device, PollFlags::POLLOUT)];
    ppoll(&mut polled, Some(timespec(PATIENCE)), None).is_ok_and(|ready| ready > 0)
}

/// Makes room in a packet socket, as far as this user may.
fn widen(socket: &OwnedFd) {
    // If neither works, the socket keeps its size, and every frame that it drops is reported.
    let _ = setsockopt(socket, sockopt::RcvBufForce, &BUFFER).or_else(|_| setsockopt(socket, sockopt::RcvBuf, &BUFFER));
    let _ = setsockopt(socket, sockopt::SndBufForce, &BUFFER).or_else(|_| setsockopt(socket, sockopt::SndBuf, &BUFFER));
}

fn timespec(nanos: Nanos) -> TimeSpec {
    TimeSpec::from_duration(std::time::Duration::from_nanos(nanos))
}

/// `ENOBUFS: No buffer space available`.
fn describe(errno: Errno) -> String {
    format!("{errno:?}: {}", errno.desc())
}

#[cfg(test)]
mod tests;
