//! The order of the rows: made now and then, as there may be hundreds of thousands.

use super::columns::What;
use crate::{
    model::{Filter, KtimeNs, SocketKey},
    output::tui::{
        pages::staleness,
        world::{Kind, World},
    },
};

const SECOND: u64 = 1_000_000_000;

/// Nanoseconds between two orders for each row: making one takes some 0.2 µs a row, so that it is not 1 % of a processor.
const PACE: u64 = 25_000;

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
    keys: Vec<SocketKey>,
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
        rows.sort_unstable();
        order.keys = rows.into_iter().map(|(.., key)| key).collect();
        order
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

    /// The rows.
    pub(super) fn keys(&self) -> &[SocketKey] {
        &self.keys
    }

    /// Where a row is.
    pub(super) fn place_of(&self, key: SocketKey) -> Option<usize> {
        self.keys.iter().position(|known| *known == key)
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
        self.keys.len() + self.pinned
    }
}
