//! An ordered map whose copies share what they have in common.
//!
//! ```text
//!   chunks  [ a..f | g..m | n..z ]      a copy:  [ a..f | g..m | n..z ]   each chunk shared,
//!   insert "h" into the copy:                    [ a..f | g.h.m | n..z ]  all but the one written to
//! ```
//!
//! A batch of entries is verified against a copy of the state, and readers hold old states: with a
//! `BTreeMap` of 100,000 users each append would copy all of them. Here a copy costs one reference
//! count per chunk, and a write to it one chunk.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// Entries of a chunk, at most: a copy of a map of `n` counts `n / 128` or so references, and a write
/// copies up to 256 entries. For the 100,000 users of a large cluster the two cost about the same.
const MOST: usize = 256;

/// See the module.
#[derive(Clone)]
pub struct Map<K, V> {
    /// No chunk is empty; the keys ascend within a chunk and from one to the next.
    chunks: Vec<Arc<Vec<(K, V)>>>,
    len: usize,
}

impl<K, V> Default for Map<K, V> {
    fn default() -> Self {
        Self {
            chunks: Vec::new(),
            len: 0,
        }
    }
}

impl<K, V> Map<K, V> {
    /// How many entries it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The entries, by key.
    #[must_use]
    pub fn iter(&self) -> Iter<'_, K, V> {
        Iter {
            chunks: self.chunks.iter(),
            front: [].iter(),
            left: self.len,
        }
    }

    /// The keys.
    #[must_use]
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &K> + Clone {
        self.iter().map(|(key, _)| key)
    }

    /// The values, by key.
    #[must_use]
    pub fn values(&self) -> impl ExactSizeIterator<Item = &V> + Clone {
        self.iter().map(|(_, value)| value)
    }

    /// The highest key.
    #[must_use]
    pub fn last_key(&self) -> Option<&K> {
        let (key, _) = self.chunks.last()?.last()?;
        Some(key)
    }

    /// The value of `key`.
    #[must_use]
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let chunk = self.chunks.get(self.chunk_of(key))?;
        let at = place(chunk, key).ok()?;
        chunk.get(at).map(|(_, value)| value)
    }

    /// Whether `key` is there.
    #[must_use]
    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.get(key).is_some()
    }

    /// The entries from `key` on.
    pub fn from<'a>(&'a self, key: &K) -> impl Iterator<Item = (&'a K, &'a V)> + use<'a, K, V>
    where
        K: Ord,
    {
        let at = self.chunk_of(key);
        let first = self.chunks.get(at).map_or(&[][..], |chunk| chunk);
        let within = place(first, key).unwrap_or_else(|place| place);
        let rest = self.chunks.get(at + 1..).unwrap_or_default();
        let rest = rest.iter().flat_map(|chunk| chunk.iter());
        let entries = first.get(within..).unwrap_or_default().iter().chain(rest);
        entries.map(|(key, value)| (key, value))
    }

    /// The chunk that has `key`, or would.
    fn chunk_of<Q: Ord + ?Sized>(&self, key: &Q) -> usize
    where
        K: Borrow<Q>,
    {
        let begins =
            |chunk: &Arc<Vec<(K, V)>>| chunk.first().is_some_and(|(k, _)| k.borrow() <= key);
        self.chunks.partition_point(begins).saturating_sub(1)
    }
}

fn place<K: Borrow<Q>, V, Q: Ord + ?Sized>(chunk: &[(K, V)], key: &Q) -> Result<usize, usize> {
    chunk.binary_search_by(|(k, _)| k.borrow().cmp(key))
}

impl<K: Ord + Clone, V: Clone> Map<K, V> {
    /// The value of `key`, to be changed.
    pub(crate) fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let at = self.chunk_of(key);
        let chunk = self.chunks.get_mut(at)?;
        let within = place(chunk, key).ok()?;
        Arc::make_mut(chunk).get_mut(within).map(|(_, value)| value)
    }

    /// Puts `value` at `key`, and gives what was there.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        let at = self.chunk_of(&key);
        let Some(chunk) = self.chunks.get_mut(at) else {
            self.chunks.push(Arc::new(vec![(key, value)]));
            self.len = 1;
            return None;
        };
        let found = place(chunk, &key);
        let chunk = Arc::make_mut(chunk);
        match found {
            Ok(within) => {
                let (_, old) = chunk.get_mut(within)?;
                return Some(std::mem::replace(old, value));
            }
            Err(within) => chunk.insert(within, (key, value)),
        }
        if chunk.len() > MOST {
            // What is only ever added to at the end fills its chunks; else they are cut in half.
            let rest = match found {
                Err(within) if within + 1 == chunk.len() => chunk.split_off(within),
                Ok(_) | Err(_) => chunk.split_off(MOST / 2),
            };
            self.chunks.insert(at + 1, Arc::new(rest));
        }
        self.len += 1;
        None
    }

    /// Takes `key` out, and gives what was there.
    pub(crate) fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let at = self.chunk_of(key);
        let chunk = self.chunks.get_mut(at)?;
        let within = place(chunk, key).ok()?;
        let chunk = Arc::make_mut(chunk);
        let (_, value) = chunk.remove(within);
        if chunk.is_empty() {
            self.chunks.remove(at);
        }
        self.len -= 1;
        Some(value)
    }

    /// Keeps the entries for which `keep` holds. A chunk that keeps all stays shared.
    pub(crate) fn retain(&mut self, keep: impl Fn(&K, &V) -> bool) {
        for chunk in &mut self.chunks {
            if !chunk.iter().all(|(key, value)| keep(key, value)) {
                Arc::make_mut(chunk).retain(|(key, value)| keep(key, value));
            }
        }
        self.chunks.retain(|chunk| !chunk.is_empty());
        self.len = self.chunks.iter().map(|chunk| chunk.len()).sum();
    }
}

/// The entries of a [`Map`], by key.
pub struct Iter<'a, K, V> {
    chunks: std::slice::Iter<'a, Arc<Vec<(K, V)>>>,
    front: std::slice::Iter<'a, (K, V)>,
    left: usize,
}

impl<K, V> Clone for Iter<'_, K, V> {
    fn clone(&self) -> Self {
        Self {
            chunks: self.chunks.clone(),
            front: self.front.clone(),
            left: self.left,
        }
    }
}

impl<'a, K, V> Iterator for Iter<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((key, value)) = self.front.next() {
                self.left -= 1;
                return Some((key, value));
            }
            self.front = self.chunks.next()?.iter();
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<K, V> ExactSizeIterator for Iter<'_, K, V> {}

impl<'a, K, V> IntoIterator for &'a Map<K, V> {
    type Item = (&'a K, &'a V);
    type IntoIter = Iter<'a, K, V>;

    fn into_iter(self) -> Iter<'a, K, V> {
        self.iter()
    }
}

impl<K: Eq, V: Eq> PartialEq for Map<K, V> {
    fn eq(&self, other: &Self) -> bool {
        let mut pairs = self.chunks.iter().zip(&other.chunks);
        let shared = self.chunks.len() == other.chunks.len()
            && pairs.all(|(one, other)| Arc::ptr_eq(one, other));
        shared || (self.len == other.len && self.iter().eq(other.iter()))
    }
}

impl<K: Eq, V: Eq> Eq for Map<K, V> {}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for Map<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn check(map: &Map<u16, u8>, model: &BTreeMap<u16, u8>) {
        assert!(map.iter().eq(model.iter()));
        assert_eq!((map.len(), map.iter().len()), (model.len(), model.len()));
        assert_eq!(map.last_key(), model.keys().next_back());
        assert!(
            map.chunks
                .iter()
                .all(|chunk| (1..=MOST).contains(&chunk.len()))
        );
        for key in (0..2000).step_by(37) {
            assert_eq!(map.get(&key), model.get(&key));
            assert!(map.from(&key).eq(model.range(key..)));
        }
    }

    proptest! {
        #[test]
        fn it_does_as_a_btree_map_does_and_copies_stay_as_they_were(
            steps in proptest::collection::vec((0..8_u8, 0..2000_u16, any::<u8>()), 0..3000),
        ) {
            let (mut map, mut model) = (Map::default(), BTreeMap::new());
            let mut copies = Vec::new();
            for (at, (kind, key, value)) in steps.into_iter().enumerate() {
                match kind {
                    0..=4 => assert_eq!(map.insert(key, value), model.insert(key, value)),
                    5 | 6 => assert_eq!(map.remove(&key), model.remove(&key)),
                    _ => {
                        if let Some(there) = map.get_mut(&key) {
                            *there = value;
                        }
                        model.entry(key).and_modify(|there| *there = value);
                    }
                }
                if at % 500 == 0 {
                    copies.push((map.clone(), model.clone()));
                }
            }
            copies.push((map.clone(), model.clone()));
            map.retain(|key, _| key % 3 != 0);
            model.retain(|key, _| key % 3 != 0);
            copies.push((map, model));
            for (map, model) in &copies {
                check(map, model);
            }
        }
    }

    #[test]
    fn a_copy_shares_all_but_what_is_written() {
        let mut map = Map::default();
        for key in 0..10_000_u32 {
            map.insert(key, ());
        }
        assert_eq!(map.chunks.len(), 10_000_usize.div_ceil(MOST));
        let mut copy = map.clone();
        copy.insert(5000, ());
        copy.remove(&7000);
        let shared = map.chunks.iter().zip(&copy.chunks);
        let shared = shared.filter(|(a, b)| Arc::ptr_eq(a, b)).count();
        assert_eq!(shared, map.chunks.len() - 2);
    }

    #[test]
    fn equality_does_not_ask_where_it_is_cut() {
        let (mut up, mut down) = (Map::default(), Map::default());
        for key in 0..1000 {
            up.insert(key, ());
            down.insert(999 - key, ());
        }
        assert!(up == down);
        down.remove(&3);
        assert!(up != down);
    }
}
