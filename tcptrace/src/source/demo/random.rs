//! Numbers that are the same each time (xorshift64*).

/// A sequence of them.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    /// The same seed gives the same numbers.
    pub(super) const fn new(seed: u64) -> Self {
        // 0 would stay 0.
        Self(seed ^ 0x9E37_79B9_7F4A_7C15 | 1)
    }

    /// Any number.
    pub(super) const fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }

    /// From 0 to `end`, without `end`, which is small against 2^48; 0 where there is nothing to choose from.
    pub(super) const fn below(&mut self, end: u64) -> u64 {
        if end == 0 { 0 } else { self.next() % end }
    }

    /// From `first` to `last`, every magnitude as often as every other.
    pub(super) fn spread(&mut self, first: u64, last: u64) -> u64 {
        let (low, high) = (first.max(1).ilog2(), last.max(1).ilog2());
        let magnitude = 1_u64 << (u64::from(low) + self.below(u64::from(high.saturating_sub(low)) + 1));
        (magnitude + self.below(magnitude)).clamp(first, last.max(first))
    }

    /// True in so many of a thousand cases.
    pub(super) const fn is_one_of(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    /// The pause before what comes every `mean` in the long run.
    pub(super) const fn pause(&mut self, mean: u64) -> u64 {
        1 + self.below(2 * mean)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_where_they_should_be() {
        let mut random = Random::new(1);
        let mut sum = 0;
        for _ in 0..10_000 {
            assert!(random.below(7) < 7);
            assert!((100..=90_000).contains(&random.spread(100, 90_000)));
            sum += random.pause(1_000);
        }
        assert!((9_500_000..10_500_000).contains(&sum), "{sum}");
        assert_eq!(random.below(0), 0);
        assert_eq!(random.spread(5, 5), 5);
    }
}
