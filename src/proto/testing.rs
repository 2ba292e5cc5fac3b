//! What the codecs' tests share: a tiny PRNG and every way to cut a sample.

/// splitmix64 (Steele, Lea, Flood 2014): deterministic, so that a failing seed fails again.
pub(crate) struct SplitMix(pub(crate) u64);

impl SplitMix {
    /// The next 64 bits.
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    /// One of these.
    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// `len` bytes, mostly from `alphabet`, so that the syntax is often nearly right.
    pub(super) fn bytes(&mut self, len: usize, alphabet: &[u8]) -> Vec<u8> {
        (0..len)
            .map(|_| match self.below(8) {
                0 => self.next() as u8,
                _ => alphabet[self.below(alphabet.len())],
            })
            .collect()
    }
}

/// Calls `run` with the sample whole, byte by byte, cut once at every point, and cut at random.
pub(super) fn every_split(sample: &[u8], mut run: impl FnMut(&[&[u8]])) {
    run(&[sample]);
    run(&sample.chunks(1).collect::<Vec<_>>());
    for at in 0..=sample.len() {
        let (head, tail) = sample.split_at(at);
        run(&[head, tail]);
    }
    let mut random = SplitMix(sample.len() as u64);
    for _ in 0..32 {
        run(&random_split(sample, &mut random));
    }
}

/// Cuts the sample at random, empty pieces included.
pub(super) fn random_split<'a>(mut sample: &'a [u8], random: &mut SplitMix) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    while !sample.is_empty() {
        let most = if random.below(2) == 0 {
            3
        } else {
            sample.len()
        };
        let (piece, rest) = sample.split_at(random.below(most + 1).min(sample.len()));
        pieces.push(piece);
        sample = rest;
    }
    pieces
}
