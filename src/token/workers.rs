//! Calls with a deadline. A C call that hangs cannot be cancelled, so it runs on a thread that can be
//! left behind, with everything that it reads and writes. Without a deadline it runs where it is made.

use super::gate::{Access, Gate, Pass};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

type Job = Box<dyn FnOnce() + Send>;

/// Why a call has no answer.
#[derive(Debug)]
pub(super) enum NoAnswer {
    /// None within the deadline. The call may still take effect.
    InTime,
    /// It was not made: others are in the module, or hang in it.
    Busy,
    /// The module's answer broke what reads it.
    Sense,
    /// There is no thread to run it on.
    Thread(std::io::Error),
}

thread_local! {
    /// Whether this thread was left behind and is out of the module again: it may take its time.
    static LEFT_BEHIND: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread has nobody who waits for it, and may wait itself.
pub(super) fn is_left_behind() -> bool {
    LEFT_BEHIND.get()
}

/// Threads that make calls, one at a time each.
#[derive(Debug)]
pub(super) struct Workers {
    timeout: Option<Duration>,
    idle: Mutex<Vec<Sender<Job>>>,
    left: Arc<Left>,
}

/// The calls that were left behind.
#[derive(Debug, Default)]
struct Left {
    behind: AtomicUsize,
    returned: AtomicU64,
}

impl Workers {
    pub(super) fn new(timeout: Option<Duration>) -> Self {
        Self { timeout, idle: Mutex::default(), left: Arc::default() }
    }

    /// Makes a call inside a module.
    pub(super) fn run<T: Send + 'static>(
        &self,
        gate: &Arc<Gate>,
        access: Access,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NoAnswer> {
        self.run_with(gate, access, (), |()| call()).map(|((), answer)| answer).map_err(|(none, _)| none)
    }

    /// Makes a call with something that comes back in any case, but where the call hangs.
    pub(super) fn run_with<H: Send + 'static, T: Send + 'static>(
        &self,
        gate: &Arc<Gate>,
        access: Access,
        with: H,
        call: impl FnOnce(&H) -> T + Send + 'static,
    ) -> Result<(H, T), (NoAnswer, Option<H>)> {
        match gate.enter(access, self.deadline()) {
            Some(pass) => self.dispatch(Some(pass), with, call),
            None => Err((NoAnswer::Busy, Some(with))),
        }
    }

    /// Makes a call beside the gate, as when the module is only being loaded.
    pub(super) fn run_outside<T: Send + 'static>(
        &self,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NoAnswer> {
        self.dispatch(None, (), |()| call()).map(|((), answer)| answer).map_err(|(none, _)| none)
    }

    /// How many calls hang now.
    pub(super) fn behind(&self) -> usize {
        self.left.behind.load(Ordering::Relaxed)
    }

    /// How many calls came back that nobody waited for any more: a sign of life.
    pub(super) fn returned(&self) -> u64 {
        self.left.returned.load(Ordering::Relaxed)
    }

    fn deadline(&self) -> Option<Instant> {
        self.timeout.and_then(|timeout| Instant::now().checked_add(timeout))
    }

    fn dispatch<H: Send + 'static, T: Send + 'static>(
        &self,
        pass: Option<Pass>,
        with: H,
        call: impl FnOnce(&H) -> T + Send + 'static,
    ) -> Result<(H, T), (NoAnswer, Option<H>)> {
        let sense = |answer: Result<T, _>, with| match answer {
            Ok(answer) => Ok((with, answer)),
            Err(_) => Err((NoAnswer::Sense, Some(with))),
        };
        // From here on: the wait for others was not the token's.
        let Some(deadline) = self.deadline() else {
            // What a panic may leave half done is dropped with it.
            let answer = catch_unwind(AssertUnwindSafe(|| call(&with)));
            drop(pass);
            return sense(answer, with);
        };
        let worker = match self.worker() {
            Ok(worker) => worker,
            Err(error) => {
                drop(pass);
                return Err((NoAnswer::Thread(error), Some(with)));
            }
        };
        let gate = pass.as_ref().map(Pass::gate);
        let answer = Arc::new(Answer::default());
        let job = {
            let (answer, left) = (Arc::clone(&answer), Arc::clone(&self.left));
            Box::new(move || {
                let value = catch_unwind(AssertUnwindSafe(|| call(&with)));
                // Out of the module before the caller goes on.
                let mut slot = answer.lock();
                if matches!(*slot, Slot::GivenUp) {
                    drop(slot);
                    pass.into_iter().for_each(Pass::was_given_up);
                    left.behind.fetch_sub(1, Ordering::Relaxed);
                    left.returned.fetch_add(1, Ordering::Relaxed);
                    LEFT_BEHIND.set(true);
                    drop((with, value));
                } else {
                    drop(pass);
                    *slot = Slot::Here((with, value));
                    drop(slot);
                    answer.arrived.notify_one();
                }
            })
        };
        if worker.send(job).is_err() {
            return Err((NoAnswer::Thread(std::io::Error::other("a thread ended by itself")), None));
        }
        let mut slot = answer.lock();
        loop {
            match std::mem::replace(&mut *slot, Slot::Awaited) {
                Slot::Here((with, value)) => {
                    drop(slot);
                    self.idle().push(worker);
                    return sense(value, with);
                }
                Slot::Awaited | Slot::GivenUp => {}
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                *slot = Slot::GivenUp;
                self.left.behind.fetch_add(1, Ordering::Relaxed);
                gate.iter().for_each(|gate| gate.give_up_on_one());
                // The thread ends after the call, because nobody can send to it any more.
                return Err((NoAnswer::InTime, None));
            }
            slot = answer.arrived.wait_timeout(slot, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn worker(&self) -> std::io::Result<Sender<Job>> {
        if let Some(worker) = self.idle().pop() {
            return Ok(worker);
        }
        let (sender, jobs) = channel::<Job>();
        thread::Builder::new()
            .name("keyward-token".to_owned())
            .spawn(move || jobs.into_iter().for_each(|job| job()))?;
        Ok(sender)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Sender<Job>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the answer to one call arrives.
struct Answer<T> {
    slot: Mutex<Slot<T>>,
    arrived: Condvar,
}

enum Slot<T> {
    Awaited,
    Here(T),
    GivenUp,
}

impl<T> Answer<T> {
    fn lock(&self) -> MutexGuard<'_, Slot<T>> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Default for Answer<T> {
    fn default() -> Self {
        Self { slot: Mutex::new(Slot::Awaited), arrived: Condvar::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_deadline_a_call_stays_on_its_thread() {
        let (workers, gate) = (Workers::new(None), Arc::default());
        let here = thread::current().id();
        assert_eq!(workers.run(&gate, Access::Shared, move || thread::current().id()).unwrap(), here);
    }

    #[test]
    fn with_a_deadline_threads_are_used_again() {
        let (workers, gate) = (Workers::new(Some(Duration::from_secs(30))), Arc::default());
        let thread = || workers.run(&gate, Access::Shared, || thread::current().id()).unwrap();
        let first = thread();
        assert_ne!(first, thread::current().id());
        assert_eq!(thread(), first);
    }

    #[test]
    fn a_call_that_hangs_is_left_behind_and_comes_back() {
        let (workers, gate) = (Workers::new(Some(Duration::from_millis(20))), Arc::default());
        let (release, wait) = channel::<()>();
        let (told, tell) = channel();
        let dropped = TellOnDrop(told);
        let answer = workers.run(&gate, Access::Shared, move || {
            let _ = wait.recv();
            dropped
        });
        assert!(matches!(answer, Err(NoAnswer::InTime)));
        assert_eq!((workers.behind(), workers.returned()), (1, 0));
        assert!(gate.enter(Access::Alone, None).is_none());
        let busy = workers.run_with(&gate, Access::Alone, "with", |_| ());
        assert!(matches!(busy, Err((NoAnswer::Busy, Some("with")))));
        // Others work meanwhile.
        assert_eq!(workers.run(&gate, Access::Shared, || 7).unwrap(), 7);
        release.send(()).unwrap();
        // What the call returned is dropped, by the thread that made it.
        tell.recv().unwrap();
        assert_eq!((workers.behind(), workers.returned()), (0, 1));
        assert!(gate.enter(Access::Alone, None).is_some());
    }

    struct TellOnDrop(Sender<()>);

    impl Drop for TellOnDrop {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }

    #[test]
    fn a_panic_is_an_answer() {
        for timeout in [None, Some(Duration::from_secs(30))] {
            let (workers, gate) = (Workers::new(timeout), Arc::default());
            let answer = workers.run(&gate, Access::Shared, || -> usize { panic!("from the module") });
            assert!(matches!(answer, Err(NoAnswer::Sense)));
            // What it was made with comes back, and is not dropped inside.
            let answer = workers.run_with(&gate, Access::Alone, "with", |_| -> usize { panic!("from the module") });
            assert!(matches!(answer, Err((NoAnswer::Sense, Some("with")))));
            assert!(gate.enter(Access::Alone, None).is_some());
            assert_eq!(workers.run(&gate, Access::Shared, || 7).unwrap(), 7);
        }
    }
}
