//! Collections that are cheap to clone and cheap to change afterwards: a reader keeps the whole
//! registry while the next entry is applied.
//!
//! Both hold their items in chunks behind [`Arc`]. A change copies the list of chunks and the one
//! chunk that it touches. How items are spread over chunks shows nowhere: order, equality and
//! encoding are those of the flat sequence, so a state read from a snapshot is the state that wrote
//! it.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Items of a chunk when it is split, or begun.
const CHUNK: usize = 128;

/// Items in runs, each of which two states may share.
type Chunks<T> = Arc<Vec<Arc<Vec<T>>>>;

/// A sorted map.
pub struct Map<K, V> {
    chunks: Chunks<(K, V)>,
    len: usize,
}

impl<K, V> Clone for Map<K, V> {
    fn clone(&self) -> Self {
        Self { chunks: Arc::clone(&self.chunks), len: self.len }
    }
}

impl<K, V> Default for Map<K, V> {
    fn default() -> Self {
        Self { chunks: Arc::default(), len: 0 }
    }
}

impl<K: Ord + Clone, V: Clone> Map<K, V> {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The chunk where `key` is or would be.
    fn chunk_of(&self, key: &K) -> usize {
        self.chunks
            .partition_point(|chunk| chunk.first().is_some_and(|(first, _)| first <= key))
            .saturating_sub(1)
    }

    /// The value of `key`.
    #[must_use]
    pub fn get(&self, key: &K) -> Option<&V> {
        let chunk = self.chunks.get(self.chunk_of(key))?;
        let at = chunk.binary_search_by(|(held, _)| held.cmp(key)).ok()?;
        chunk.get(at).map(|(_, value)| value)
    }

    /// Puts `value` at `key` and returns what was there.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let i = self.chunk_of(&key);
        let chunks = Arc::make_mut(&mut self.chunks);
        let Some(chunk) = chunks.get_mut(i) else {
            chunks.push(Arc::new(vec![(key, value)]));
            self.len += 1;
            return None;
        };
        let items = Arc::make_mut(chunk);
        match items.binary_search_by(|(held, _)| held.cmp(&key)) {
            Ok(at) => return items.get_mut(at).map(|(_, held)| std::mem::replace(held, value)),
            Err(at) => items.insert(at, (key, value)),
        }
        self.len += 1;
        if items.len() > 2 * CHUNK {
            let upper = items.split_off(CHUNK);
            chunks.insert(i + 1, Arc::new(upper));
        }
        None
    }

    /// Takes `key` out.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let i = self.chunk_of(key);
        let at = self.chunks.get(i)?.binary_search_by(|(held, _)| held.cmp(key)).ok()?;
        let chunks = Arc::make_mut(&mut self.chunks);
        let items = Arc::make_mut(chunks.get_mut(i)?);
        let (_, value) = items.remove(at);
        if items.is_empty() {
            chunks.remove(i);
        }
        self.len -= 1;
        Some(value)
    }

    /// Keeps those for which `keep` says so. Nothing is copied where all stay.
    pub fn retain(&mut self, mut keep: impl FnMut(&K, &V) -> bool) {
        if self.iter().all(|(key, value)| keep(key, value)) {
            return;
        }
        let kept: Vec<_> = self
            .iter()
            .filter(|(key, value)| keep(key, value))
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect();
        self.len = kept.len();
        self.chunks = Arc::new(kept.chunks(CHUNK).map(|items| Arc::new(items.to_vec())).collect());
    }

    /// All, sorted by key.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.chunks.iter().flat_map(|chunk| chunk.iter()).map(|(key, value)| (key, value))
    }

    /// What is new or has another value since `old`, sorted by key. Chunks that both share are
    /// skipped unread.
    pub fn changed_since<'a>(&'a self, old: &'a Self) -> impl Iterator<Item = (&'a K, &'a V)>
    where
        V: PartialEq,
    {
        let mut shared = old.chunks.iter().map(Arc::as_ptr).collect::<Vec<_>>();
        shared.sort_unstable();
        self.chunks
            .iter()
            .filter(move |chunk| shared.binary_search(&Arc::as_ptr(chunk)).is_err())
            .flat_map(|chunk| chunk.iter())
            .filter(|(key, value)| old.get(key) != Some(value))
            .map(|(key, value)| (key, value))
    }
}

impl<K: PartialEq, V: PartialEq> PartialEq for Map<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len
            && (Arc::ptr_eq(&self.chunks, &other.chunks)
                || self.chunks.iter().flat_map(|c| c.iter()).eq(other.chunks.iter().flat_map(|c| c.iter())))
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for Map<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.chunks.iter().flat_map(|chunk| chunk.iter()).map(|(k, v)| (k, v))).finish()
    }
}

impl<K: Serialize, V: Serialize> Serialize for Map<K, V> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.chunks.iter().flat_map(|chunk| chunk.iter()).map(|(key, value)| (key, value)))
    }
}

impl<'de, K, V> Deserialize<'de> for Map<K, V>
where
    K: Deserialize<'de> + Ord + Clone,
    V: Deserialize<'de> + Clone,
{
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Reader<K, V>(PhantomData<(K, V)>);
        impl<'de, K, V> Visitor<'de> for Reader<K, V>
        where
            K: Deserialize<'de> + Ord + Clone,
            V: Deserialize<'de> + Clone,
        {
            type Value = Map<K, V>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let mut map = Map::default();
                while let Some((key, value)) = items.next_entry()? {
                    map.insert(key, value);
                }
                Ok(map)
            }
        }
        from.deserialize_map(Reader(PhantomData))
    }
}

/// The last `n` of a sequence, `n` being said at each push.
pub struct Ring<T> {
    chunks: Chunks<T>,
    /// How many of the first chunk have been dropped.
    skip: usize,
    len: usize,
}

impl<T> Clone for Ring<T> {
    fn clone(&self) -> Self {
        Self { chunks: Arc::clone(&self.chunks), skip: self.skip, len: self.len }
    }
}

impl<T> Default for Ring<T> {
    fn default() -> Self {
        Self { chunks: Arc::default(), skip: 0, len: 0 }
    }
}

impl<T: Clone> Ring<T> {
    /// How many are held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends, and drops the oldest beyond `max`.
    pub fn push(&mut self, item: T, max: usize) {
        let chunks = Arc::make_mut(&mut self.chunks);
        match chunks.last_mut() {
            Some(last) if last.len() < CHUNK => Arc::make_mut(last).push(item),
            _ => chunks.push(Arc::new(vec![item])),
        }
        self.len += 1;
        while self.len > max {
            self.len -= 1;
            self.skip += 1;
            if chunks.first().is_some_and(|first| first.len() == self.skip) {
                chunks.remove(0);
                self.skip = 0;
            }
        }
    }
}

impl<T> Ring<T> {
    /// All, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        let skip = |i: usize| if i == 0 { self.skip } else { 0 };
        self.chunks.iter().enumerate().flat_map(move |(i, chunk)| chunk.iter().skip(skip(i)))
    }
}

impl<T: PartialEq> PartialEq for Ring<T> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().eq(other.iter())
    }
}

impl<T: fmt::Debug> fmt::Debug for Ring<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<T: Serialize> Serialize for Ring<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeSeq;
        let mut list = to.serialize_seq(Some(self.len))?;
        for item in self.iter() {
            list.serialize_element(item)?;
        }
        list.end()
    }
}

impl<'de, T: Deserialize<'de> + Clone> Deserialize<'de> for Ring<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Reader<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de> + Clone> Visitor<'de> for Reader<T> {
            type Value = Ring<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let mut ring = Ring::default();
                while let Some(item) = items.next_element()? {
                    ring.push(item, usize::MAX);
                }
                Ok(ring)
            }
        }
        from.deserialize_seq(Reader(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_map_is_a_btree_map(ops in prop::collection::vec((0u16..900, any::<Option<u8>>()), 0..2_000)) {
            let (mut ours, mut model) = (Map::default(), BTreeMap::new());
            for (key, value) in ops {
                match value {
                    Some(value) => prop_assert_eq!(ours.insert(key, value), model.insert(key, value)),
                    None => prop_assert_eq!(ours.remove(&key), model.remove(&key)),
                }
                prop_assert_eq!(ours.len(), model.len());
            }
            prop_assert!(ours.iter().eq(model.iter()));
            prop_assert!((0..900).all(|key| ours.get(&key) == model.get(&key)));
            ours.retain(|key, _| key % 3 == 0);
            model.retain(|key, _| key % 3 == 0);
            prop_assert!(ours.iter().eq(model.iter()));
            prop_assert_eq!(ours.len(), model.len());
            let read: Map<u16, u8> = crate::wire::decode(&crate::wire::encode(&ours).unwrap(), 1 << 20).unwrap();
            prop_assert_eq!(read, ours);
        }

        #[test]
        fn what_changed_is_what_differs(
            before in prop::collection::btree_map(0u16..600, any::<u8>(), 0..500),
            after in prop::collection::vec((0u16..600, any::<u8>()), 0..40),
        ) {
            let mut old = Map::default();
            for (key, value) in &before {
                old.insert(*key, *value);
            }
            let (mut new, mut model) = (old.clone(), before.clone());
            for (key, value) in after {
                new.insert(key, value);
                model.insert(key, value);
            }
            let expected = model.iter().filter(|(key, value)| before.get(key) != Some(value));
            prop_assert!(new.changed_since(&old).eq(expected));
            prop_assert!(old.iter().eq(before.iter()), "the old one stays as it was");
        }

        #[test]
        fn a_ring_keeps_the_last(pushes in 0usize..1_000, max in 1usize..400, cut in 0usize..1_000) {
            let mut ring = Ring::default();
            for n in 0..pushes {
                if n == cut {
                    // Chunks begin elsewhere after a snapshot; nothing else may differ.
                    ring = crate::wire::decode(&crate::wire::encode(&ring).unwrap(), 1 << 20).unwrap();
                }
                ring.push(n, max);
            }
            prop_assert!(ring.iter().copied().eq(pushes.saturating_sub(max)..pushes));
            prop_assert_eq!(ring.len(), pushes.min(max));
        }
    }
}
