//! Seeds, and the named random streams that grow from them.
//!
//! Everything random in whitewater comes from one [`Seed`]. A consumer asks for a stream by name
//! (`seed.stream("link ns2-ns3 forward loss")`) and gets numbers that depend on the seed and that name alone:
//! adding a draw here, or a stream there, never shifts what another stream yields.
//!
//! [`Stream::at`] is random access: the numbers for one packet are a function of the packet's identity, not of how many
//! packets came before it. This is what lets a live kernel, whose packets never come in quite the same order, meet
//! the same damage twice.

use std::fmt;
use std::str::FromStr;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The origin of everything random in a case or a campaign.
///
/// Written as `0x` and 16 hexadecimal digits; read in that form or as a decimal number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Seed(pub u64);

impl Seed {
    /// Draws a new seed from the operating system: the only place where whitewater asks it for randomness.
    pub fn fresh() -> Seed {
        // The standard library keys each hasher from the system's entropy; hashing nothing reveals that key's digest.
        use std::hash::{BuildHasher, Hasher};
        Seed(std::collections::hash_map::RandomState::new().build_hasher().finish())
    }

    /// The seed of the `index`-th case of a campaign with this seed.
    pub fn child(self, index: u64) -> Seed {
        Seed(self.stream("case").at(index).next_u64())
    }

    /// The random stream of this seed with the given name.
    pub fn stream(self, name: &str) -> Stream {
        let mut hash = Sha256::new();
        hash.update(self.0.to_le_bytes());
        hash.update(name.as_bytes());
        Stream { rng: ChaCha8Rng::from_seed(hash.finalize().into()) }
    }
}

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#018x}", self.0)
    }
}

/// A text that is no seed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not a seed: expected 0x and up to 16 hexadecimal digits, or a decimal number below 2^64")]
pub struct ParseSeedError(String);

impl FromStr for Seed {
    type Err = ParseSeedError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = match text.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16),
            None => text.parse(),
        };
        parsed.map(Seed).map_err(|_| ParseSeedError(text.to_owned()))
    }
}

impl TryFrom<String> for Seed {
    type Error = ParseSeedError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Seed> for String {
    fn from(seed: Seed) -> String {
        seed.to_string()
    }
}

/// A named stream of random numbers. As an iterator-like source it is read in order; [`Stream::at`] reads it anywhere.
#[derive(Clone, Debug)]
pub struct Stream {
    rng: ChaCha8Rng,
}

impl Stream {
    /// The numbers that belong to `place`: independent of what was drawn before, and of every other place.
    pub fn at(&self, place: u64) -> Stream {
        let mut rng = self.rng.clone();
        rng.set_stream(place);
        rng.set_word_pos(0);
        Stream { rng }
    }

    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.rng.next_u64()
    }

    /// A number in `0..bound`.
    ///
    /// # Panics
    /// Where `bound` is 0: there is no such number.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "no number is below 0");
        // Multiply and shift: a bias below 2^-32 for the bounds in use here, and no loop.
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// A number in `[0, 1)`.
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// True with the given probability in `[0, 1]`.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// A number from the normal distribution with mean 0 and standard deviation 1 (Box-Muller).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_depends_on_the_seed_and_its_name_alone() {
        let mut first = Seed(7).stream("loss");
        let mut again = Seed(7).stream("loss");
        let mut other_name = Seed(7).stream("delay");
        let mut other_seed = Seed(8).stream("loss");
        let value = first.next_u64();
        assert_eq!(value, again.next_u64());
        assert_ne!(value, other_name.next_u64());
        assert_ne!(value, other_seed.next_u64());
    }

    #[test]
    fn a_place_does_not_depend_on_what_was_drawn_before() {
        let mut stream = Seed(7).stream("loss");
        let before = stream.at(41).next_u64();
        stream.next_u64();
        assert_eq!(before, stream.at(41).next_u64());
        assert_ne!(before, stream.at(42).next_u64());
    }

    #[test]
    fn a_seed_is_read_as_it_is_written() {
        for seed in [Seed(0), Seed(0x1234), Seed(u64::MAX)] {
            assert_eq!(seed.to_string().parse(), Ok(seed));
        }
        assert_eq!("18".parse(), Ok(Seed(18)));
        assert!("river".parse::<Seed>().unwrap_err().to_string().contains("\"river\" is not a seed"));
    }

    #[test]
    fn draws_keep_to_their_range() {
        let mut stream = Seed(1).stream("range");
        let mut sum = 0.0;
        for _ in 0..10_000 {
            assert!(stream.below(3) < 3);
            assert!((0.0..1.0).contains(&stream.unit()));
            sum += stream.normal();
        }
        assert!((sum / 10_000.0).abs() < 0.05, "the mean of normal draws is {}", sum / 10_000.0);
        assert!(!stream.chance(0.0) && stream.chance(1.0));
    }
}
