//! How members are, and the thread that looks after those that are down.

use super::watched::Watched;
use crate::key::KeyProvider;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Instant, SystemTime};

/// How a member of a [`Failover`](super::Failover) is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemberHealth {
    /// Its name.
    pub name: String,
    /// Whether it is asked before others that are down. One that was never asked counts as available.
    pub available: bool,
    /// When it went down, or came back; none where it was never down.
    pub since: Option<SystemTime>,
    /// What it said when it was last unavailable.
    pub last_error: Option<String>,
    /// How many calls and probes found it unavailable, since the start.
    pub failures: u64,
}

/// How callers and the thread that probes reach each other. The thread runs while a member is down.
#[derive(Default)]
pub(super) struct Bell {
    state: Mutex<BellState>,
    changed: Condvar,
}

#[derive(Default)]
struct BellState {
    running: bool,
    /// A member went down or came back since the thread last looked.
    rung: bool,
    /// The failover is gone.
    over: bool,
}

impl Bell {
    /// Sees to it that the thread runs. It may not have started, or have died of a provider's panic.
    pub(super) fn keep_probing<P: KeyProvider + 'static>(self: &Arc<Self>, members: &Arc<[Arc<Watched<P>>]>) {
        let mut state = self.state();
        if state.running {
            return;
        }
        let (members, bell) = (Arc::downgrade(members), Arc::clone(self));
        let probing = move || probe_while_any_is_down(&members, &bell);
        match thread::Builder::new().name("keyward-probe".to_owned()).spawn(probing) {
            Ok(_) => state.running = true,
            Err(error) => tracing::warn!(%error, "cannot start the thread that probes members that are down"),
        }
    }

    /// Has the thread look at once.
    pub(super) fn ring(&self) {
        self.state().rung = true;
        self.changed.notify_all();
    }

    /// Ends the thread without waiting for it: its probe may hang. It holds nothing but the member
    /// that it probes.
    pub(super) fn close(&self) {
        self.state().over = true;
        self.changed.notify_all();
    }

    /// Whether to go on, looking at the members after this.
    fn listen(&self) -> bool {
        let mut state = self.state();
        state.rung = false;
        !state.over
    }

    /// Whether the thread may end: a member that goes down after this starts another.
    fn leave(&self) -> bool {
        let mut state = self.state();
        state.running = state.rung;
        !state.running
    }

    fn wait_until(&self, due: Instant) {
        let state = self.state();
        let left = due.saturating_duration_since(Instant::now());
        drop(self.changed.wait_timeout_while(state, left, |state| !state.rung && !state.over));
    }

    fn state(&self) -> MutexGuard<'_, BellState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the thread does until all are back or the failover is gone.
fn probe_while_any_is_down<P: KeyProvider>(members: &Weak<[Arc<Watched<P>>]>, bell: &Bell) {
    let _stopped = Stopped(bell);
    while bell.listen() {
        let Some(all) = members.upgrade() else { return };
        let next =
            all.iter().filter_map(|member| Some((member.due()?, Arc::clone(member)))).min_by_key(|(due, _)| *due);
        drop(all);
        match next {
            None if bell.leave() => return,
            None => {}
            Some((due, member)) if due <= Instant::now() => member.probe_again(),
            Some((due, member)) => {
                drop(member);
                bell.wait_until(due);
            }
        }
    }
}

/// Lets another thread take over where a provider panics.
struct Stopped<'a>(&'a Bell);

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.state().running = false;
        }
    }
}

#[cfg(test)]
#[cfg(feature = "testkit")]
mod tests {
    use super::*;
    use crate::error::{Error, ErrorKind};
    use crate::provider::member::Member;
    use crate::provider::members::Members;
    use crate::testkit::MemoryProvider;
    use std::time::Duration;

    #[track_caller]
    fn wait_until(what: &str, is_so: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !is_so() {
            assert!(Instant::now() < deadline, "waited in vain: {what}");
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// A member that is down, its next probe an hour away, and the thread that waits for that.
    fn waiting() -> Members<MemoryProvider> {
        let members = Members::new([Member::new("first", MemoryProvider::new())]).unwrap();
        let down = |_: &MemoryProvider| Err::<(), _>(Error::new(ErrorKind::TokenUnavailable, "down"));
        members[0].call(down).unwrap_err();
        members[0].postpone(Duration::from_secs(3600));
        members.passes_over(&members[0]);
        members.bell().ring();
        wait_until("a look", || !members.bell().state().rung);
        assert!(members.bell().state().running);
        members
    }

    #[test]
    fn the_thread_that_waits_ends_with_the_failover() {
        let members = waiting();
        let bell = Arc::downgrade(members.bell());
        drop(members);
        wait_until("the thread's end", || bell.strong_count() == 0);
    }

    #[test]
    fn the_thread_that_waits_ends_when_all_are_up() {
        let members = waiting();
        members.probe();
        assert!(!members[0].is_down());
        wait_until("the thread's end", || Arc::strong_count(members.bell()) == 1);
        assert!(!members.bell().state().running);
    }

    #[test]
    fn one_thread_is_enough() {
        let members = waiting();
        for _ in 0..100 {
            members.passes_over(&members[0]);
        }
        assert_eq!(Arc::strong_count(members.bell()), 2);
    }

    #[test]
    fn the_time_between_probes_doubles_up_to_half_a_minute() {
        let members = waiting();
        let member = &members[0];
        let down = |_: &MemoryProvider| Err::<(), _>(Error::new(ErrorKind::TokenUnavailable, "down"));
        let mut delays = vec![member.delay()];
        for _ in 0..10 {
            delays.push(member.back_off());
        }
        let milliseconds: Vec<_> = delays.iter().map(Duration::as_millis).collect();
        assert_eq!(milliseconds, [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000]);
        // A new outage starts anew.
        member.probe().unwrap();
        member.call(down).unwrap_err();
        assert_eq!(member.delay().as_millis(), 100);
    }
}
