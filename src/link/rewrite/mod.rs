//! What a middlebox does to the bytes of a packet. Pure: frames in, frames out.
//!
//! Every rewriting leaves a packet that a receiver takes for whole: lengths and checksums are right. So it must only be
//! given packets that were whole before ([`checksum_holds`](super::packet::checksum_holds)); a new checksum would hide the
//! damage of another link. What a rewriting asks for and a packet does not have (an option, payload) is left out.

mod alter;
mod clamp;
mod layout;
mod mark;
pub mod merge;
pub mod renumber;
mod reset;
mod split;
mod strip;

use crate::case::Action;

use layout::Layout;

/// What one frame has become.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rewritten {
    /// What goes on in its direction, in order.
    pub onward: Vec<Vec<u8>>,
    /// What goes back to its sender.
    pub back: Vec<Vec<u8>>,
}

/// Does `actions` to `frame`, in their order; those that are no rewritings are left out. A frame that is `lost` goes
/// nowhere, but may still draw an answer.
pub fn rewrite(frame: &[u8], lost: bool, actions: impl Iterator<Item = Action>) -> Rewritten {
    let mut done = Rewritten::default();
    let mut frame = frame.to_vec();
    let mut rest = None;
    for action in actions {
        match action {
            Action::Strip(what) => strip::strip(&mut frame, what),
            Action::Clamp(mss) => clamp::clamp(&mut frame, mss),
            Action::Alter(at) => alter::alter(&mut frame, at),
            Action::Mark => mark::mark(&mut frame),
            Action::Split(at) => rest = rest.or_else(|| split::split(&mut frame, at)),
            Action::Reset(towards) => {
                done.onward.extend(towards.receiver().then(|| reset::onward(&frame)).flatten());
                done.back.extend(towards.sender().then(|| reset::back(&frame)).flatten());
            }
            Action::Refuse => done.back.extend(reset::back(&frame)),
            // Done once the next one has come.
            Action::Merge(_) => {}
            Action::Drop | Action::Flip(_) | Action::Duplicate | Action::Late(_) | Action::Early(_) => {}
        }
    }
    if !lost {
        done.onward.push(frame);
        done.onward.extend(rest);
    }
    done
}
