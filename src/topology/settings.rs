//! Kernel settings of hosts and wires.

use std::borrow::Cow;

use crate::case::{Knobs, Syncookies};

/// What keeps a host from speaking unasked; devices made later take it over. A device without a link-local address solicits no
/// router, and one without ARP (IFF_NOARP) looks for no neighbour and no duplicate address.
const SILENCE: [(&str, &str); 1] = [("net.ipv6.conf.default.addr_gen_mode", "1")];

/// What makes a host a router. IPv6 asks `all` alone whether to forward; a device for itself would join the groups of all
/// routers, and report that by multicast as soon as it is up.
const FORWARDING: [(&str, &str); 3] =
    [("net.ipv4.ip_forward", "1"), ("net.ipv6.conf.all.forwarding", "1"), ("net.ipv6.conf.default.forwarding", "0")];

/// What keeps a wire's namespace from looking into the frames that pass.
const DEAF: [(&str, &str); 1] = [("net.ipv6.conf.default.disable_ipv6", "1")];

/// The setting whose values are names of what the kernel may not have.
pub(super) const SCHEDULER: &str = "net.mptcp.scheduler";

/// A key and its value.
pub(super) type Setting = (&'static str, Cow<'static, str>);

/// All settings of a host, which may be a router.
pub(super) fn of_host(is_router: bool, own: &Knobs) -> Vec<Setting> {
    let fixed = SILENCE.into_iter().chain(is_router.then_some(FORWARDING).into_iter().flatten());
    fixed.map(|(key, value)| (key, value.into())).chain(knobs(own)).collect()
}

/// All settings of a wire.
pub(super) fn of_wire() -> Vec<Setting> {
    DEAF.map(|(key, value)| (key, value.into())).to_vec()
}

/// The settings in which a host differs from a fresh namespace.
fn knobs(knobs: &Knobs) -> Vec<Setting> {
    let plain = Knobs::default();
    let triple = |values: [u32; 3]| values.map(|value| value.to_string()).join(" ");
    let mut settings = Vec::new();
    if let Some(values) = knobs.tcp_rmem {
        settings.push(("net.ipv4.tcp_rmem", triple(values).into()));
    }
    if let Some(values) = knobs.tcp_wmem {
        settings.push(("net.ipv4.tcp_wmem", triple(values).into()));
    }
    let switches = [
        ("net.ipv4.tcp_sack", knobs.sack, plain.sack),
        ("net.ipv4.tcp_timestamps", knobs.timestamps, plain.timestamps),
        ("net.ipv4.tcp_window_scaling", knobs.window_scaling, plain.window_scaling),
        ("net.mptcp.checksum_enabled", knobs.mptcp_checksum, plain.mptcp_checksum),
        ("net.mptcp.allow_join_initial_addr_port", knobs.join_initial, plain.join_initial),
    ];
    for (key, value, default) in switches {
        if value != default {
            settings.push((key, if value { "1" } else { "0" }.into()));
        }
    }
    for (key, value) in
        [("net.mptcp.stale_loss_cnt", knobs.stale_loss_cnt), ("net.mptcp.add_addr_timeout", knobs.add_addr_timeout)]
    {
        settings.extend(value.map(|value| (key, value.to_string().into())));
    }
    if knobs.syncookies != plain.syncookies {
        let value = match knobs.syncookies {
            Syncookies::Off => "0",
            Syncookies::OnOverflow => "1",
            Syncookies::Always => "2",
        };
        settings.push(("net.ipv4.tcp_syncookies", value.into()));
    }
    if knobs.pm.userspace {
        settings.push(("net.mptcp.pm_type", "1".into()));
    }
    settings.extend(knobs.scheduler.clone().map(|name| (SCHEDULER, name.into())));
    settings.extend(knobs.sysctls.iter().map(|(sysctl, value)| (sysctl.key(), value.to_string().into())));
    settings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{PathManager, Sysctl};

    #[test]
    fn only_what_differs_is_set() {
        assert!(knobs(&Knobs::default()).is_empty());
        let all = Knobs {
            tcp_rmem: Some([4096, 8192, 65536]),
            tcp_wmem: Some([1, 2, 3]),
            sack: false,
            timestamps: false,
            window_scaling: false,
            syncookies: Syncookies::Always,
            mptcp_checksum: true,
            stale_loss_cnt: Some(2),
            add_addr_timeout: Some(1),
            join_initial: false,
            scheduler: Some("default".to_owned()),
            pm: PathManager { userspace: true, ..PathManager::default() },
            sysctls: [(Sysctl::TcpEcn, 1)].into(),
        };
        let expected = [
            ("net.ipv4.tcp_rmem", "4096 8192 65536"),
            ("net.ipv4.tcp_wmem", "1 2 3"),
            ("net.ipv4.tcp_sack", "0"),
            ("net.ipv4.tcp_timestamps", "0"),
            ("net.ipv4.tcp_window_scaling", "0"),
            ("net.mptcp.checksum_enabled", "1"),
            ("net.mptcp.allow_join_initial_addr_port", "0"),
            ("net.mptcp.stale_loss_cnt", "2"),
            ("net.mptcp.add_addr_timeout", "1"),
            ("net.ipv4.tcp_syncookies", "2"),
            ("net.mptcp.pm_type", "1"),
            ("net.mptcp.scheduler", "default"),
            ("net.ipv4.tcp_ecn", "1"),
        ];
        assert_eq!(knobs(&all), expected.map(|(key, value)| (key, value.into())));
    }
}
