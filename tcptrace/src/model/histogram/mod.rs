//! Where connections spend their time: counts and stays by port, process, peer.

pub mod dwells;
mod entries;
pub mod entry;
pub mod key;
pub mod open;

pub use self::{
    dwells::Dwells,
    entry::{Arrow, Bounds, Ending, Entry},
    key::{By, Key},
    open::{Open, OpenStays},
};
use super::{Connection, Observation, Owner, TcpState};
use entries::Entries;

/// How many more keys are kept than are shown: one that becomes busy late is not lost among the rest.
const SPARE: usize = 4;

/// Stays and transitions by key. Holds a bounded number of keys; the least busy of them are summed up.
#[derive(Clone, Debug)]
pub struct Histograms {
    by: By,
    most: usize,
    entries: Entries,
    other: Entry,
    /// Keys that were summed up with others, how often.
    summed_up: u64,
}

impl Histograms {
    /// Counts by `by`. At most `shown` keys will be asked for.
    pub fn new(by: By, shown: usize) -> Self {
        Self {
            by,
            most: shown.max(1).saturating_mul(SPARE),
            entries: Entries::default(),
            other: Entry::default(),
            summed_up: 0,
        }
    }

    /// By what it counts.
    pub const fn by(&self) -> By {
        self.by
    }

    /// The key of a connection.
    pub fn key(&self, connection: &Connection, owner: Option<&Owner>) -> Key {
        self.by.key(connection, owner)
    }

    /// One more transition. Returns its key when that is new.
    pub fn add(&mut self, observed: &Observation) -> Option<Key> {
        let key = self.by.key(&observed.connection, observed.owner.as_ref());
        let is_partial = self.summed_up > 0;
        let (entry, is_new) = self.entries.of(key, || Entry::new(is_partial));
        entry.add(observed);
        if !is_new {
            return None;
        }
        self.make_room();
        Some(key)
    }

    /// What another has counted, too.
    pub fn merge(&mut self, other: &Self) {
        for (key, theirs) in other.entries.iter() {
            let is_partial = self.summed_up > 0;
            self.entries.of(key, || Entry::new(is_partial)).0.merge(theirs);
        }
        self.other.merge(&other.other);
        self.summed_up += other.summed_up;
        self.make_room();
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.other = Entry::default();
        self.summed_up = 0;
    }

    /// The busiest keys, at most so many, and all others together, where there are any.
    pub fn top(&self, shown: usize) -> (Vec<(Key, &Entry)>, Option<Others>) {
        let mut keys: Vec<(Key, &Entry)> = self.entries.iter().collect();
        // Ties in the order of their names, so that the same is always shown the same.
        keys.sort_by_cached_key(|(key, entry)| (std::cmp::Reverse(entry.transitions), format!("{key:?}")));
        let rest = keys.split_off(shown.min(keys.len()));
        let mut others = Others { keys: self.summed_up + rest.len() as u64, entry: self.other.clone() };
        for (_, entry) in &rest {
            others.entry.merge(entry);
        }
        (keys, (others.keys > 0).then_some(others))
    }

    /// The busiest keys, at most so many.
    pub fn top_keys(&self, shown: usize) -> Vec<Key> {
        self.top(shown).0.into_iter().map(|(key, _)| key).collect()
    }

    /// Whether a key is counted by itself.
    pub fn contains(&self, key: Key) -> bool {
        self.entries.contains(key)
    }

    /// Completed stays of a key in a state; `None` where the key is not counted by itself.
    pub fn completed(&self, key: Key, state: TcpState) -> Option<Dwells> {
        self.entries.get(key).map(|entry| entry.stays(state).0)
    }

    /// What is counted for a key; `None` where it is not counted by itself.
    pub fn entry(&self, key: Key) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// All that are counted by themselves, in no order.
    pub fn entries(&self) -> impl Iterator<Item = (Key, &Entry)> {
        self.entries.iter()
    }

    /// All keys together.
    pub fn all(&self) -> Entry {
        let mut all = self.other.clone();
        for (_, entry) in self.entries.iter() {
            all.merge(entry);
        }
        all
    }

    /// Sums up the less busy half when there are too many.
    fn make_room(&mut self) {
        if self.entries.len() <= self.most {
            return;
        }
        let mut counts: Vec<u64> = self.entries.iter().map(|(_, entry)| entry.transitions).collect();
        counts.sort_unstable();
        let median = counts[counts.len() / 2];
        let mut to_go = counts.len() / 2;
        let (other, summed_up) = (&mut self.other, &mut self.summed_up);
        self.entries.retain(|entry| {
            let stays = to_go == 0 || entry.transitions > median;
            if !stays {
                to_go -= 1;
                other.merge(entry);
                *summed_up += 1;
            }
            stays
        });
    }
}

/// The keys that are not shown, together.
#[derive(Clone, Debug)]
pub struct Others {
    /// How many. One that came again after it was summed up is counted again.
    pub keys: u64,
    /// What was counted for them.
    pub entry: Entry,
}

#[cfg(test)]
mod tests;
