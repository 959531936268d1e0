//! Signals: SIGPIPE's disposition, and SIGUSR1 as a flag.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

static CAME: AtomicBool = AtomicBool::new(false);

extern "C" fn note(_signal: libc::c_int) {
    CAME.store(true, Ordering::Relaxed);
}

/// From now on SIGUSR1 ends nothing: it interrupts a wait, and [`user_signal_came`] says so.
pub fn watch_user_signal() -> io::Result<()> {
    let action = SigAction::new(SigHandler::Handler(note), SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: the handler does nothing but store to an atomic, which is async-signal-safe.
    unsafe { sigaction(Signal::SIGUSR1, &action) }.map(drop).map_err(io::Error::from)
}

/// Whether SIGUSR1 has come since [`watch_user_signal`].
pub fn user_signal_came() -> bool {
    CAME.load(Ordering::Relaxed)
}

/// Writing to what nobody reads ends the process, as it does a C program: the standard library turns that off.
pub fn die_of_pipe() {
    dispose_pipe(SigHandler::SigDfl);
}

/// Writing to what nobody reads is EPIPE.
pub fn ignore_pipe() {
    dispose_pipe(SigHandler::SigIgn);
}

fn dispose_pipe(handler: SigHandler) {
    let action = SigAction::new(handler, SaFlags::empty(), SigSet::empty());
    // SAFETY: no code of ours is called: the disposition is the default or none. Such a call does not fail.
    let _ = unsafe { sigaction(Signal::SIGPIPE, &action) };
}
