//! The agent: runs one case. It builds the topology, runs both endpoints and the links, watches over them, and returns an
//! [`Observation`](crate::observation::Observation) and, if asked, its evidence.
//!
//! It is the same in every world; [`world`](crate::world) decides where it runs: always in a process of its own, so that
//! it takes nothing else down with it. It judges nothing.

mod capture;
mod events;
mod path_managers;
mod run;
mod settle;
mod watch;

pub mod command;
pub mod coverage;
pub mod evidence;
pub mod init;
pub mod protocol;

use std::os::unix::net::UnixStream;

use protocol::{Reply, Request};

/// Serves one case over `stream`, from its request to its evidence. An error means that nobody is left to talk to.
pub fn serve(mut stream: UnixStream) -> Result<(), protocol::ProtocolError> {
    protocol::send(&mut stream, &Reply::Started { pid: std::process::id() })?;
    let Request::Run(errand) = protocol::receive(&mut stream)? else {
        return protocol::send(&mut stream, &Reply::Trouble("asked for evidence before a case".into()));
    };
    let (observation, evidence) = match run::run(&errand) {
        Ok(seen) => seen,
        Err(run::RunError::Unable(text)) => return protocol::send(&mut stream, &Reply::Unable(text)),
        Err(run::RunError::Trouble(text)) => return protocol::send(&mut stream, &Reply::Trouble(text)),
    };
    protocol::send(&mut stream, &Reply::Observed(Box::new(observation.clone())))?;
    match protocol::receive(&mut stream)? {
        Request::Keep { folder } => {
            let reply = match evidence.write(&folder, &observation) {
                Ok(()) => Reply::Kept,
                Err(error) => Reply::Trouble(error.to_string()),
            };
            protocol::send(&mut stream, &reply)
        }
        Request::Run(_) | Request::Forget => Ok(()),
    }
}
