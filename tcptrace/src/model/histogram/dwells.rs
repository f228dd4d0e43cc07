//! How completed stays are distributed.

use sketches_ddsketch::{Config, DDSketch};

const US: u64 = 1_000;
const MS: u64 = 1_000 * US;
const S: u64 = 1_000 * MS;
const MIN: u64 = 60 * S;
const H: u64 = 60 * MIN;
const D: u64 = 24 * H;

/// Where one bar ends and the next begins, in nanoseconds: 1, 2, 5 of each power of ten up to 30 s, then what clocks are
/// divided into. The kernel's own times are edges: 60 s of TIME_WAIT and orphans, 2 h of keepalive.
pub const EDGES: [u64; 39] = [
    US,
    2 * US,
    5 * US,
    10 * US,
    20 * US,
    50 * US,
    100 * US,
    200 * US,
    500 * US,
    MS,
    2 * MS,
    5 * MS,
    10 * MS,
    20 * MS,
    50 * MS,
    100 * MS,
    200 * MS,
    500 * MS,
    S,
    2 * S,
    5 * S,
    10 * S,
    20 * S,
    30 * S,
    MIN,
    2 * MIN,
    5 * MIN,
    10 * MIN,
    20 * MIN,
    30 * MIN,
    H,
    2 * H,
    5 * H,
    12 * H,
    D,
    2 * D,
    5 * D,
    10 * D,
    30 * D,
];

/// One more than there are edges: the first is below them all, the last above.
pub const BARS: usize = EDGES.len() + 1;

/// For each number of bits the first edge that is longer than the shortest time with so many: a search would guess wrong
/// at every other step.
const FIRST_EDGE: [u8; 65] = {
    let mut first = [0; 65];
    let mut bits = 1;
    while bits <= 64 {
        let shortest = 1_u64 << (bits - 1);
        let mut edge = first[bits - 1];
        while (edge as usize) < EDGES.len() && EDGES[edge as usize] <= shortest {
            edge += 1;
        }
        first[bits] = edge;
        bits += 1;
    }
    first
};

/// The bar that a time belongs to. No more than two edges have the same number of bits.
fn bar_of(ns: u64) -> usize {
    let first = usize::from(FIRST_EDGE[(u64::BITS - ns.leading_zeros()) as usize]);
    let is_behind = |edge: usize| EDGES.get(edge).is_some_and(|edge| *edge <= ns);
    first + usize::from(is_behind(first)) + usize::from(is_behind(first + 1))
}

/// Largest relative error of a quantile.
pub const RELATIVE_ERROR: f64 = 0.01;

/// From 1 ns to more than a thousand years at that error, so that none are ever collapsed.
const MOST_BINS: u32 = 2048;

/// Stays in one state, in nanoseconds. Quantiles are true to [`RELATIVE_ERROR`], all else is exact.
#[derive(Clone)]
pub struct Dwells {
    sketch: DDSketch,
    count: u64,
    sum_ns: u128,
    max_ns: u64,
    min_ns: u64,
    bars: Box<[u64; BARS]>,
}

impl Default for Dwells {
    fn default() -> Self {
        Self {
            sketch: DDSketch::new(Config::new(RELATIVE_ERROR, MOST_BINS, 1.0)),
            count: 0,
            sum_ns: 0,
            max_ns: 0,
            min_ns: u64::MAX,
            bars: Box::new([0; BARS]),
        }
    }
}

impl std::fmt::Debug for Dwells {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dwells")
            .field("count", &self.count)
            .field("max_ns", &self.max_ns)
            .finish_non_exhaustive()
    }
}

impl Dwells {
    /// One more stay.
    pub fn add(&mut self, ns: u64) {
        #[expect(
            clippy::cast_precision_loss,
            reason = "2^53 ns are 104 days; the error is below that of the sketch"
        )]
        self.sketch.add(ns as f64);
        self.count += 1;
        self.sum_ns += u128::from(ns);
        self.max_ns = self.max_ns.max(ns);
        self.min_ns = self.min_ns.min(ns);
        self.bars[bar_of(ns)] += 1;
    }

    /// Those of another, too.
    pub fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        // Fails for other configurations only.
        let merged = self.sketch.merge(&other.sketch);
        debug_assert!(merged.is_ok(), "{merged:?}");
        self.count += other.count;
        self.sum_ns += other.sum_ns;
        self.max_ns = self.max_ns.max(other.max_ns);
        self.min_ns = self.min_ns.min(other.min_ns);
        for (mine, theirs) in self.bars.iter_mut().zip(other.bars.iter()) {
            *mine += theirs;
        }
    }

    /// How many there are.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// All of them together.
    pub const fn sum_ns(&self) -> u128 {
        self.sum_ns
    }

    /// The longest.
    pub fn max_ns(&self) -> Option<u64> {
        (self.count > 0).then_some(self.max_ns)
    }

    /// The shortest stay that this part of all is not longer than: 0.5 gives the median.
    pub fn quantile(&self, part: f64) -> Option<u64> {
        // By nearest rank; the sketch takes a part of the way from the first to the last, and rounds down.
        #[expect(clippy::cast_precision_loss, reason = "2^53 stays are enough")]
        let (count, last) = (self.count as f64, self.count.saturating_sub(1) as f64);
        let rank = (part * count).ceil() - 1.0;
        let of_way = if last > 0.0 { ((rank + 0.5) / last).clamp(0.0, 1.0) } else { 0.0 };
        let ns = self.sketch.quantile(of_way).ok().flatten()?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "as casts of floats saturate, and it is put between two that were there"
        )]
        let (ns, rank) = (ns.round() as u64, rank.max(0.0) as u64);
        // Which bar it is in is known exactly: the sketch's error must not put it into the one beside.
        let (from, last) = self.bar_at(rank);
        Some(ns.clamp(from, last).clamp(self.min_ns, self.max_ns))
    }

    /// The first and the last time of the bar that has the stay of this rank, from 0.
    fn bar_at(&self, rank: u64) -> (u64, u64) {
        let mut shorter = 0;
        for (i, count) in self.bars.iter().enumerate() {
            shorter += count;
            if shorter > rank {
                let from = if i == 0 { 0 } else { EDGES[i - 1] };
                return (from, EDGES.get(i).map_or(u64::MAX, |edge| edge - 1));
            }
        }
        (0, u64::MAX)
    }

    /// How many there are between one edge and the next: see [`EDGES`].
    pub const fn bars(&self) -> &[u64; BARS] {
        &self.bars
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn edges_rise() {
        assert!(EDGES.is_sorted_by(|a, b| a < b));
        assert!(EDGES.contains(&(60 * S)) && EDGES.contains(&(2 * H)));
    }

    #[test]
    fn an_edge_belongs_to_what_begins_there() {
        let mut dwells = Dwells::default();
        for ns in [0, 999, 1000, 1999, 60 * S - 1, 60 * S, u64::MAX] {
            dwells.add(ns);
        }
        let filled: Vec<(usize, u64)> =
            dwells.bars().iter().copied().enumerate().filter(|(_, count)| *count > 0).collect();
        let minute = EDGES.iter().position(|edge| *edge == MIN).unwrap_or_default();
        assert_eq!(filled, [(0, 2), (1, 2), (minute, 1), (minute + 1, 1), (BARS - 1, 1)]);
    }

    #[test]
    fn nothing_has_no_quantiles() {
        let dwells = Dwells::default();
        assert_eq!((dwells.quantile(0.5), dwells.max_ns(), dwells.count()), (None, None, 0));
    }

    #[test]
    fn bars_are_those_of_a_search() {
        let near = |ns: u64| [ns.saturating_sub(1), ns, ns.saturating_add(1)];
        let powers = (0..64).map(|bit| 1_u64 << bit).chain([0, u64::MAX]);
        for ns in EDGES.into_iter().chain(powers).flat_map(near) {
            assert_eq!(bar_of(ns), EDGES.partition_point(|edge| *edge <= ns), "{ns}");
        }
    }

    fn of(all: &[u64]) -> Dwells {
        let mut dwells = Dwells::default();
        for ns in all {
            dwells.add(*ns);
        }
        dwells
    }

    proptest! {
        #[test]
        fn quantiles_are_near(mut all in prop::collection::vec(1..40 * D, 1..300), part in 0.0..=1.0_f64) {
            let dwells = of(&all);
            all.sort_unstable();
            #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss,
                reason = "a few hundred")]
            let rank = ((part * all.len() as f64).ceil() as usize).saturating_sub(1);
            let (found, truth) = (dwells.quantile(part).unwrap_or_default(), all[rank]);
            prop_assert!(found.abs_diff(truth) <= truth / 100 + 1, "{found} instead of {truth}");
            prop_assert_eq!(bar_of(found), bar_of(truth));
        }

        #[test]
        fn parts_are_the_whole(
            parts in prop::collection::vec(prop::collection::vec(0..40 * D, 0..50), 1..6)
        ) {
            let whole = of(&parts.concat());
            let mut merged = Dwells::default();
            for part in &parts {
                merged.merge(&of(part));
            }
            prop_assert_eq!(merged.count(), whole.count());
            prop_assert_eq!(merged.sum_ns(), whole.sum_ns());
            prop_assert_eq!(merged.max_ns(), whole.max_ns());
            prop_assert_eq!(merged.bars(), whole.bars());
            for part in [0.0, 0.5, 0.9, 0.99, 0.999, 1.0] {
                prop_assert_eq!(merged.quantile(part), whole.quantile(part));
            }
        }
    }
}
