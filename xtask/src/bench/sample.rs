//! The arithmetic: medians of rounds, ratios within a round.

use std::time::Duration;

/// A measured value, one for each round.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// `None` where nothing was measured.
    pub(crate) fn median(&self) -> Option<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let (low, high) = (sorted.len().checked_sub(1)? / 2, sorted.len() / 2);
        Some(f64::midpoint(sorted[low], sorted[high]))
    }

    pub(crate) fn min(&self) -> Option<f64> {
        self.0.iter().copied().min_by(f64::total_cmp)
    }

    pub(crate) fn max(&self) -> Option<f64> {
        self.0.iter().copied().max_by(f64::total_cmp)
    }

    /// Of each round: neighbours in time share the noise of the machine. Rounds in which one of the two is missing or
    /// the divisor is 0 do not count.
    pub(crate) fn ratio_to(&self, other: &Self) -> Self {
        let pairs = self.0.iter().zip(&other.0).filter(|(_, divisor)| **divisor != 0.0);
        Self(pairs.map(|(value, divisor)| value / divisor).collect())
    }

    /// Of the medians: for differences, which can be around 0 in a round and of either sign.
    pub(crate) fn median_ratio_to(&self, other: &Self) -> Self {
        let medians = self.median().zip(other.median()).filter(|(_, divisor)| *divisor > 0.0);
        Self(medians.map(|(value, divisor)| value / divisor).into_iter().collect())
    }

    /// What each round has more than the same round of another.
    pub(crate) fn minus(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(value, less)| value - less).collect())
    }

    pub(crate) fn map(&self, change: impl Fn(f64) -> f64) -> Self {
        Self(self.0.iter().copied().map(change).collect())
    }
}

impl FromIterator<f64> for Samples {
    fn from_iter<T: IntoIterator<Item = f64>>(values: T) -> Self {
        Self(values.into_iter().collect())
    }
}

/// As a number to calculate with.
#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53: 104 days in nanoseconds")]
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}

/// In milliseconds.
pub(crate) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(values: &[f64]) -> Samples {
        values.iter().copied().collect()
    }

    #[test]
    fn the_median_is_the_middle_or_between_the_two_in_the_middle() {
        assert_eq!(samples(&[]).median(), None);
        assert_eq!(samples(&[3.0]).median(), Some(3.0));
        assert_eq!(samples(&[9.0, 1.0, 2.0]).median(), Some(2.0));
        assert_eq!(samples(&[4.0, 1.0, 2.0, 100.0]).median(), Some(3.0));
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        // The second round ran on a machine twice as slow.
        let ours = samples(&[10.0, 20.0, 10.0]);
        let theirs = samples(&[5.0, 10.0, 5.0]);
        assert_eq!(ours.ratio_to(&theirs), samples(&[2.0, 2.0, 2.0]));
        assert_eq!(ours.minus(&theirs).median(), Some(5.0));
        assert_eq!(ours.ratio_to(&samples(&[0.0, 10.0])), samples(&[2.0]));
        assert_eq!(ours.ratio_to(&samples(&[])).median(), None);
        let differences = samples(&[-5.0, 20.0, 30.0]);
        assert_eq!(differences.median_ratio_to(&samples(&[4.0, -1.0, 9.0])), samples(&[5.0]));
        assert_eq!(differences.median_ratio_to(&samples(&[-4.0])), samples(&[]));
    }

    #[test]
    fn extremes() {
        let values = samples(&[2.0, -1.0, 7.0]);
        assert_eq!((values.min(), values.max(), values.len()), (Some(-1.0), Some(7.0), 3));
    }
}
