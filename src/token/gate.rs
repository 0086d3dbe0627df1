//! Who is inside a module at the same time.
//!
//! Most calls share it. A call that must be alone waits until the others have come out: restarting
//! the module, logging in, and on some tokens every write. Threads that hang inside the module are
//! known, so that nobody waits for them.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// How a call enters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Shared,
    /// Beside calls that hang, and nobody else: logging in, which must be possible while one hangs.
    Login,
    Alone,
}

#[derive(Debug, Default)]
pub(super) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    inside: usize,
    /// Of those inside, the ones that nobody waits for any more.
    stuck: usize,
    alone: bool,
    wanting_alone: usize,
}

/// Leaves when dropped.
#[derive(Debug)]
pub(super) struct Pass {
    gate: Arc<Gate>,
    access: Access,
    stuck: bool,
}

impl Gate {
    /// Enters, or gives up: at the deadline, or at once where a call that hangs is in the way.
    pub(super) fn enter(self: &Arc<Self>, access: Access, deadline: Option<Instant>) -> Option<Pass> {
        let mut state = self.lock();
        let shares = access == Access::Shared;
        if !shares {
            state.wanting_alone += 1;
        }
        let entered = loop {
            let (blocked, in_vain) = match access {
                // Who wants to be alone goes first: else busy threads would keep it out for ever.
                Access::Shared => (state.alone || state.wanting_alone > 0, state.alone && state.stuck > 0),
                Access::Login => (state.alone || state.inside > state.stuck, state.alone && state.stuck > 0),
                Access::Alone => (state.inside > 0, state.stuck > 0),
            };
            if !blocked {
                break true;
            }
            if in_vain {
                break false;
            }
            let Some(deadline) = deadline else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break false;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        };
        if !shares {
            state.wanting_alone -= 1;
        }
        if entered {
            state.inside += 1;
            state.alone |= !shares;
        } else {
            self.changed.notify_all();
        }
        drop(state);
        entered.then(|| Pass { gate: Arc::clone(self), access, stuck: false })
    }

    /// Nobody waits any more for a call that is inside.
    pub(super) fn give_up_on_one(&self) {
        self.lock().stuck += 1;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass {
    pub(super) fn gate(&self) -> Arc<Gate> {
        Arc::clone(&self.gate)
    }

    /// The call was given up on, and has come back after all.
    pub(super) fn was_given_up(mut self) {
        self.stuck = true;
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut state = self.gate.lock();
        state.inside -= 1;
        if self.stuck {
            state.stuck -= 1;
        }
        if self.access != Access::Shared {
            state.alone = false;
        }
        let waited_for = state.wanting_alone > 0 || self.access != Access::Shared || self.stuck;
        drop(state);
        if waited_for {
            self.gate.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::thread;

    fn now() -> Option<Instant> {
        Some(Instant::now())
    }

    #[test]
    fn many_share_and_one_is_alone() {
        let gate = Arc::new(Gate::default());
        let (one, other) = (gate.enter(Access::Shared, now()).unwrap(), gate.enter(Access::Shared, now()).unwrap());
        assert!(gate.enter(Access::Alone, now()).is_none());
        drop((one, other));
        let alone = gate.enter(Access::Alone, now()).unwrap();
        assert!(gate.enter(Access::Shared, now()).is_none());
        assert!(gate.enter(Access::Alone, now()).is_none());
        drop(alone);
        assert!(gate.enter(Access::Shared, now()).is_some());
    }

    #[test]
    fn who_wants_to_be_alone_goes_before_those_that_come_later() {
        let gate = Arc::new(Gate::default());
        let first = gate.enter(Access::Shared, None).unwrap();
        let (told, tell) = mpsc::channel();
        let writer = thread::spawn({
            let gate = Arc::clone(&gate);
            move || {
                let pass = gate.enter(Access::Alone, None).unwrap();
                told.send("alone").unwrap();
                drop(pass);
            }
        });
        while gate.lock().wanting_alone == 0 {
            thread::yield_now();
        }
        assert!(gate.enter(Access::Shared, now()).is_none());
        drop(first);
        assert_eq!(tell.recv().unwrap(), "alone");
        writer.join().unwrap();
        assert!(gate.enter(Access::Shared, now()).is_some());
    }

    #[test]
    fn nobody_waits_for_a_call_that_hangs() {
        let gate = Arc::new(Gate::default());
        let hanging = gate.enter(Access::Shared, None).unwrap();
        gate.give_up_on_one();
        // Without a deadline, and yet at once.
        assert!(gate.enter(Access::Alone, None).is_none());
        drop(gate.enter(Access::Shared, None).unwrap());
        hanging.was_given_up();
        assert!(gate.enter(Access::Alone, None).is_some());

        // A login is possible beside it, and nobody else meanwhile.
        let hanging = gate.enter(Access::Shared, None).unwrap();
        gate.give_up_on_one();
        let login = gate.enter(Access::Login, None).unwrap();
        assert!(gate.enter(Access::Shared, now()).is_none());
        hanging.was_given_up();
        assert!(gate.enter(Access::Shared, now()).is_none());
        drop(login);
        assert!(gate.enter(Access::Shared, now()).is_some());

        let hanging = gate.enter(Access::Alone, None).unwrap();
        gate.give_up_on_one();
        assert!(gate.enter(Access::Login, None).is_none());
        assert!(gate.enter(Access::Shared, None).is_none());
        hanging.was_given_up();
        assert!(gate.enter(Access::Shared, None).is_some());
    }
}
