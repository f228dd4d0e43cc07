//! What happens when.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
};

/// Entries of one bucket: a heap of all that will happen within hours would be slow.
const BUCKET_NS: u64 = 1_000_000_000;

/// Entries in the order of their times.
#[derive(Debug)]
pub(super) struct Agenda<T> {
    /// Those before `near_until`.
    near: BinaryHeap<Reverse<(u64, T)>>,
    near_until: u64,
    /// All others, by bucket.
    far: BTreeMap<u64, Vec<(u64, T)>>,
}

impl<T: Ord> Agenda<T> {
    /// Nothing happens.
    pub(super) const fn new() -> Self {
        Self { near: BinaryHeap::new(), near_until: 0, far: BTreeMap::new() }
    }

    /// Something will.
    pub(super) fn add(&mut self, at: u64, what: T) {
        if at < self.near_until {
            self.near.push(Reverse((at, what)));
        } else {
            self.far.entry(at / BUCKET_NS).or_default().push((at, what));
        }
    }

    /// The next of what happens until `now`, which is then no more in it.
    pub(super) fn take(&mut self, now: u64) -> Option<(u64, T)> {
        while self.near.is_empty() {
            let (bucket, entries) =
                self.far.first_key_value().map(|(bucket, _)| *bucket).and_then(|bucket| {
                    if bucket * BUCKET_NS > now { None } else { self.far.remove_entry(&bucket) }
                })?;
            self.near_until = (bucket + 1) * BUCKET_NS;
            self.near = entries.into_iter().map(Reverse).collect();
        }
        if self.near.peek().is_some_and(|Reverse((at, _))| *at <= now) {
            self.near.pop().map(|Reverse(entry)| entry)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_in_the_order_of_their_times() {
        let mut agenda = Agenda::new();
        for (at, what) in [(5_000_000_001, 'd'), (10, 'a'), (1_000_000_000, 'b'), (90_000_000_000, 'e')] {
            agenda.add(at, what);
        }
        assert_eq!(agenda.take(9), None);
        assert_eq!(agenda.take(2_000_000_000), Some((10, 'a')));
        agenda.add(3_000_000_000, 'c');
        // Late: it is next.
        agenda.add(7, 'x');
        let rest: String = std::iter::from_fn(|| agenda.take(6_000_000_000)).map(|(_, what)| what).collect();
        assert_eq!(rest, "xbcd");
        assert_eq!(agenda.take(u64::MAX), Some((90_000_000_000, 'e')));
        assert_eq!(agenda.take(u64::MAX), None);
    }
}
