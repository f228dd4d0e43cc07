//! When to draw: what was typed is answered at once, and no more than ten times in any second.

use std::time::{Duration, Instant};

/// Frames that may follow each other at once.
const BURST: u32 = 3;

/// After those, one each: with [`BURST`] that is ten in any second.
const EACH: Duration = Duration::from_nanos(1_000_000_000 / 7);

/// What has changed without a key is drawn so long after the last frame.
const NEWS: Duration = Duration::from_millis(500);

/// Ages grow.
const AGES: Duration = Duration::from_secs(1);

/// When frames were drawn, and what for.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    /// Before this, no more than [`BURST`] frames less one for each [`EACH`] that it is away.
    full: Instant,
    drawn: Option<Instant>,
    /// Whether anything is new was looked at then.
    looked: Option<Instant>,
    /// A key has changed what is to be seen.
    is_owed: bool,
}

impl Pace {
    /// Nothing is drawn yet.
    pub(super) const fn new(now: Instant) -> Self {
        Self { full: now, drawn: None, looked: None, is_owed: false }
    }

    /// A key, a click, or another size of the screen: it is waited for.
    pub(super) const fn owe(&mut self) {
        self.is_owed = true;
    }

    /// When to look next whether it [`is_due`](Self::is_due).
    pub(super) fn next(&self, is_paused: bool) -> Instant {
        let Some(drawn) = self.drawn else { return self.full };
        if self.is_owed {
            return self.free(BURST);
        }
        let has_looked = self.looked.is_some_and(|looked| looked >= drawn + NEWS);
        let wait = if is_paused || has_looked { AGES } else { NEWS };
        // One is left for a key.
        (drawn + wait).max(self.free(BURST - 1))
    }

    /// Whether to draw now. `is_new`: what is to be seen has changed without a key.
    pub(super) fn is_due(&mut self, now: Instant, is_new: bool, is_paused: bool) -> bool {
        let Some(drawn) = self.drawn else { return true };
        if self.is_owed {
            return now >= self.free(BURST);
        }
        let elapsed = now.saturating_duration_since(drawn);
        if elapsed >= NEWS {
            self.looked = Some(now);
        }
        let wait = if is_new && !is_paused { NEWS } else { AGES };
        elapsed >= wait && now >= self.free(BURST - 1)
    }

    /// A frame was drawn.
    pub(super) fn drew(&mut self, now: Instant) {
        self.full = self.full.max(now) + EACH;
        self.drawn = Some(now);
        self.is_owed = false;
    }

    /// From when on one more frame is among the first `burst`.
    fn free(&self, burst: u32) -> Instant {
        self.full.checked_sub(EACH * (burst - 1)).unwrap_or(self.full)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Goes through ten seconds in steps of a millisecond, and says when frames were drawn.
    fn frames(has_key: impl Fn(u32) -> bool, is_new: bool, is_paused: bool) -> Vec<u32> {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let mut frames = Vec::new();
        for ms in 0..10_000 {
            let now = start + MS * ms;
            if has_key(ms) {
                pace.owe();
            }
            if now >= pace.next(is_paused) && pace.is_due(now, is_new, is_paused) {
                pace.drew(now);
                frames.push(ms);
            }
        }
        frames
    }

    #[test]
    fn ten_in_any_second_and_no_more() {
        let frames = frames(|_| true, true, false);
        for at in 0..9_000 {
            let count = frames.iter().filter(|frame| (at..at + 1_000).contains(*frame)).count();
            assert!((7..=10).contains(&count), "{count} in the second from {at} ms");
        }
    }

    #[test]
    fn a_key_is_answered_at_once_whatever_else_is_drawn() {
        for from in 0..500 {
            // Five keys a second, as one types.
            let is_key = |ms: u32| ms >= 3_000 + from && (ms - from).is_multiple_of(200);
            let frames = frames(is_key, true, false);
            for ms in (0..10_000).filter(|ms| is_key(*ms)) {
                assert!(frames.contains(&ms), "the key of {ms} ms: {frames:?}");
            }
        }
    }

    #[test]
    fn news_are_drawn_twice_a_second_ages_once() {
        let news: Vec<u32> = (0..20).map(|half| half * 500).collect();
        let ages: Vec<u32> = (0..10).map(|second| second * 1_000).collect();
        assert_eq!(frames(|_| false, true, false), news);
        assert_eq!(frames(|_| false, false, false), ages);
        assert_eq!(frames(|_| false, true, true), ages);
    }

    #[test]
    fn nobody_is_woken_for_nothing() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        assert!(pace.is_due(start, false, false));
        pace.drew(start);
        assert_eq!(pace.next(false), start + NEWS);
        assert!(!pace.is_due(start + NEWS, false, false));
        assert_eq!(pace.next(false), start + AGES);
        assert_eq!(pace.next(true), start + AGES);
    }
}
