//! What was found out, as long as there is room for it.

use std::hash::Hash;

use hashlink::LinkedHashMap;
use rustc_hash::FxBuildHasher;

/// A map that holds at most so many entries and bytes; what was not used for longest goes first.
#[derive(Debug)]
pub(super) struct Cache<K, V> {
    map: LinkedHashMap<K, (V, usize), FxBuildHasher>,
    bytes: usize,
    max_entries: usize,
    max_bytes: usize,
}

impl<K: Eq + Hash, V> Cache<K, V> {
    pub(super) fn new(max_entries: usize, max_bytes: usize) -> Self {
        Self { map: LinkedHashMap::with_hasher(FxBuildHasher), bytes: 0, max_entries, max_bytes }
    }

    pub(super) fn get(&mut self, key: &K) -> Option<&V> {
        self.map.to_back(key).map(|(value, _)| &*value)
    }

    /// What takes more than all the room there is is not kept.
    pub(super) fn insert(&mut self, key: K, value: V, bytes: usize) {
        if let Some((_, old)) = self.map.remove(&key) {
            self.bytes -= old;
        }
        if bytes > self.max_bytes {
            return;
        }
        self.bytes += bytes;
        self.map.insert(key, (value, bytes));
        while self.map.len() > self.max_entries || self.bytes > self.max_bytes {
            let Some((_, (_, old))) = self.map.pop_front() else { break };
            self.bytes -= old;
        }
    }

    /// What was used last comes first.
    pub(super) fn recent(&self) -> impl Iterator<Item = (&K, &V)> {
        self.map.iter().rev().map(|(key, (value, _))| (key, value))
    }

    pub(super) fn clear(&mut self) {
        self.map.clear();
        self.bytes = 0;
    }

    /// Entries and bytes.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.map.len(), self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_least_recently_used_goes() {
        let mut cache = Cache::new(2, 100);
        cache.insert(1, 'a', 1);
        cache.insert(2, 'b', 1);
        assert_eq!(cache.get(&1), Some(&'a'));
        cache.insert(3, 'c', 1);
        assert_eq!([1, 2, 3].map(|key| cache.get(&key).copied()), [Some('a'), None, Some('c')]);
        cache.insert(3, 'd', 101);
        assert_eq!(cache.get(&3), None, "too large, and the old value is not true any more");
        assert_eq!(cache.size(), (1, 1));
    }

    proptest! {
        #[test]
        fn it_stays_within_its_bounds(inserts in proptest::collection::vec((0..20_u8, 0..60_usize), 0..200)) {
            let mut cache = Cache::new(8, 100);
            for (key, bytes) in inserts {
                cache.insert(key, (), bytes);
                let (entries, total) = cache.size();
                prop_assert!(entries <= 8 && total <= 100);
                prop_assert_eq!(total, cache.map.values().map(|((), bytes)| bytes).sum::<usize>());
            }
        }
    }
}
