//! How much CPU time a kernel of this world and its guest's processes have had: this distinguishes a kernel that computes
//! for ever from one that a busy machine does not let run.

use std::fs;
use std::io;
use std::time::Duration;

use nix::unistd::{SysconfVar, sysconf};

/// CPU time. It does not run while others have the CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    /// Of the kernel's own process: all that happens within the guest's kernel.
    pub(super) kernel: Duration,
    /// Of the processes in which the guest's programs compute: the kernel's children.
    pub(super) programs: Duration,
}

impl Usage {
    /// That of the kernel whose process is `pid`. Children that this machine does not tell of count as none.
    pub(super) fn of(pid: u32) -> io::Result<Usage> {
        let (kernel, gone) = times(pid)?;
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        // One may end between the two looks.
        let live = children.split_whitespace().filter_map(|child| times(child.parse().ok()?).ok());
        let programs = live.map(|(own, below)| own + below).sum::<Duration>() + gone;
        Ok(Usage { kernel, programs })
    }

    pub(super) fn total(self) -> Duration {
        self.kernel + self.programs
    }

    pub(super) fn since(self, earlier: Usage) -> Usage {
        Usage {
            kernel: self.kernel.saturating_sub(earlier.kernel),
            programs: self.programs.saturating_sub(earlier.programs),
        }
    }
}

/// The CPU times of a process, and of its children that have ended: utime, stime, cutime and cstime of
/// /proc/pid/stat (proc_pid_stat(5)).
fn times(pid: u32) -> io::Result<(Duration, Duration)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let ticks = ticks(&text).ok_or_else(|| io::Error::other(format!("/proc/{pid}/stat is not as it should be")))?;
    let second = sysconf(SysconfVar::CLK_TCK)?.and_then(|ticks| u64::try_from(ticks).ok()).unwrap_or(100).max(1);
    let time = |ticks: u64| Duration::from_millis(ticks.saturating_mul(1000) / second);
    let [user, system, children_user, children_system] = ticks;
    Ok((time(user + system), time(children_user + children_system)))
}

/// The 14th to 17th field. The second is the program's name in parentheses, which may hold anything.
fn ticks(stat: &str) -> Option<[u64; 4]> {
    let (_, behind) = stat.rsplit_once(") ")?;
    let fields: Vec<u64> = behind.split(' ').skip(11).take(4).map_while(|field| field.parse().ok()).collect();
    fields.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let stat = "12 (a) b ( c) S 1 12 12 0 -1 4194560 99 0 1 0 700 30 2 1 20 0 1 0 5 0 0";
        assert_eq!(ticks(stat), Some([700, 30, 2, 1]));
        assert_eq!(ticks("12 (a) S 1 12"), None);
    }

    #[test]
    fn computing_counts_and_sleeping_does_not() {
        let before = Usage::of(std::process::id()).unwrap();
        std::thread::sleep(Duration::from_millis(1));
        let mut sum = 0_u64;
        while Usage::of(std::process::id()).unwrap().since(before).kernel < Duration::from_millis(20) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
    }
}
