//! A map that knows the order in which its entries were put or moved to the back, and keeps them side by side in memory: what goes
//! through all of them goes from one to the next, not from one end of the memory to the other for each.

use std::hash::Hash;

use rustc_hash::FxHashMap;

/// The place of nothing.
const NOWHERE: u32 = u32::MAX;

#[derive(Clone, Debug)]
struct Slot<K, V> {
    /// `None` when it is free.
    entry: Option<(K, V)>,
    /// The place of the next older one.
    before: u32,
    /// The place of the next younger one; of a free slot, that of the next free one.
    after: u32,
}

/// The map. Its keys are hashed fast: they must not be a peer's choice.
#[derive(Clone, Debug)]
pub(super) struct Ordered<K, V> {
    slots: Vec<Slot<K, V>>,
    places: FxHashMap<K, u32>,
    oldest: u32,
    youngest: u32,
    free: u32,
}

impl<K, V> Default for Ordered<K, V> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            places: FxHashMap::default(),
            oldest: NOWHERE,
            youngest: NOWHERE,
            free: NOWHERE,
        }
    }
}

impl<K: Copy + Eq + Hash, V> Ordered<K, V> {
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn contains_key(&self, key: &K) -> bool {
        self.places.contains_key(key)
    }

    pub(super) fn get(&self, key: &K) -> Option<&V> {
        let place = *self.places.get(key)?;
        self.slots.get(index(place))?.entry.as_ref().map(|(_, value)| value)
    }

    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let place = *self.places.get(key)?;
        self.value_mut(place)
    }

    /// Moves an entry to the back.
    pub(super) fn renew(&mut self, key: &K) -> Option<&mut V> {
        let place = *self.places.get(key)?;
        if place != self.youngest {
            self.unlink(place);
            self.link_last(place);
        }
        self.value_mut(place)
    }

    /// Puts an entry at the back, in the place of another of this key.
    pub(super) fn insert(&mut self, key: K, value: V) {
        if let Some(known) = self.renew(&key) {
            *known = value;
            return;
        }
        let place = self.free;
        let entry = Some((key, value));
        let place = if let Some(slot) = self.slots.get_mut(index(place)) {
            self.free = slot.after;
            slot.entry = entry;
            place
        } else {
            // There is no memory for as many as there are places.
            let place = u32::try_from(self.slots.len()).unwrap_or(NOWHERE);
            self.slots.push(Slot { entry, before: NOWHERE, after: NOWHERE });
            place
        };
        self.places.insert(key, place);
        self.link_last(place);
    }

    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        let place = self.places.remove(key)?;
        self.unlink(place);
        let slot = self.slots.get_mut(index(place))?;
        slot.after = self.free;
        self.free = place;
        slot.entry.take().map(|(_, value)| value)
    }

    /// Takes the oldest entry out.
    pub(super) fn pop_front(&mut self) -> Option<(K, V)> {
        let key = self.slots.get(index(self.oldest))?.entry.as_ref().map(|(key, _)| *key)?;
        self.remove(&key).map(|value| (key, value))
    }

    /// All entries, as they are in memory.
    pub(super) fn iter(&self) -> Iter<'_, K, V> {
        Iter { slots: self.slots.iter(), left: self.len() }
    }

    /// Entries in so many places from `start` on, and where to go on, if there are more. What stays in the map from one part to
    /// the next is in one of them.
    pub(super) fn part(
        &self,
        start: usize,
        places: usize,
    ) -> (impl Iterator<Item = (&K, &V)>, Option<usize>) {
        let end = start.saturating_add(places).min(self.slots.len());
        let slots = self.slots.get(start..end).unwrap_or_default();
        let entries = slots.iter().filter_map(|slot| slot.entry.as_ref().map(|(key, value)| (key, value)));
        (entries, (end < self.slots.len()).then_some(end))
    }

    /// All values, as they are in memory.
    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    /// The same, to be changed.
    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.slots.iter_mut().filter_map(|slot| slot.entry.as_mut().map(|(_, value)| value))
    }

    fn value_mut(&mut self, place: u32) -> Option<&mut V> {
        self.slots.get_mut(index(place))?.entry.as_mut().map(|(_, value)| value)
    }

    fn link_last(&mut self, place: u32) {
        let before = std::mem::replace(&mut self.youngest, place);
        if let Some(slot) = self.slots.get_mut(index(place)) {
            (slot.before, slot.after) = (before, NOWHERE);
        }
        match self.slots.get_mut(index(before)) {
            Some(slot) => slot.after = place,
            None => self.oldest = place,
        }
    }

    fn unlink(&mut self, place: u32) {
        let Some(&Slot { before, after, .. }) = self.slots.get(index(place)) else { return };
        match self.slots.get_mut(index(before)) {
            Some(slot) => slot.after = after,
            None => self.oldest = after,
        }
        match self.slots.get_mut(index(after)) {
            Some(slot) => slot.before = before,
            None => self.youngest = before,
        }
    }
}

/// Goes through all entries.
#[derive(Clone, Debug)]
pub(super) struct Iter<'a, K, V> {
    slots: std::slice::Iter<'a, Slot<K, V>>,
    left: usize,
}

impl<'a, K, V> Iterator for Iter<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        let (key, value) = self.slots.find_map(|slot| slot.entry.as_ref())?;
        self.left = self.left.saturating_sub(1);
        Some((key, value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<K, V> ExactSizeIterator for Iter<'_, K, V> {}

fn index(place: u32) -> usize {
    usize::try_from(place).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use hashlink::LinkedHashMap;
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Insert(u8, u32),
        Remove(u8),
        ToBack(u8),
        PopFront,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..20_u8, any::<u32>()).prop_map(|(key, value)| Step::Insert(key, value)),
            2 => (0..20_u8).prop_map(Step::Remove),
            2 => (0..20_u8).prop_map(Step::ToBack),
            1 => Just(Step::PopFront),
        ]
    }

    proptest! {
        #[test]
        fn it_is_a_map_with_an_order(steps in prop::collection::vec(step(), 0..300)) {
            let mut ordered: Ordered<u8, u32> = Ordered::default();
            let mut known: LinkedHashMap<u8, u32> = LinkedHashMap::new();
            let mut most = 0;
            for step in steps {
                match step {
                    Step::Insert(key, value) => {
                        ordered.insert(key, value);
                        known.insert(key, value);
                    }
                    Step::Remove(key) => prop_assert_eq!(ordered.remove(&key), known.remove(&key)),
                    Step::ToBack(key) => {
                        prop_assert_eq!(ordered.renew(&key).copied(), known.to_back(&key).copied());
                    }
                    Step::PopFront => prop_assert_eq!(ordered.pop_front(), known.pop_front()),
                }
                most = most.max(known.len());
                prop_assert_eq!((ordered.len(), ordered.iter().len()), (known.len(), known.len()));
                let mut all: Vec<_> = ordered.iter().map(|(key, value)| (*key, *value)).collect();
                all.sort_unstable();
                let mut wanted: Vec<_> = known.iter().map(|(key, value)| (*key, *value)).collect();
                wanted.sort_unstable();
                prop_assert_eq!(all, wanted.clone());
                let mut parts = Vec::new();
                let mut start = Some(0);
                while let Some(from) = start {
                    let (part, next) = ordered.part(from, 3);
                    parts.extend(part.map(|(key, value)| (*key, *value)));
                    start = next;
                }
                parts.sort_unstable();
                prop_assert_eq!(parts, wanted);
                for key in 0..20 {
                    prop_assert_eq!(ordered.get(&key), known.get(&key));
                    prop_assert_eq!(ordered.get_mut(&key).copied(), known.get(&key).copied());
                    prop_assert_eq!(ordered.contains_key(&key), known.contains_key(&key));
                }
            }
            prop_assert!(ordered.slots.len() <= most, "free slots are used again");
            prop_assert_eq!(ordered.values_mut().count(), known.len());
            while let Some(first) = known.pop_front() {
                prop_assert_eq!(ordered.pop_front(), Some(first));
            }
            prop_assert_eq!(ordered.pop_front(), None);
        }
    }
}
