//! Whether a number grows.

use std::collections::VecDeque;

use crate::model::KtimeNs;

/// Samples that are kept of one number.
const MOST: usize = 64;

/// What has risen for so long is not a burst.
const STEADY_NS: u64 = 5_000_000_000;

/// A number at some moments, the latest of them.
#[derive(Clone, Debug, Default)]
pub struct Trend {
    samples: VecDeque<(KtimeNs, u64)>,
}

impl Trend {
    /// One more. When there are too many, every other of the older ones goes: a trend of an hour is one, too.
    pub fn add(&mut self, at: KtimeNs, value: u64) {
        if self.samples.len() == MOST {
            let mut index = 0;
            self.samples.retain(|_| {
                index += 1;
                index % 2 == 1
            });
        }
        self.samples.push_back((at, value));
    }

    /// The last value.
    pub fn last(&self) -> Option<u64> {
        self.samples.back().map(|(_, value)| *value)
    }

    /// By how much it grows in a minute: least squares. `None` for less than three samples.
    #[expect(clippy::cast_precision_loss, reason = "counts and seconds, not more")]
    pub fn per_minute(&self) -> Option<f64> {
        let first = self.samples.front()?.0;
        if self.samples.len() < 3 {
            return None;
        }
        let points = self
            .samples
            .iter()
            .map(|(at, value)| (at.since(first).unwrap_or(0) as f64 / 60e9, *value as f64));
        let count = self.samples.len() as f64;
        let (mut sum_x, mut sum_y, mut sum_xx, mut sum_xy) = (0.0, 0.0, 0.0, 0.0);
        for (x, y) in points {
            (sum_x, sum_y, sum_xx, sum_xy) = (sum_x + x, sum_y + y, sum_xx + x * x, sum_xy + x * y);
        }
        let spread = count * sum_xx - sum_x * sum_x;
        (spread > 0.0).then(|| (count * sum_xy - sum_x * sum_y) / spread)
    }

    /// The same where it has risen without a break for long enough that it may go on so.
    pub fn steady_per_minute(&self) -> Option<f64> {
        self.per_minute()
            .filter(|_| self.only_rises() && self.growth().is_some_and(|(span, _)| span >= STEADY_NS))
    }

    /// How long it has been looked at, and by how much it has grown.
    pub fn growth(&self) -> Option<(u64, u64)> {
        let ((from, first), (to, last)) = (self.samples.front()?, self.samples.back()?);
        Some((to.since(*from)?, last.saturating_sub(*first)))
    }

    /// Whether it has never become less from one sample to the next, and is more than at first.
    pub fn only_rises(&self) -> bool {
        let values = || self.samples.iter().map(|(_, value)| *value);
        values().is_sorted() && values().next() < values().next_back()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_line_has_its_slope() {
        let mut trend = Trend::default();
        for second in 0..500 {
            trend.add(KtimeNs(second * SECOND), 10 + 2 * second);
        }
        let slope = trend.per_minute().expect("there are samples");
        assert!((slope - 120.0).abs() < 0.01, "{slope}");
        assert!(trend.only_rises() && trend.samples.len() <= MOST);
    }

    #[test]
    fn too_little_is_no_trend() {
        let mut trend = Trend::default();
        assert_eq!((trend.per_minute(), trend.last(), trend.only_rises()), (None, None, false));
        for _ in 0..5 {
            trend.add(KtimeNs(SECOND), 7);
        }
        assert_eq!((trend.per_minute(), trend.last(), trend.only_rises()), (None, Some(7), false));
    }

    proptest! {
        #[test]
        fn any_numbers(values in prop::collection::vec((any::<u32>(), 0..1_000_000_u64), 0..200)) {
            let mut trend = Trend::default();
            let mut at = 0;
            for (step, value) in values {
                at += u64::from(step);
                trend.add(KtimeNs(at), value);
            }
            prop_assert!(trend.per_minute().is_none_or(f64::is_finite));
        }
    }
}
