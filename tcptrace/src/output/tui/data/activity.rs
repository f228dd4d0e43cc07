//! What happens, second by second: connections that begin and end, transitions, endings.

use std::collections::VecDeque;

use super::super::world::SECONDS;
use crate::model::{KtimeNs, Observation, TcpState, histogram::Ending};

/// Endings are told of so many seconds.
const RECENT: usize = 60;

/// Seconds that are kept: those that are shown, and those that are not over.
const KEPT: usize = SECONDS + 2;

const SECOND_NS: u64 = 1_000_000_000;

/// What has happened in one second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Second {
    opened: u64,
    closed: u64,
    transitions: u64,
    endings: [u64; Ending::ALL.len()],
}

/// Seconds since the start, by the time of the events, whenever they are told.
#[derive(Clone, Debug, Default)]
pub(super) struct Activity {
    /// `None` until that is known.
    started: Option<KtimeNs>,
    /// The last of them is the latest in which something has happened.
    seconds: VecDeque<Second>,
    /// The number of the first of them; the start is in second 0.
    first: u64,
    total: Second,
}

impl Activity {
    /// The start of tracing is known.
    pub(super) fn begin(&mut self, started: KtimeNs) {
        self.started.get_or_insert(started);
    }

    /// One more transition.
    pub(super) fn add(&mut self, observed: &Observation) {
        let transition = &observed.transition;
        let (old, new) = (transition.old, transition.new);
        // A listener is no connection.
        let is_opened = old.begins_life(new) && new != TcpState::Listen;
        let is_closed = new == TcpState::Close && old != TcpState::Listen;
        let ending = observed.connection.end_cause.filter(|_| is_closed).map(Ending::of);
        let count = |second: &mut Second| {
            second.transitions += 1;
            second.opened += u64::from(is_opened);
            second.closed += u64::from(is_closed);
            if let Some(count) = ending.and_then(|ending| second.endings.get_mut(ending as usize)) {
                *count += 1;
            }
        };
        count(&mut self.total);
        if let Some(second) = self.second_of(transition.ts) {
            count(second);
        }
    }

    /// That of a moment; `None` when it is not kept.
    fn second_of(&mut self, ts: KtimeNs) -> Option<&mut Second> {
        let number = ts.since(self.started?)? / SECOND_NS;
        let mut place = usize::try_from(number.checked_sub(self.first)?).ok()?;
        if place >= self.seconds.len() + KEPT {
            // A long time in which nothing has happened.
            self.seconds.clear();
            (self.first, place) = (number, 0);
        }
        while self.seconds.len() <= place {
            self.seconds.push_back(Second::default());
        }
        while self.seconds.len() > KEPT {
            self.seconds.pop_front();
            self.first += 1;
            place -= 1;
        }
        self.seconds.get_mut(place)
    }

    /// How many seconds are over at `now`.
    pub(super) fn over(&self, now: KtimeNs) -> u64 {
        self.started.and_then(|started| now.since(started)).unwrap_or(0) / SECOND_NS
    }

    /// When one more than so many seconds will be over.
    pub(super) fn end_after(&self, over: u64) -> KtimeNs {
        let started = self.started.unwrap_or_default();
        KtimeNs(started.0.saturating_add(over.saturating_add(1).saturating_mul(SECOND_NS)))
    }

    /// The last of the seconds that are over, the oldest first; at most so many.
    fn last(&self, over: u64, most: usize) -> impl Iterator<Item = Second> {
        let from = over.saturating_sub(u64::try_from(most).unwrap_or(u64::MAX));
        (from..over).map(|number| {
            let place = number.checked_sub(self.first).and_then(|place| usize::try_from(place).ok());
            place.and_then(|place| self.seconds.get(place)).copied().unwrap_or_default()
        })
    }

    /// Connections that began and connections that ended in each of the seconds that are over.
    pub(super) fn series(&self, over: u64) -> (Vec<u64>, Vec<u64>) {
        self.last(over, SECONDS).map(|second| (second.opened, second.closed)).unzip()
    }

    /// All that began, all that ended, all transitions.
    pub(super) const fn totals(&self) -> (u64, u64, u64) {
        (self.total.opened, self.total.closed, self.total.transitions)
    }

    /// How many ended so since the start, and how many of them in the last 60 of the seconds that are over.
    pub(super) fn endings(&self, over: u64) -> [(u64, u64); Ending::ALL.len()] {
        let mut endings = self.total.endings.map(|total| (total, 0));
        for second in self.last(over, RECENT) {
            for ((_, recent), count) in endings.iter_mut().zip(second.endings) {
                *recent += count;
            }
        }
        endings
    }

    /// Transitions in the last second that is over.
    pub(super) fn transitions_per_s(&self, over: u64) -> u64 {
        self.last(over, 1).map(|second| second.transitions).sum()
    }
}

#[cfg(test)]
mod tests {
    use TcpState::{Close, Established, FinWait1, Listen, SynSent};

    use super::*;
    use crate::model::{EndCause, Event, Family, Limits, SocketKey, Table, Transition};

    const STARTED: u64 = 7 * SECOND_NS;

    /// Tells of transitions, each so many milliseconds after the start.
    fn activity(transitions: &[(u64, TcpState, TcpState)]) -> Activity {
        let mut activity = Activity::default();
        activity.begin(KtimeNs(STARTED));
        let mut table = Table::new(KtimeNs(STARTED), Limits::default());
        for (ms, old, new) in transitions {
            let ts = KtimeNs(STARTED + ms * 1_000_000);
            let key = SocketKey::from_address(1);
            let transition =
                Transition { error: Some(0), ..Transition::bare(ts, key, Family::V4, (*old, *new)) };
            table.apply(&Event::Transition(transition), &mut |observed| activity.add(observed));
        }
        activity
    }

    #[test]
    fn what_happens_is_in_its_second_even_when_it_is_told_late() {
        let activity = activity(&[
            (100, Close, SynSent),
            (1_500, SynSent, Established),
            (2_200, Established, FinWait1),
            (1_900, FinWait1, Close),
            (3_000, Close, SynSent),
        ]);
        assert_eq!(activity.over(KtimeNs(STARTED + 2_999_999_999)), 2);
        assert_eq!(activity.series(2), (vec![1, 0], vec![0, 1]));
        assert_eq!(activity.series(5), (vec![1, 0, 0, 1, 0], vec![0, 1, 0, 0, 0]));
        assert_eq!((activity.transitions_per_s(2), activity.transitions_per_s(5)), (2, 0));
        assert_eq!(activity.totals(), (2, 1, 5));
    }

    #[test]
    fn a_listener_is_no_connection() {
        let activity = activity(&[(1, Close, Listen), (2, Listen, Close)]);
        assert_eq!(activity.totals(), (0, 0, 2));
    }

    #[test]
    fn endings_are_of_the_last_minute_and_of_all_time() {
        let reset = Ending::of(EndCause::ResetLocal) as usize;
        let activity = activity(&[(100, Established, Close), (60_500, Established, Close)]);
        assert_eq!(activity.endings(60)[reset], (2, 1), "the second in which the last one ended is not over");
        assert_eq!(activity.endings(61)[reset], (2, 1), "the first one was more than 60 s ago");
        assert_eq!(activity.endings(1)[reset], (2, 1));
        assert_eq!(activity.endings(200)[reset], (2, 0));
    }

    #[test]
    fn only_so_many_seconds_are_kept() {
        let later = u64::try_from(SECONDS).expect("is small") + 100;
        let mut transitions: Vec<_> = (0..later).map(|second| (second * 1000, Close, SynSent)).collect();
        let quiet = later + 100_000;
        assert_eq!(activity(&transitions).series(later).0, vec![1; SECONDS]);
        transitions.push((quiet * 1000, Close, SynSent));
        transitions.push((10, Close, SynSent));
        let activity = activity(&transitions);
        assert!(activity.seconds.len() <= KEPT);
        let opened = activity.series(quiet + 1).0;
        assert_eq!((opened.len(), opened.iter().sum::<u64>(), opened.last()), (SECONDS, 1, Some(&1)));
        assert_eq!(activity.totals().0, later + 2, "what is told too late for its second is counted");
    }
}
