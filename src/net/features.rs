//! What this machine can do: questions for `doctor`, answered without changing anything.

use super::NetError;
use crate::sys::tun;

/// What to do where `/dev/net/tun` cannot be used.
pub(super) const TUN_WAY_OUT: &str = "`modprobe tun`, and as root `chmod 0666 /dev/net/tun`";

/// Whether TAP devices can be made.
pub fn can_tun() -> Result<(), NetError> {
    tun::open().map(drop).map_err(|error| NetError::new(format!("open {}", tun::PATH), error).way_out(TUN_WAY_OUT))
}
