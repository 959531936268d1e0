//! Small draws from a random stream, in the shapes that the generators need.

use std::time::Duration;

use crate::seed::{Seed, Stream};

/// A named random stream of a case's seed, with the draws that the generators are made of.
pub(super) struct Draw(Stream);

impl Draw {
    /// The stream `draw NAME` of `seed`. One per group: a change to how one group draws shifts no other.
    pub(super) fn new(seed: Seed, name: &str) -> Draw {
        Draw(seed.stream(&format!("draw {name}")))
    }

    /// True with this probability.
    pub(super) fn chance(&mut self, probability: f64) -> bool {
        self.0.chance(probability)
    }

    /// One of `choices`, each as likely.
    pub(super) fn pick<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.0.below(choices.len() as u64) as usize].clone()
    }

    /// A number in `least..=most`, evenly.
    pub(super) fn even(&mut self, least: u64, most: u64) -> u64 {
        least + self.0.below(most.saturating_sub(least) + 1)
    }

    /// A number in `least..=most`, every order of magnitude as likely. `least` counts as at least 1.
    pub(super) fn log(&mut self, least: u64, most: u64) -> u64 {
        let least = least.max(1);
        if most <= least {
            return least;
        }
        let (low, high) = ((least as f64).ln(), (most as f64 + 1.0).ln());
        let drawn = (low + (high - low) * self.0.unit()).exp() as u64;
        drawn.clamp(least, most)
    }

    /// Half the time one of those `boundaries` that lie in `least..=most`; else as [`Draw::log`].
    pub(super) fn bounded(&mut self, boundaries: &[u64], least: u64, most: u64) -> u64 {
        let within: Vec<u64> = boundaries.iter().copied().filter(|value| (least..=most).contains(value)).collect();
        if !within.is_empty() && self.chance(0.5) { self.pick(&within) } else { self.log(least, most) }
    }

    /// A number in `[least, most]`, every order of magnitude as likely, rounded to two digits so that files stay
    /// readable.
    pub(super) fn fraction(&mut self, least: f64, most: f64) -> f64 {
        if most <= least {
            return most;
        }
        let drawn = (least.ln() + (most.ln() - least.ln()) * self.0.unit()).exp();
        let unit = 10f64.powi(drawn.log10().floor() as i32 - 1);
        // Dividing by a whole power of ten gives the nearest float to the two-digit decimal; multiplying may not.
        ((drawn / unit).round() / (1.0 / unit).round()).clamp(least, most)
    }

    /// A whole number of milliseconds in `least..=most`, evenly.
    pub(super) fn millis(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(self.even(least, most))
    }

    /// A duration in `least..=most` microseconds, every order of magnitude as likely.
    pub(super) fn micros_log(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_micros(self.log(least, most))
    }
}
