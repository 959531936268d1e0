//! What the kernel offers.

use std::fs;
use std::path::Path;

use super::Check;

/// A case needs a namespace for each of four hosts; several cases run at once.
const NAMESPACES: u64 = 64;

/// The text of a file below `root`, trimmed; `None` if there is none.
fn read(root: &Path, path: &str) -> Option<String> {
    fs::read_to_string(root.join(path)).ok().map(|text| text.trim().to_owned())
}

/// Which kernel this is.
pub fn release(root: &Path) -> Check {
    match read(root, "proc/sys/kernel/osrelease") {
        Some(release) => Check::good("kernel", release),
        None => Check::broken("kernel", "no /proc/sys/kernel/osrelease", "mount /proc: `mount -t proc proc /proc`"),
    }
}

/// Whether agents can have a user namespace of their own. `tried`: what came of trying.
pub fn user_namespaces(root: &Path, tried: Result<(), String>) -> Check {
    const WHAT: &str = "user namespaces";
    let Err(error) = tried else { return Check::good(WHAT, "yes") };
    let is = |path: &str, value: &str| read(root, path).is_some_and(|text| text == value);
    let fix = if !root.join("proc/self/ns/user").exists() {
        "a kernel with CONFIG_USER_NS=y"
    } else if is("proc/sys/user/max_user_namespaces", "0") {
        "as root, `sysctl -w user.max_user_namespaces=10000`"
    } else if is("proc/sys/kernel/unprivileged_userns_clone", "0") {
        "as root, `sysctl -w kernel.unprivileged_userns_clone=1`"
    } else if is("proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1") {
        "as root, `sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`"
    } else {
        "in a container, start it with `--privileged` or a seccomp profile that allows unshare(CLONE_NEWUSER)"
    };
    Check::broken(WHAT, error, fix)
}

/// How many network namespaces a user may have.
pub fn network_namespaces(root: &Path) -> Check {
    const WHAT: &str = "network namespaces";
    const MORE: &str = "as root, `sysctl -w user.max_net_namespaces=10000`";
    match read(root, "proc/sys/user/max_net_namespaces").map(|text| text.parse::<u64>()) {
        Some(Ok(most)) if most >= NAMESPACES => Check::good(WHAT, format!("up to {most}")),
        Some(Ok(0)) => Check::broken(WHAT, "none are allowed", MORE),
        Some(Ok(few)) => Check::lacking(WHAT, format!("only {few}: few cases run at once"), MORE),
        _ => Check::broken(WHAT, "this kernel has none", "a kernel with CONFIG_NET_NS=y"),
    }
}

/// Whether sockets can be listed. `tried`: what came of trying.
pub fn socket_diagnosis(tried: Result<(), String>) -> Check {
    match tried {
        Ok(()) => Check::good("socket diagnosis", "yes"),
        Err(error) => Check::broken("socket diagnosis", error, "as root, `modprobe tcp_diag`, or CONFIG_INET_DIAG=y"),
    }
}

/// Whether the kernel speaks MPTCP. A new namespace has it switched on, whatever the sysctl here says.
pub fn mptcp(root: &Path) -> Check {
    if root.join("proc/sys/net/mptcp/enabled").exists() {
        return Check::good("MPTCP", "yes");
    }
    let fix = "a kernel with CONFIG_MPTCP=y (and CONFIG_MPTCP_IPV6=y); until then `--pairing 'tcp>tcp'`";
    Check::lacking("MPTCP", "this kernel has none: cases with MPTCP are skipped", fix)
}

/// Whether the kernel speaks IPv6. A new namespace has it switched on, unless the kernel was started without it.
pub fn ipv6(root: &Path) -> Check {
    if root.join("proc/sys/net/ipv6").exists() {
        return Check::good("IPv6", "yes");
    }
    let fix = "boot without `ipv6.disable=1`, or a kernel with CONFIG_IPV6=y; until then `--family v4`";
    Check::lacking("IPv6", "this kernel has none: cases with it are skipped", fix)
}

/// Whether impaired links can use TAP devices. `tried`: what came of trying.
pub fn tun(tried: Result<(), String>) -> Check {
    match tried {
        Ok(()) => Check::good("/dev/net/tun", "yes: TAP devices carry impaired links"),
        Err(error) => Check::lacking(
            "/dev/net/tun",
            format!("{error}: packet sockets carry impaired links, somewhat slower"),
            "as root, `modprobe tun` and `chmod 0666 /dev/net/tun`",
        ),
    }
}

/// Whether the kernel can impair links by itself. `tried`: what came of trying.
pub fn netem(tried: Result<(), String>) -> Check {
    match tried {
        Ok(()) => Check::good("netem", "yes: links of cases may have `backend = \"netem\"`"),
        Err(error) => Check::lacking(
            "netem",
            format!("{error}: cases with `backend = \"netem\"` are skipped, which none is by default"),
            "as root, `modprobe sch_netem`, or a kernel with CONFIG_NET_SCH_NETEM; kernels of the uml world have it",
        ),
    }
}

/// Which congestion controls cases can choose. An agent may take any that is loaded, allowed to others or not.
pub fn congestion_controls(root: &Path) -> Check {
    const WHAT: &str = "congestion controls";
    let text = read(root, "proc/sys/net/ipv4/tcp_available_congestion_control").unwrap_or_default();
    let loaded: Vec<&str> = text.split_whitespace().collect();
    let missing: Vec<&str> = ["reno", "cubic", "bbr"].into_iter().filter(|name| !loaded.contains(name)).collect();
    if missing.is_empty() {
        return Check::good(WHAT, loaded.join(", "));
    }
    let load: Vec<String> = missing.iter().map(|name| format!("`modprobe tcp_{name}`")).collect();
    let found = format!("{}, not {}: cases that ask for it use the default", loaded.join(", "), missing.join(", "));
    Check::lacking(WHAT, found, format!("as root, {}", load.join(" and ")))
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    /// A machine of files.
    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("tempdir");
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("mkdir");
            fs::write(path, text).expect("write");
        }
        root
    }

    #[test]
    fn the_fix_for_user_namespaces_is_the_knob_that_forbids_them() {
        const NS: (&str, &str) = ("proc/self/ns/user", "");
        let cases: [(&[(&str, &str)], &str); 5] = [
            (&[], "CONFIG_USER_NS"),
            (&[NS, ("proc/sys/user/max_user_namespaces", "0\n")], "user.max_user_namespaces"),
            (&[NS, ("proc/sys/kernel/unprivileged_userns_clone", "0\n")], "kernel.unprivileged_userns_clone=1"),
            (
                &[NS, ("proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1\n")],
                "kernel.apparmor_restrict_unprivileged_userns=0",
            ),
            (&[NS, ("proc/sys/user/max_user_namespaces", "100\n")], "--privileged"),
        ];
        for (files, fix) in cases {
            let check = user_namespaces(machine(files).path(), Err("EPERM".into()));
            assert_eq!(check.state, State::Broken);
            assert!(check.fix.contains(fix), "{}", check.fix);
            assert_eq!(user_namespaces(machine(files).path(), Ok(())).state, State::Good);
        }
    }

    #[test]
    fn too_few_network_namespaces_slow_things_down_and_none_stop_them() {
        let state =
            |text: &str| network_namespaces(machine(&[("proc/sys/user/max_net_namespaces", text)]).path()).state;
        assert_eq!([state("96365\n"), state("16\n"), state("0\n")], [State::Good, State::Lacking, State::Broken]);
        assert_eq!(network_namespaces(machine(&[]).path()).state, State::Broken);
    }

    #[test]
    fn a_kernel_without_mptcp_or_ipv6_still_runs_the_other_cases() {
        let bare = machine(&[]);
        assert_eq!([mptcp(bare.path()).state, ipv6(bare.path()).state], [State::Lacking; 2]);
        let full = machine(&[("proc/sys/net/mptcp/enabled", "0"), ("proc/sys/net/ipv6/conf/all/forwarding", "0")]);
        assert_eq!([mptcp(full.path()).state, ipv6(full.path()).state], [State::Good; 2]);
    }

    #[test]
    fn a_missing_congestion_control_is_named() {
        let check =
            |text| congestion_controls(machine(&[("proc/sys/net/ipv4/tcp_available_congestion_control", text)]).path());
        assert_eq!(check("reno bbr cubic\n"), Check::good("congestion controls", "reno, bbr, cubic"));
        assert_eq!(check("reno cubic\n").fix, "as root, `modprobe tcp_bbr`");
    }

    #[test]
    fn what_was_tried_in_vain_says_why() {
        assert!(tun(Err("EACCES".into())).found.starts_with("EACCES: packet sockets"));
        assert!(netem(Err("ENOENT".into())).fix.contains("sch_netem"));
        assert_eq!(socket_diagnosis(Err("ENOENT".into())).state, State::Broken);
    }
}
