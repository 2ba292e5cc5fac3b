//! A map as one list in the order of its keys.
//!
//! The engine has two dozen tables, each with a few entries as a rule and some thousands at the worst.
//! A `BTreeMap` of each kind costs 5 kB of machine code, a list a tenth of it, and looking up is as
//! fast. Keys are mostly numbers that only grow: a new entry goes to the end. Taking one out moves
//! those behind it, so a large value is best kept in a `Box`: 4,096 entries of 16 bytes move in two
//! microseconds.

/// Values by key, each key once, in the order of the keys.
#[derive(Debug)]
pub(crate) struct Table<K, V> {
    entries: Vec<(K, V)>,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K, V> Table<K, V> {
    /// No entry.
    pub(crate) const fn new() -> Self {
        let entries = Vec::new();
        Self { entries }
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// True where there is no entry.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All entries, in the order of the keys.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> + Clone {
        self.entries.iter().map(|(key, value)| (key, value))
    }

    /// All keys, in their order.
    pub(crate) fn keys(&self) -> impl DoubleEndedIterator<Item = &K> {
        self.entries.iter().map(|(key, _)| key)
    }

    /// All values, in the order of the keys.
    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.entries.iter().map(|(_, value)| value)
    }

    /// All entries, in the order of the keys, their values to change.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        self.entries.iter_mut().map(|(key, value)| (&*key, value))
    }

    /// All values, to change.
    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.entries.iter_mut().map(|(_, value)| value)
    }

    /// The entry with the least key.
    pub(crate) fn first(&self) -> Option<(&K, &V)> {
        self.iter().next()
    }
}

impl<K: Ord, V> Table<K, V> {
    /// The value at this key.
    pub(crate) fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: std::borrow::Borrow<Q>,
    {
        let at = self.find(key).ok()?;
        self.entries.get(at).map(|(_, value)| value)
    }

    /// The value at this key, to change.
    pub(crate) fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: std::borrow::Borrow<Q>,
    {
        let at = self.find(key).ok()?;
        self.entries.get_mut(at).map(|(_, value)| value)
    }

    /// True where there is an entry with this key.
    pub(crate) fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: std::borrow::Borrow<Q>,
    {
        self.find(key).is_ok()
    }

    /// Puts a value at this key and returns the one that it replaces.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.find(&key) {
            Ok(at) => {
                let (_, old) = self.entries.get_mut(at)?;
                Some(std::mem::replace(old, value))
            }
            Err(at) => {
                self.entries.insert(at, (key, value));
                None
            }
        }
    }

    /// Takes the entry with this key out.
    pub(crate) fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: std::borrow::Borrow<Q>,
    {
        let at = self.find(key).ok()?;
        let (_, value) = self.entries.remove(at);
        Some(value)
    }

    /// Where this key is, or where it would be.
    fn find<Q: Ord + ?Sized>(&self, key: &Q) -> Result<usize, usize>
    where
        K: std::borrow::Borrow<Q>,
    {
        self.entries
            .binary_search_by(|(there, _)| there.borrow().cmp(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn it_does_what_a_btreemap_does() {
        // A small generator of keys and steps, the same in every run.
        let mut seed = 1_u32;
        let mut next = move |below: u32| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) % below
        };
        let (mut table, mut map) = (Table::new(), BTreeMap::new());
        for step in 0..5_000_u32 {
            let key = next(64);
            match next(3) {
                0 => assert_eq!(table.remove(&key), map.remove(&key)),
                _ => assert_eq!(table.insert(key, step), map.insert(key, step)),
            }
            if let (Some(a), Some(b)) = (table.get_mut(&key), map.get_mut(&key)) {
                (*a, *b) = (*a + 1, *b + 1);
            }
            let key = next(64);
            assert_eq!(table.get(&key), map.get(&key));
            assert_eq!(table.contains_key(&key), map.contains_key(&key));
            assert!(table.iter().eq(map.iter()));
            assert!(table.keys().rev().eq(map.keys().rev()));
            assert!(table.values().eq(map.values()));
            assert!(table.values_mut().eq(map.values_mut()));
            assert_eq!(table.first(), map.first_key_value());
            assert_eq!((table.len(), table.is_empty()), (map.len(), map.is_empty()));
        }
    }
}
