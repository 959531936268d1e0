//! Configurations of kernels: the fragments that say what this world needs, and whether a built kernel has it.

use std::collections::HashSet;

/// What every kernel of this world has.
const FRAGMENT: &str = include_str!("../whitewater.config");
/// What one that checks itself has on top.
const DEBUG: &str = include_str!("../debug.config");
/// What one that counts executed lines has on top.
const COVERAGE: &str = include_str!("../coverage.config");

/// Lines without which no case could run at all, or none repeatably.
const VITAL: [&str; 12] = [
    "CONFIG_UML_TIME_TRAVEL_SUPPORT=y",
    "CONFIG_HOSTFS=y",
    "# CONFIG_UML_RANDOM is not set",
    "# CONFIG_HW_RANDOM is not set",
    "CONFIG_TMPFS=y",
    "CONFIG_PROC_FS=y",
    "CONFIG_NET_NS=y",
    "CONFIG_INET=y",
    "CONFIG_MPTCP=y",
    "CONFIG_INET_MPTCP_DIAG=y",
    "CONFIG_VETH=y",
    "CONFIG_TUN=y",
];

/// What to configure a kernel from.
pub(super) fn fragment(debug: bool, coverage: bool) -> String {
    let mut text = FRAGMENT.to_owned();
    for (wanted, more) in [(debug, DEBUG), (coverage, COVERAGE)] {
        if wanted {
            text.push('\n');
            text.push_str(more);
        }
    }
    text
}

/// Whether nothing works without this line.
pub(super) fn is_vital(line: &str) -> bool {
    VITAL.contains(&line)
}

/// The lines of `fragment` that do not hold in `config`, a kernel's `.config`. What is to be off may also be unknown.
pub(super) fn unmet(fragment: &str, config: &str) -> Vec<String> {
    let lines: HashSet<&str> = config.lines().collect();
    let names: HashSet<&str> = config.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    let holds = |line: &str| match off(line) {
        Some(name) => !names.contains(name),
        None => !line.starts_with("CONFIG_") || lines.contains(line),
    };
    fragment.lines().filter(|line| !holds(line)).map(str::to_owned).collect()
}

/// The symbol that a line switches off.
fn off(line: &str) -> Option<&str> {
    line.strip_prefix("# ")?.strip_suffix(" is not set").filter(|name| name.starts_with("CONFIG_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_vital_line_is_in_the_fragment() {
        let lines: HashSet<&str> = FRAGMENT.lines().collect();
        for line in VITAL {
            assert!(lines.contains(line), "{line}");
        }
    }

    #[test]
    fn a_line_holds_where_the_symbol_has_its_value() {
        let wanted = "# a comment\nCONFIG_A=y\nCONFIG_B=\"null\"\n# CONFIG_C is not set\n# CONFIG_D is not set\n";
        assert_eq!(unmet(wanted, "CONFIG_A=y\nCONFIG_B=\"null\"\n# CONFIG_D is not set\n"), Vec::<String>::new());
        assert_eq!(
            unmet(wanted, "CONFIG_A=m\nCONFIG_C=y\nCONFIG_D=7\n"),
            ["CONFIG_A=y", "CONFIG_B=\"null\"", "# CONFIG_C is not set", "# CONFIG_D is not set"]
        );
    }

    #[test]
    fn the_debug_fragment_comes_on_top() {
        let text = fragment(true, false);
        assert!(text.contains("\nCONFIG_MPTCP=y\n") && text.contains("\nCONFIG_KASAN=y\n"));
        assert!(!text.contains("GCOV") && fragment(false, true).contains("\nCONFIG_GCOV_KERNEL=y\n"));
    }
}
