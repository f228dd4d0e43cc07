//! Whether a number grows.

use std::collections::VecDeque;

use crate::model::KtimeNs;

/// Samples that are kept of one number, at most.
const MOST: usize = 128;

/// And for how long: what was before is not the present rate.
const WINDOW_NS: u64 = 120_000_000_000;

/// What has risen for so long is not a burst.
const STEADY_NS: u64 = 5_000_000_000;

/// A number at some moments, the latest of them.
#[derive(Clone, Debug, Default)]
pub struct Trend {
    samples: VecDeque<(KtimeNs, u64)>,
}

impl Trend {
    /// One more.
    pub fn add(&mut self, at: KtimeNs, value: u64) {
        let is_old = |sample: &(KtimeNs, u64)| at.since(sample.0).is_some_and(|age| age > WINDOW_NS);
        while self.samples.len() >= MOST || self.samples.front().is_some_and(is_old) {
            self.samples.pop_front();
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

    /// The same where it has risen for long enough that it may go on so: all in all, and in three steps of four or more.
    pub fn steady_per_minute(&self) -> Option<f64> {
        let steps = self.samples.len().saturating_sub(1);
        let falls = self.samples.iter().zip(self.samples.iter().skip(1)).filter(|(a, b)| b.1 < a.1).count();
        let (span, more) = self.growth(KtimeNs(0))?;
        self.per_minute().filter(|_| span >= STEADY_NS && more > 0 && falls * 4 <= steps)
    }

    /// Since when, at the earliest `from`, it is known, and by how much it has grown since.
    fn growth(&self, from: KtimeNs) -> Option<(u64, u64)> {
        let (since, first) = self.samples.iter().find(|(at, _)| *at >= from)?;
        let (to, last) = self.samples.back()?;
        Some((to.since(*since)?, last.saturating_sub(*first)))
    }

    /// The same where it has never become less since `from` from one sample to the next, and has for long enough.
    pub fn only_rises(&self, from: KtimeNs) -> Option<(u64, u64)> {
        let mut values = self.samples.iter().filter(|(at, _)| *at >= from).map(|(_, value)| *value);
        let (span, more) = self.growth(from)?;
        (span >= STEADY_NS && more > 0 && values.by_ref().is_sorted()).then_some((span, more))
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
        let from = |second| trend.only_rises(KtimeNs(second * SECOND));
        assert_eq!((from(490), from(495)), (Some((9 * SECOND, 18)), None), "four seconds are too short");
        let slope = trend.per_minute().expect("there are samples");
        assert!((slope - 120.0).abs() < 0.01, "{slope}");
        assert!(trend.steady_per_minute().is_some() && trend.samples.len() <= MOST);
        // What was long ago is not the present rate.
        for second in 500..700 {
            trend.add(KtimeNs(second * SECOND), 5000);
        }
        assert_eq!((trend.per_minute(), trend.steady_per_minute()), (Some(0.0), None));
        // One that falls back now and then still rises; one that falls every other time does not.
        for (every, rises) in [(8, true), (2, false)] {
            let mut trend = Trend::default();
            for second in 1..40 {
                trend.add(KtimeNs(second * SECOND), 10 + second - if second % every == 0 { 2 } else { 0 });
            }
            assert_eq!(trend.steady_per_minute().is_some(), rises, "{every}");
            assert_eq!(trend.only_rises(KtimeNs(0)), None);
        }
    }

    #[test]
    fn too_little_is_no_trend() {
        let mut trend = Trend::default();
        assert_eq!((trend.per_minute(), trend.last(), trend.only_rises(KtimeNs(0))), (None, None, None));
        for _ in 0..5 {
            trend.add(KtimeNs(SECOND), 7);
        }
        assert_eq!((trend.per_minute(), trend.last(), trend.only_rises(KtimeNs(0))), (None, Some(7), None));
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
