//! Packets that a CPU's receive queue had no room for: `/proc/net/softnet_stat`. The counts are the machine's, not a
//! namespace's.

use std::collections::BTreeMap;

use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;

use super::{NetError, proc};

const PATH: &str = "/proc/thread-self/net/softnet_stat";

/// The column with the drops, and the one with the CPU's number (net/core/net-procfs.c: softnet_seq_show).
const DROPPED: usize = 1;
const CPU: usize = 12;

/// The drops of some CPUs at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drops(BTreeMap<usize, u32>);

impl Drops {
    /// Those of the CPUs that the calling thread may run on.
    pub fn now() -> Result<Drops, NetError> {
        let own = sched_getaffinity(Pid::from_raw(0)).map_err(|errno| NetError::new("sched_getaffinity", errno))?;
        let mut drops = read()?;
        drops.retain(|cpu, _| is_member(&own, *cpu));
        Ok(Drops(drops))
    }

    /// What these CPUs have dropped since: the CPU and how many packets, where it is any.
    pub fn since(&self) -> Result<Vec<(usize, u32)>, NetError> {
        let now = read()?;
        let grown = |(cpu, before): (&usize, &u32)| {
            let more = now.get(cpu)?.wrapping_sub(*before);
            (more > 0).then_some((*cpu, more))
        };
        Ok(self.0.iter().filter_map(grown).collect())
    }
}

fn is_member(set: &CpuSet, cpu: usize) -> bool {
    // An error means that the set cannot have so high a number.
    set.is_set(cpu).unwrap_or(false)
}

fn read() -> Result<BTreeMap<usize, u32>, NetError> {
    let text = proc::read(PATH).map_err(|error| NetError::new(format!("read {PATH}"), error))?;
    Ok(parse(&text))
}

/// The drops by CPU. Lines without a CPU's number, as kernels before 5.10 write them, count from 0.
fn parse(text: &str) -> BTreeMap<usize, u32> {
    let line = |(place, line): (usize, &str)| {
        let column = |index: usize| u32::from_str_radix(line.split_ascii_whitespace().nth(index)?, 16).ok();
        Some((column(CPU).map_or(place, |cpu| cpu as usize), column(DROPPED)?))
    };
    text.lines().enumerate().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_are_read_by_cpu() {
        let text = "0007b3f6 0000000a 00000011 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 \
                    00000000 00000002 00000000 00000000\n\
                    0007b3f6 00000000 00000011 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 \
                    00000000 00000003 00000000 00000000\n";
        assert_eq!(parse(text), BTreeMap::from([(2, 10), (3, 0)]));
        assert_eq!(parse("0007b3f6 00000001 00000011\n0007b3f6 00000002\n"), BTreeMap::from([(0, 1), (1, 2)]));
    }

    #[test]
    fn this_machine_can_be_read() {
        let drops = Drops::now().expect("softnet_stat");
        assert!(!drops.0.is_empty());
        assert!(drops.since().is_ok());
        let earlier = Drops(drops.0.iter().map(|(cpu, count)| (*cpu, count.wrapping_sub(2))).collect());
        assert!(earlier.since().expect("softnet_stat").iter().all(|(_, count)| *count >= 2));
    }
}
