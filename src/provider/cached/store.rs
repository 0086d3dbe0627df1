//! Values that are kept, and made once where many want one that is not there.

use super::count::{Counts, Reason};
use super::shelf::{Id, Shelf};
use crate::error::Result;
use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

/// Tells the time. It never goes back.
pub(super) type Clock<'a> = dyn Fn() -> Instant + Send + Sync + 'a;

pub(super) struct Store<V> {
    state: Mutex<State<V>>,
    pub(super) counts: Counts,
}

struct State<V> {
    shelf: Shelf<V>,
    /// What is being made at this moment.
    flights: HashMap<Id, Arc<Flight>>,
}

/// What is taken of a value that is kept.
pub(super) enum Taken<T> {
    /// This; the value stays.
    Some(T),
    /// This, and nothing can be taken any more.
    Last(T),
    /// Nothing.
    Nothing,
}

impl<V> Store<V> {
    pub(super) fn new(counts: Counts, max_age: Duration, max_count: usize) -> Self {
        let state = State { shelf: Shelf::new(max_age, max_count), flights: HashMap::new() };
        Self { state: Mutex::new(state), counts }
    }

    /// What `take` takes of the value that is kept, else what `make` makes together with a value to keep.
    ///
    /// Of many who want the same, one makes it, and the others wait. Where it fails or panics, each of those who
    /// waited makes its own, all at once: an error is the answer to one call, and to make them one after the other
    /// would let the last wait for as many timeouts.
    pub(super) fn take_or_make<T>(
        &self,
        id: Id,
        clock: &Clock<'_>,
        take: impl Fn(&mut V) -> Taken<T>,
        make: impl FnOnce() -> Result<(T, V)>,
    ) -> Result<T> {
        loop {
            let now = clock();
            let flight = {
                let mut state = self.lock();
                self.counts.evicted(Reason::Age, state.shelf.sweep(now));
                match state.shelf.get_mut(&id).map(&take) {
                    Some(Taken::Some(taken)) => {
                        drop(state);
                        self.counts.hit();
                        return Ok(taken);
                    }
                    Some(Taken::Last(taken)) => {
                        state.shelf.remove(&id);
                        drop(state);
                        self.counts.hit();
                        self.counts.evicted(Reason::UsedUp, 1);
                        return Ok(taken);
                    }
                    Some(Taken::Nothing) => {
                        state.shelf.remove(&id);
                        self.counts.evicted(Reason::UsedUp, 1);
                    }
                    None => {}
                }
                match state.flights.get(&id) {
                    Some(flight) => Arc::clone(flight),
                    None => {
                        let flight = Arc::new(Flight::default());
                        state.flights.insert(id, Arc::clone(&flight));
                        drop(state);
                        self.counts.miss();
                        // From before the call: what the token allows may change while it answers.
                        let landing = Landing { store: self, id, flight, has_landed: false };
                        let (taken, value) = make()?;
                        landing.land(value, now);
                        return Ok(taken);
                    }
                }
            };
            if !flight.has_landed() {
                self.counts.miss();
                return make().map(|(taken, _)| taken);
            }
        }
    }

    /// What `take` takes of the value that is kept; nothing where there is none. Waits for nobody.
    #[cfg(feature = "object-store")]
    pub(super) fn take<T>(&self, id: Id, clock: &Clock<'_>, take: impl Fn(&mut V) -> Taken<T>) -> Option<T> {
        let mut state = self.lock();
        self.counts.evicted(Reason::Age, state.shelf.sweep(clock()));
        let (taken, is_used_up) = match take(state.shelf.get_mut(&id)?) {
            Taken::Some(taken) => (Some(taken), false),
            Taken::Last(taken) => (Some(taken), true),
            Taken::Nothing => (None, true),
        };
        if is_used_up {
            state.shelf.remove(&id);
            self.counts.evicted(Reason::UsedUp, 1);
        }
        drop(state);
        if taken.is_some() {
            self.counts.hit();
        }
        taken
    }

    /// Forgets everything. What is being made at this moment goes to whoever makes it and is not kept; those who
    /// wait for it ask again.
    pub(super) fn clear(&self) {
        let mut state = self.lock();
        state.flights.clear();
        self.counts.evicted(Reason::Cleared, state.shelf.clear());
    }

    /// Forgets what is too old, unless another is at it.
    pub(super) fn sweep(&self, clock: &Clock<'_>) {
        let mut state = match self.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        self.counts.evicted(Reason::Age, state.shelf.sweep(clock()));
    }

    pub(super) fn len(&self) -> usize {
        self.lock().shelf.len()
    }

    fn lock(&self) -> MutexGuard<'_, State<V>> {
        // Nothing panics under the lock but for want of memory.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One making, which others wait for.
#[derive(Default)]
struct Flight {
    /// Whether it went well, when it is over.
    landed: Mutex<Option<bool>>,
    over: Condvar,
}

impl Flight {
    fn end(&self, landed: bool) {
        *self.landed.lock().unwrap_or_else(PoisonError::into_inner) = Some(landed);
        self.over.notify_all();
    }

    /// Waits for the end.
    fn has_landed(&self) -> bool {
        let landed = self.landed.lock().unwrap_or_else(PoisonError::into_inner);
        let landed = self.over.wait_while(landed, |landed| landed.is_none()).unwrap_or_else(PoisonError::into_inner);
        *landed == Some(true)
    }
}

/// Ends a flight, also where making it failed or panicked.
struct Landing<'a, V> {
    store: &'a Store<V>,
    id: Id,
    flight: Arc<Flight>,
    has_landed: bool,
}

impl<V> Landing<'_, V> {
    fn land(mut self, value: V, born: Instant) {
        let mut state = self.store.lock();
        // What was cleared meanwhile may be why: a key that was disabled while its answer was on the way.
        if state.flights.get(&self.id).is_some_and(|flight| Arc::ptr_eq(flight, &self.flight)) {
            let evicted = state.shelf.insert(self.id, value, born);
            self.store.counts.evicted(Reason::Count, evicted);
        }
        drop(state);
        self.has_landed = true;
    }
}

impl<V> Drop for Landing<'_, V> {
    fn drop(&mut self) {
        let mut state = self.store.lock();
        if state.flights.get(&self.id).is_some_and(|flight| Arc::ptr_eq(flight, &self.flight)) {
            state.flights.remove(&self.id);
        }
        drop(state);
        self.flight.end(self.has_landed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, ErrorKind};
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Barrier;
    use std::thread;

    const ID: Id = [1; 32];
    const WAITERS: usize = 8;

    type Made = Result<(u32, u32)>;

    fn store() -> Store<u32> {
        Store::new(Counts::of("test"), Duration::from_secs(9), 2)
    }

    fn ask(store: &Store<u32>, make: impl FnOnce() -> Made) -> Result<u32> {
        store.take_or_make(ID, &Instant::now, |value| Taken::Some(*value), make)
    }

    /// Returns when so many wait for the flight: each of them holds it, as do the map and who makes it.
    fn until_waited_for(store: &Store<u32>) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while store.lock().flights.get(&ID).map(Arc::strong_count) != Some(WAITERS + 2) {
            assert!(Instant::now() < deadline, "nobody waits");
            thread::yield_now();
        }
    }

    /// One leads with `make`; the others wait for it, and then do `after`. What each of them got.
    fn with_waiters(
        store: &Store<u32>,
        make: impl FnOnce() -> Made + Send,
        after: impl Fn() -> Made + Sync,
    ) -> Vec<Result<u32>> {
        let begun = Barrier::new(WAITERS + 1);
        thread::scope(|scope| {
            let waiters: Vec<_> = (0..WAITERS)
                .map(|_| {
                    scope.spawn(|| {
                        begun.wait();
                        ask(store, &after)
                    })
                })
                .collect();
            let led = catch_unwind(AssertUnwindSafe(|| {
                ask(store, || {
                    begun.wait();
                    until_waited_for(store);
                    make()
                })
            }));
            drop(led);
            waiters.into_iter().map(|waiter| waiter.join().unwrap()).collect()
        })
    }

    #[test]
    fn those_who_wait_get_what_was_made() {
        let store = store();
        let got = with_waiters(&store, || Ok((1, 1)), || panic!("it was made already"));
        assert!(got.into_iter().all(|got| got.unwrap() == 1));
        assert_eq!(store.counts.read(), [WAITERS as u64, 1, 0]);
    }

    #[test]
    fn those_who_waited_for_a_failure_ask_all_at_once_each_for_itself() {
        let failure = || Error::new(ErrorKind::TokenUnavailable, "away");
        let leaders: [fn() -> Made; 2] =
            [|| Err(Error::new(ErrorKind::Timeout, "late")), || panic!("a panic that is part of the test")];
        for leader in leaders {
            let store = store();
            // One after the other would never pass it.
            let together = Barrier::new(WAITERS);
            let got = with_waiters(&store, leader, || {
                together.wait();
                Err(failure())
            });
            assert!(got.into_iter().all(|got| got.unwrap_err().kind() == ErrorKind::TokenUnavailable));
            assert_eq!(store.counts.read(), [0, WAITERS as u64 + 1, 0]);
            assert_eq!(store.len(), 0, "errors are not kept");
            assert_eq!(ask(&store, || Ok((2, 2))).unwrap(), 2, "and nothing is in the way");
        }
    }

    #[test]
    fn what_is_cleared_while_it_is_made_is_not_kept_and_not_shared() {
        let store = store();
        let clear = || {
            store.clear();
            Ok((1, 1))
        };
        let got = with_waiters(&store, clear, || Ok((2, 2)));
        assert!(got.into_iter().all(|got| got.unwrap() == 2), "the answer is from before");
        assert_eq!(ask(&store, || panic!("it is kept")).unwrap(), 2);
    }

    #[test]
    fn age_counts_from_before_the_call() {
        let store = store();
        let now = Mutex::new(Instant::now());
        let clock = || *now.lock().unwrap();
        let later = |seconds| *now.lock().unwrap() += Duration::from_secs(seconds);
        let made = || {
            later(8);
            Ok((1, 1))
        };
        let ask = |make: &dyn Fn() -> Made| store.take_or_make(ID, &clock, |value| Taken::Some(*value), make).unwrap();
        assert_eq!(ask(&made), 1);
        assert_eq!(ask(&|| Ok((2, 2))), 1);
        later(1);
        assert_eq!(ask(&|| Ok((3, 3))), 3);
    }
}
