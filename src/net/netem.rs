//! The kernel's network emulator (sch_netem) as the queue of a device: what leaves there is lost, late, doubled, damaged.
//!
//! netlink-packet-route knows no netem, so its options are laid out here, as include/uapi/linux/pkt_sched.h says.

use std::f64::consts::TAU;
use std::time::Duration;

use netlink_packet_core::{DefaultNla, NLM_F_CREATE, NLM_F_REPLACE, Nla};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::{TcAttribute, TcHandle, TcMessage};

use super::device::Device;
use super::netlink::Request;

/// What the kernel calls it.
const KIND: &str = "netem";
/// The attribute of a queue's options (TCA_OPTIONS).
const OPTIONS: u16 = 2;
/// TCA_NETEM_*, in the order of the header.
const CORRELATION: u16 = 1;
const DISTRIBUTION: u16 = 2;
const REORDER: u16 = 3;
const CORRUPT: u16 = 4;
const LOSS: u16 = 5;
const RATE: u16 = 6;
const RATE64: u16 = 8;
const LATENCY64: u16 = 10;
const JITTER64: u16 = 11;
const SEED: u16 = 14;
/// NETEM_LOSS_GE, within the attribute of loss.
const GILBERT_ELLIOTT: u16 = 2;
/// What stands for one standard deviation in a table of a distribution (NETEM_DIST_SCALE).
const DEVIATION: f64 = 8192.0;
/// A table has this many values squared.
const GRID: u32 = 64;

/// How packets get lost.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Loss {
    /// Not at all.
    #[default]
    None,
    /// Each with this probability.
    Independent(f64),
    /// In two states, each with its own loss and a probability per packet to go to the other.
    GilbertElliott {
        /// From the good state to the bad one.
        to_bad: f64,
        /// Back.
        to_good: f64,
        /// The loss in the good state.
        good: f64,
        /// The loss in the bad state.
        bad: f64,
    },
}

/// Packets that overtake those which wait: they go at once.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reorder {
    /// The probability of a packet whose turn it is.
    pub probability: f64,
    /// How much each draw depends on the one before.
    pub correlation: f64,
    /// Every how many packets it is the turn of one; at least 1.
    pub gap: u32,
}

/// What a netem does. The plainest passes everything at once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Netem {
    /// Where its random numbers come from. The places of flipped bits come from the kernel's own.
    pub seed: u64,
    /// The time that every packet takes.
    pub delay: Duration,
    /// The most that a packet takes more or less; with `normal`, the standard deviation.
    pub jitter: Duration,
    /// Whether jitter is distributed normally, not evenly.
    pub normal: bool,
    /// Loss.
    pub loss: Loss,
    /// The probability of a second copy.
    pub duplicate: f64,
    /// The probability of a flipped bit.
    pub corrupt: f64,
    /// Reordering.
    pub reorder: Option<Reorder>,
    /// A limited rate, in bytes a second; 0 for none.
    pub rate: u64,
    /// How many packets may be under way; one more is lost.
    pub limit: u32,
}

/// Makes `netem` the queue of a device, or changes the one that is there. What is under way keeps its time.
pub fn impair(device: &Device, netem: &Netem) -> Request {
    let mut message = TcMessage::default();
    message.header.index = device.index.cast_signed();
    message.header.parent = TcHandle::ROOT;
    message.attributes =
        vec![TcAttribute::Kind(KIND.into()), TcAttribute::Other(DefaultNla::new(OPTIONS, options(netem)))];
    Request {
        message: RouteNetlinkMessage::NewQueueDiscipline(message),
        flags: NLM_F_CREATE | NLM_F_REPLACE,
        device: device.name.clone(),
        operation: "have netem impair it".into(),
    }
}

/// `struct tc_netem_qopt`, and attributes behind it. All of them are there, since a change leaves alone what is not.
fn options(netem: &Netem) -> Vec<u8> {
    let reorder = netem.reorder.unwrap_or_default();
    let independent = if let Loss::Independent(share) = netem.loss { share } else { 0.0 };
    // Latency and jitter in ticks: the attributes below give them in nanoseconds.
    let gap = if netem.reorder.is_some() { reorder.gap.max(1) } else { 0 };
    let mut bytes = words([0, netem.limit, chance(independent), gap, chance(netem.duplicate), 0]);
    let mut add = |kind, value: Vec<u8>| append(&mut bytes, kind, value);
    add(CORRELATION, words([0, 0, 0]));
    add(LATENCY64, nanoseconds(netem.delay));
    add(JITTER64, nanoseconds(netem.jitter));
    add(REORDER, words([chance(reorder.probability), chance(reorder.correlation)]));
    add(CORRUPT, words([chance(netem.corrupt), 0]));
    add(RATE, words([u32::try_from(netem.rate).unwrap_or(u32::MAX), 0, 0, 0]));
    add(RATE64, netem.rate.to_ne_bytes().to_vec());
    add(SEED, netem.seed.to_ne_bytes().to_vec());
    if netem.normal {
        add(DISTRIBUTION, normal().into_iter().flat_map(i16::to_ne_bytes).collect());
    }
    if let Loss::GilbertElliott { to_bad, to_good, good, bad } = netem.loss {
        let mut model = Vec::new();
        append(&mut model, GILBERT_ELLIOTT, words([chance(to_bad), chance(to_good), chance(1.0 - bad), chance(good)]));
        add(LOSS, model);
    }
    bytes
}

fn append(bytes: &mut Vec<u8>, kind: u16, value: Vec<u8>) {
    use netlink_packet_core::Emitable;
    let attribute = DefaultNla::new(kind, value);
    debug_assert!(attribute.value_len() < usize::from(u16::MAX) - 4);
    let start = bytes.len();
    bytes.resize(start + attribute.buffer_len(), 0);
    attribute.emit(&mut bytes[start..]);
}

fn words<const N: usize>(values: [u32; N]) -> Vec<u8> {
    values.into_iter().flat_map(u32::to_ne_bytes).collect()
}

/// A probability as a share of the largest number.
fn chance(probability: f64) -> u32 {
    (probability * f64::from(u32::MAX)).round() as u32
}

fn nanoseconds(time: Duration) -> Vec<u8> {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX).to_ne_bytes().to_vec()
}

/// Values that are distributed normally when one is picked evenly: those of Box and Muller at the points of a grid.
fn normal() -> Vec<i16> {
    let at = |place: u32| (f64::from(place) + 0.5) / f64::from(GRID);
    let value = |one: u32, other: u32| (-2.0 * at(one).ln()).sqrt() * (TAU * at(other)).cos() * DEVIATION;
    (0..GRID).flat_map(|one| (0..GRID).map(move |other| value(one, other).round() as i16)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_laid_out_as_the_kernel_reads_them() {
        let netem = Netem { limit: 7, duplicate: 1.0, delay: Duration::from_millis(1), ..Netem::default() };
        let bytes = options(&netem);
        assert_eq!(bytes[..24], words([0, 7, 0, 0, u32::MAX, 0]));
        let latency = [[12, 0, 10, 0].to_vec(), 1_000_000_i64.to_ne_bytes().to_vec()].concat();
        if cfg!(target_endian = "little") {
            assert!(bytes.windows(latency.len()).any(|part| part == latency), "{bytes:?}");
        }
        assert_eq!(bytes.len() % 4, 0);
    }

    #[test]
    fn reordering_needs_a_gap_and_none_has_none() {
        let gap = |reorder| options(&Netem { reorder, ..Netem::default() })[12];
        assert_eq!(gap(None), 0);
        assert_eq!(gap(Some(Reorder { probability: 0.5, ..Reorder::default() })), 1);
        assert_eq!(gap(Some(Reorder { probability: 0.5, gap: 5, ..Reorder::default() })), 5);
    }

    #[test]
    fn the_table_is_a_normal_distribution() {
        let table = normal();
        let count = table.len() as f64;
        let mean = table.iter().map(|value| f64::from(*value)).sum::<f64>() / count;
        let deviation = (table.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>() / count).sqrt();
        assert!(mean.abs() < 1.0, "{mean}");
        assert!((deviation / DEVIATION - 1.0).abs() < 0.02, "{deviation}");
        let within = table.iter().filter(|value| f64::from(**value).abs() < DEVIATION).count() as f64 / count;
        assert!((within - 0.683).abs() < 0.02, "{within}");
    }
}
