//! Values in order of use and of age, so many and so long.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

/// What a value is kept by: a SHA-256 of everything that must agree, so that two never meet by chance or by design.
pub(super) type Id = [u8; 32];

/// What is put out is dropped at once, and a data key that is dropped is wiped.
pub(super) struct Shelf<V> {
    entries: HashMap<Id, Entry<V>>,
    by_use: BTreeMap<u64, Id>,
    by_age: BTreeMap<(Instant, u64), Id>,
    /// Counts uses, so that each has a place of its own in the orders.
    uses: u64,
    max_age: Duration,
    max_count: usize,
}

struct Entry<V> {
    value: V,
    last_use: u64,
    born: (Instant, u64),
}

impl<V> Shelf<V> {
    pub(super) fn new(max_age: Duration, max_count: usize) -> Self {
        let (entries, by_use, by_age) = (HashMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { entries, by_use, by_age, uses: 0, max_age, max_count }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Puts out what is too old; how many.
    pub(super) fn sweep(&mut self, now: Instant) -> usize {
        let mut count = 0;
        while let Some((&(born, _), &id)) = self.by_age.first_key_value() {
            if now.saturating_duration_since(born) < self.max_age {
                break;
            }
            self.remove(&id);
            count += 1;
        }
        count
    }

    /// The value, which is thereby used.
    pub(super) fn get_mut(&mut self, id: &Id) -> Option<&mut V> {
        let entry = self.entries.get_mut(id)?;
        self.uses += 1;
        self.by_use.remove(&entry.last_use);
        self.by_use.insert(self.uses, *id);
        entry.last_use = self.uses;
        Some(&mut entry.value)
    }

    /// Puts a value in, and out those that were not used for longest where there are too many; how many.
    pub(super) fn insert(&mut self, id: Id, value: V, born: Instant) -> usize {
        self.remove(&id);
        self.uses += 1;
        let born = (born, self.uses);
        self.by_use.insert(self.uses, id);
        self.by_age.insert(born, id);
        self.entries.insert(id, Entry { value, last_use: self.uses, born });
        let mut count = 0;
        while self.entries.len() > self.max_count {
            let Some((_, id)) = self.by_use.pop_first() else { break };
            self.remove(&id);
            count += 1;
        }
        count
    }

    pub(super) fn remove(&mut self, id: &Id) {
        if let Some(entry) = self.entries.remove(id) {
            self.by_use.remove(&entry.last_use);
            self.by_age.remove(&entry.born);
        }
    }

    /// Puts out everything; how many that was.
    pub(super) fn clear(&mut self) -> usize {
        let count = self.entries.len();
        self.entries.clear();
        self.by_use.clear();
        self.by_age.clear();
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::rc::Rc;

    const AGE: Duration = Duration::from_secs(10);

    fn id(n: u8) -> Id {
        [n; 32]
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first_and_is_dropped_then() {
        let mut shelf = Shelf::new(AGE, 2);
        let now = Instant::now();
        let values: Vec<_> = (0..3).map(Rc::new).collect();
        assert_eq!(shelf.insert(id(0), Rc::clone(&values[0]), now), 0);
        assert_eq!(shelf.insert(id(1), Rc::clone(&values[1]), now), 0);
        shelf.get_mut(&id(0)).unwrap();
        assert_eq!(shelf.insert(id(2), Rc::clone(&values[2]), now), 1);
        assert!(shelf.get_mut(&id(1)).is_none());
        assert_eq!(values.iter().map(Rc::strong_count).collect::<Vec<_>>(), [2, 1, 2]);
        assert_eq!(shelf.clear(), 2);
        assert_eq!(values.iter().map(Rc::strong_count).collect::<Vec<_>>(), [1, 1, 1]);
    }

    #[test]
    fn age_counts_from_birth_whatever_the_use_and_the_order_of_arrival() {
        let mut shelf = Shelf::new(AGE, 9);
        let now = Instant::now();
        let values: Vec<_> = (0..2).map(Rc::new).collect();
        shelf.insert(id(0), Rc::clone(&values[0]), now + Duration::from_secs(5));
        shelf.insert(id(1), Rc::clone(&values[1]), now);
        shelf.get_mut(&id(1)).unwrap();
        assert_eq!(shelf.sweep(now + AGE - Duration::from_nanos(1)), 0);
        assert_eq!(shelf.sweep(now + AGE), 1);
        assert_eq!(Rc::strong_count(&values[1]), 1, "dropped");
        assert!(shelf.get_mut(&id(1)).is_none() && shelf.get_mut(&id(0)).is_some());
        assert_eq!(shelf.sweep(now), 0, "a clock that goes back puts nothing out and breaks nothing");
    }

    proptest! {
        #[test]
        fn the_orders_agree_with_the_values(steps in prop::collection::vec((0u8..4, 0u8..6), 0..60)) {
            let mut shelf = Shelf::new(AGE, 3);
            let start = Instant::now();
            for (now, (step, n)) in steps.into_iter().enumerate() {
                let now = start + Duration::from_secs(now as u64);
                match step {
                    0 => { shelf.insert(id(n), n, now); }
                    1 => { shelf.get_mut(&id(n)); }
                    2 => shelf.remove(&id(n)),
                    _ => { shelf.sweep(now); }
                }
                prop_assert!(shelf.len() <= 3);
                prop_assert_eq!(shelf.by_use.len(), shelf.len());
                prop_assert_eq!(shelf.by_age.len(), shelf.len());
                for (id, entry) in &shelf.entries {
                    prop_assert_eq!(shelf.by_use.get(&entry.last_use), Some(id));
                    prop_assert_eq!(shelf.by_age.get(&entry.born), Some(id));
                }
            }
        }
    }
}
