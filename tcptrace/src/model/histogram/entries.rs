//! Entries by key.

use std::collections::hash_map::Entry as Slot;

use rustc_hash::FxHashMap;

use super::{Entry, Key};

/// Entries by key, found at once where the key is that of the last one: on a busy host most transitions come in rows of one
/// service's.
#[derive(Clone, Debug, Default)]
pub(super) struct Entries {
    list: Vec<(Key, Entry)>,
    places: FxHashMap<Key, usize>,
    last: usize,
}

impl Entries {
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn contains(&self, key: Key) -> bool {
        self.places.contains_key(&key)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Key, &Entry)> {
        self.list.iter().map(|(key, entry)| (*key, entry))
    }

    pub(super) fn get(&self, key: Key) -> Option<&Entry> {
        self.places.get(&key).map(|place| &self.list[*place].1)
    }

    /// That of a key, and whether it is new.
    pub(super) fn of(&mut self, key: Key, make: impl FnOnce() -> Entry) -> (&mut Entry, bool) {
        let mut is_new = false;
        if self.list.get(self.last).is_none_or(|(last, _)| *last != key) {
            self.last = match self.places.entry(key) {
                Slot::Occupied(place) => *place.get(),
                Slot::Vacant(slot) => {
                    is_new = true;
                    self.list.push((key, make()));
                    *slot.insert(self.list.len() - 1)
                }
            };
        }
        (&mut self.list[self.last].1, is_new)
    }

    pub(super) fn retain(&mut self, mut keep: impl FnMut(&Entry) -> bool) {
        self.list.retain(|(_, entry)| keep(entry));
        self.places = self.list.iter().enumerate().map(|(place, (key, _))| (*key, place)).collect();
        self.last = 0;
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}
