//! Draws by which calls endpoints send and receive.

use super::draw::Draw;
use crate::case::{Case, Io, Receiving, Sending};

/// Draws the calls of one end or both.
pub(super) fn io(case: &mut Case) {
    let mut draw = Draw::new(case.seed, "io");
    let which = draw.even(1, 3);
    for (bit, end) in [(1, &mut case.client), (2, &mut case.server)] {
        if which & bit != 0 {
            end.io = some_io(&mut draw);
        }
    }
}

/// Calls of which at least one is not the plain one.
fn some_io(draw: &mut Draw) -> Io {
    let mut io = Io::default();
    let what = draw.even(0, 4);
    if matches!(what, 0 | 1 | 4) {
        io.send = draw.pick(&Sending::ALL[1..]);
    }
    if matches!(what, 0 | 2) {
        io.receive = draw.pick(&Receiving::ALL[1..]);
    }
    if what == 3 {
        io.receive = draw.pick(&[Receiving::Recv, Receiving::Recv, Receiving::Scatter, Receiving::SaveAfterPeek]);
        (io.timestamps, io.inq) = draw.pick(&[(false, true), (true, false), (true, true)]);
    }
    io
}
