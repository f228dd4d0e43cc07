//! The order of the rows: made now and then, as there may be hundreds of thousands.

use std::ops::Range;

use super::columns::What;
use crate::{
    model::{Filter, KtimeNs, SocketKey},
    output::tui::{
        pages::staleness,
        world::{Kind, World},
    },
};

const SECOND: u64 = 1_000_000_000;

/// Nanoseconds between two orders for each row: making one takes some 0.05 µs a row, 0.16 with the last in its place, so that it
/// is not 1 % of a processor.
const PACE: u64 = 25_000;

/// Of so many rows the first ones only are put in order, until somebody goes further down: hardly anybody does, and two
/// thirds of the time would go into the rest.
const FIRST: usize = if cfg!(test) { 16 } else { 4096 };

/// What is listed, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    /// Those that it keeps.
    pub(super) filter: &'a Filter,
    /// By what they are sorted.
    pub(super) by: What,
    /// The large first. What is not known comes last either way.
    pub(super) is_descending: bool,
    /// Those that were closed by then are left out.
    pub(super) cleared: Option<KtimeNs>,
    /// They stand elsewhere.
    pub(super) pinned: &'a [SocketKey],
}

/// The order at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Order {
    rows: Vec<Sorted>,
    /// How many of them are where they belong. The others belong behind these, and are in no order yet.
    settled: usize,
    /// When; `None` before the first.
    at: Option<KtimeNs>,
    /// How many of the closed ones were left out.
    cleared: usize,
    /// How many that are over are in it.
    closed: usize,
    /// How many have been in their state for longer than is normal.
    stale: usize,
    /// How many of those that are pinned elsewhere the filter keeps.
    pinned: usize,
}

/// One row as it is sorted: by what, among equals by what else, and by its key, so that nothing jumps.
type Sorted = (u128, u64, SocketKey);

impl Order {
    /// Makes it.
    pub(super) fn of(world: &dyn World, wanted: &Wanted<'_>) -> Self {
        let now = world.now().ktime;
        let mut order = Self { at: Some(now), ..Self::default() };
        let mut rows: Vec<Sorted> =
            Vec::with_capacity(if *wanted.filter == Filter::default() { world.len() } else { 0 });
        let turn = if wanted.is_descending { u128::MAX } else { 0 };
        #[expect(clippy::cast_possible_truncation, reason = "all bits or none")]
        let turn_second = turn as u64;
        world.each(wanted.filter, &mut |row| {
            let is_closed = row.kind == Kind::Closed;
            if is_closed {
                // When it was closed at the latest; where that is not known it is not after now.
                let closed = row.age(now).0.map_or(KtimeNs(0), |age| KtimeNs(now.0.saturating_sub(age)));
                if wanted.cleared.is_some_and(|cleared| closed <= cleared) {
                    order.cleared += 1;
                    return;
                }
            }
            order.closed += usize::from(is_closed);
            order.stale += usize::from(staleness::thousandths(&row, now).is_some_and(|of| of >= 1000));
            if !wanted.pinned.is_empty() && wanted.pinned.contains(&row.key) {
                order.pinned += 1;
                return;
            }
            let (key, second) = wanted.by.key(&row, now);
            // Among equals the oldest is first.
            let second = match second {
                Some(second) => second ^ turn_second,
                None => row.age(now).0.map_or(u64::MAX, |age| !age),
            };
            // All that are known differ from what is not.
            let key = key.map_or(u128::MAX, |key| key.saturating_add(1) ^ turn);
            rows.push((key, second, row.key));
        });
        order.rows = rows;
        if order.rows.len() > FIRST {
            order.rows.select_nth_unstable(FIRST);
            order.put_in_order(0..FIRST);
        } else {
            order.put_in_order(0..order.rows.len());
        }
        order
    }

    fn put_in_order(&mut self, places: Range<usize>) {
        self.settled = places.end;
        self.rows.get_mut(places).unwrap_or_default().sort_unstable();
    }

    /// Whoever asks what is at a place, up to this one, gets what belongs there.
    pub(super) fn reach(&mut self, place: usize) {
        if place >= self.settled && self.settled < self.rows.len() {
            self.put_in_order(self.settled..self.rows.len());
        }
    }

    /// Whether it is time for the next one.
    pub(super) fn is_due(&self, world: &dyn World) -> bool {
        let Some(at) = self.at else { return true };
        let rows = u64::try_from(world.len()).unwrap_or(u64::MAX);
        // The picture may have been stopped and go on: then it is before.
        world.now().ktime.since(at).is_none_or(|since| since >= SECOND.max(rows.saturating_mul(PACE)))
    }

    /// It is made anew at the next opportunity.
    pub(super) const fn forget(&mut self) {
        self.at = None;
    }

    /// How many rows there are.
    pub(super) const fn len(&self) -> usize {
        self.rows.len()
    }

    /// What is at a place that was [reached](Self::reach).
    pub(super) fn at(&self, place: usize) -> Option<SocketKey> {
        debug_assert!(place < self.settled || place >= self.rows.len(), "{place} is not reached");
        self.rows.get(place).map(|(.., key)| *key)
    }

    /// Where a row is.
    pub(super) fn place_of(&mut self, key: SocketKey) -> Option<usize> {
        let place_of = |rows: &[Sorted]| rows.iter().position(|(.., known)| *known == key);
        let place = place_of(&self.rows)?;
        if place < self.settled {
            return Some(place);
        }
        self.reach(place);
        place_of(&self.rows)
    }

    /// Nanoseconds since it was made.
    pub(super) fn age(&self, now: KtimeNs) -> Option<u64> {
        now.since(self.at?)
    }

    /// How many closed ones were left out.
    pub(super) const fn cleared(&self) -> usize {
        self.cleared
    }

    /// How many are in it that are over, pinned ones among them.
    pub(super) const fn closed(&self) -> usize {
        self.closed
    }

    /// How many of them have been in their state for longer than is normal.
    pub(super) const fn stale(&self) -> usize {
        self.stale
    }

    /// How many the filter keeps, pinned ones among them.
    pub(super) const fn kept(&self) -> usize {
        self.rows.len() + self.pinned
    }
}

#[cfg(test)]
mod tests {
    use super::{super::columns::ORDER, *};
    use crate::output::tui::tests::fixture::{Scene, world};

    #[test]
    fn what_is_reached_is_in_order() {
        let world = world(Scene::Busy);
        for (by, is_descending) in ORDER.into_iter().flat_map(|by| [(by, false), (by, true)]) {
            let wanted = Wanted { filter: &Filter::default(), by, is_descending, cleared: None, pinned: &[] };
            let mut all = Order::of(&world, &wanted).rows;
            all.sort_unstable();
            let key_at = |place: usize| all.get(place).map(|(.., key)| *key);
            let made = || Order::of(&world, &wanted);

            let mut order = made();
            assert_eq!((order.len(), order.settled), (all.len(), FIRST));
            for place in 0..all.len() + 3 {
                order.reach(place);
                assert_eq!(order.at(place), key_at(place), "{by:?} at {place}");
            }
            for place in [0, FIRST - 1, FIRST, all.len() - 1] {
                let mut order = made();
                let key = key_at(place).expect("there are more");
                assert_eq!(order.place_of(key), Some(place), "{by:?} at {place}");
                assert_eq!(order.at(place), Some(key));
            }
        }
    }
}
