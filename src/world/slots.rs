//! Which CPU a case runs on: the one with the fewest cases.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;

/// The CPUs that cases share, each with the number of cases on it.
#[derive(Debug)]
pub(in crate::world) struct Slots {
    loads: Mutex<Vec<(usize, usize)>>,
}

impl Slots {
    /// The CPUs that this process may use.
    pub(in crate::world) fn of_this_process() -> io::Result<Slots> {
        let set = sched_getaffinity(Pid::from_raw(0))?;
        let cpus = (0..CpuSet::count()).filter(|&cpu| set.is_set(cpu).unwrap_or(false));
        Ok(Slots::new(cpus))
    }

    fn new(cpus: impl IntoIterator<Item = usize>) -> Slots {
        Slots { loads: Mutex::new(cpus.into_iter().map(|cpu| (cpu, 0)).collect()) }
    }

    pub(in crate::world) fn cpus(&self) -> usize {
        self.lock().len()
    }

    /// Takes up to `count` CPUs, the least loaded ones, until the slot is dropped.
    pub(in crate::world) fn take(&self, count: usize) -> Slot<'_> {
        let mut loads = self.lock();
        loads.sort_by_key(|&(cpu, load)| (load, cpu));
        let mut cpus = Vec::with_capacity(count);
        for (cpu, load) in loads.iter_mut().take(count) {
            *load += 1;
            cpus.push(*cpu);
        }
        Slot { slots: self, cpus }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(usize, usize)>> {
        self.loads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The CPUs of one case.
#[derive(Debug)]
pub(in crate::world) struct Slot<'a> {
    slots: &'a Slots,
    cpus: Vec<usize>,
}

impl Slot<'_> {
    pub(in crate::world) fn cpus(&self) -> &[usize] {
        &self.cpus
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        for (cpu, load) in self.slots.lock().iter_mut() {
            if self.cpus.contains(cpu) {
                *load -= 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_go_where_the_fewest_are() {
        let slots = Slots::new([3, 5]);
        let first = slots.take(1);
        let second = slots.take(1);
        assert_eq!((first.cpus(), second.cpus()), ([3].as_slice(), [5].as_slice()));
        drop(second);
        assert_eq!(slots.take(1).cpus(), [5]);
        assert_eq!(slots.take(2).cpus(), [5, 3]);
    }

    #[test]
    fn no_more_cpus_are_given_than_there_are() {
        assert_eq!(Slots::new([0]).take(2).cpus(), [0]);
    }
}
