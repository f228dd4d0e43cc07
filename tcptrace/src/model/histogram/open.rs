//! Stays that are not over.

use rustc_hash::FxHashMap;

use super::{By, Key};
use crate::model::{Connection, KtimeNs, Owner, TcpState};

/// Connections that are in one state now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Open {
    /// How many.
    pub count: u64,
    /// The longest time that any of them is known to have been in it.
    pub oldest_ns: Option<u64>,
    /// It has been in it for longer than that, but since when was not seen.
    pub is_at_least: bool,
}

impl Open {
    fn add(&mut self, age: Option<u64>, is_at_least: bool) {
        self.count += 1;
        if age > self.oldest_ns {
            (self.oldest_ns, self.is_at_least) = (age, is_at_least);
        }
    }

    fn merge(&mut self, other: Self) {
        self.count += other.count;
        if other.oldest_ns > self.oldest_ns {
            (self.oldest_ns, self.is_at_least) = (other.oldest_ns, other.is_at_least);
        }
    }
}

/// For each state, in the order of [`TcpState::ALL`].
type States = [Open; TcpState::ALL.len()];

/// The states of all connections by key. Holds a bounded number of keys, and sums up the others.
#[derive(Clone, Debug)]
pub struct OpenStays {
    by: By,
    most: usize,
    by_key: FxHashMap<Key, States>,
    others: States,
}

impl OpenStays {
    /// Those of these keys, and of as many others as there is room for: `most` in all.
    pub fn of_keys(by: By, keys: impl IntoIterator<Item = Key>, most: usize) -> Self {
        let by_key = keys.into_iter().map(|key| (key, States::default())).collect();
        Self { by, most, by_key, others: States::default() }
    }

    /// One more connection, as it is at `now`. Returns its key, if it is not one of the others.
    pub fn add(&mut self, connection: &Connection, owner: Option<&Owner>, now: KtimeNs) -> Option<Key> {
        let key = self.by.key(connection, owner);
        let is_counted = self.by_key.len() < self.most || self.by_key.contains_key(&key);
        let states = if is_counted { self.by_key.entry(key).or_default() } else { &mut self.others };
        let (age, is_at_least) = connection.age(now);
        states[index(connection.state)].add(age, is_at_least);
        is_counted.then_some(key)
    }

    /// Those of a key in a state.
    pub fn of(&self, key: Key, state: TcpState) -> Open {
        self.by_key.get(&key).map_or_else(Open::default, |states| states[index(state)])
    }

    /// Those of all keys but these.
    pub fn of_others(&self, shown: &[Key], state: TcpState) -> Open {
        let mut all = self.others[index(state)];
        for (_, states) in self.by_key.iter().filter(|(key, _)| !shown.contains(key)) {
            all.merge(states[index(state)]);
        }
        all
    }

    /// The keys that it knows, those with the most connections first.
    pub fn keys(&self) -> Vec<Key> {
        let mut keys: Vec<Key> = self.by_key.keys().copied().collect();
        keys.sort_by_cached_key(|key| {
            let count: u64 = self.by_key[key].iter().map(|open| open.count).sum();
            (std::cmp::Reverse(count), format!("{key:?}"))
        });
        keys
    }
}

fn index(state: TcpState) -> usize {
    usize::from(state.raw() - 1)
}
