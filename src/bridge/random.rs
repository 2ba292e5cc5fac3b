//! Random numbers for jitter and ids: SplitMix64, seeded once. Nothing here is a secret.

use std::time::Duration;

/// A seeded sequence.
#[derive(Clone, Debug)]
pub(crate) struct Random {
    state: u64,
    tag: u32,
}

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Self {
            state: seed,
            tag: 0,
        };
        random.tag = random.next() as u32;
        random
    }

    /// Part of the ids that this process makes, the same for its whole life.
    pub(crate) fn tag(&self) -> u32 {
        self.tag
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// `duration` give or take a fraction of one in `part`.
    pub(crate) fn around(&mut self, duration: Duration, part: u32) -> Duration {
        let spread = (duration / part).as_micros() as u64;
        let shift = self.next() % (2 * spread + 1);
        duration + Duration::from_micros(shift) - Duration::from_micros(spread)
    }
}
