//! One member of a failover: its provider, opened when it is needed, and whether it is down.

use super::health::MemberHealth;
use super::member::{Member, Open, Source};
use crate::error::{Error, ErrorKind, Result};
use crate::key::{KekId, KeyProvider, KeyRef};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// A member under watch.
pub(super) struct Watched<P> {
    pub(super) name: String,
    provider: OnceLock<P>,
    open: Option<Open<P>>,
    /// One of the three below. It alone is read where a member is well.
    condition: AtomicU8,
    state: Mutex<State>,
    opened: Condvar,
}

const UP: u8 = 0;
/// Down, and probed until it is back.
const DOWN: u8 = 1;
/// Down for good: the PIN was refused.
const REFUSED: u8 = 2;

struct State {
    opening: bool,
    /// What the latest opening said, where it failed.
    not_opened: Option<Failure>,
    /// What the latest call that found it unavailable said.
    failure: Option<Failure>,
    failures: u64,
    since: Option<SystemTime>,
    /// Whether it was said, in this outage, that data is protected without it.
    told: bool,
    /// When it is to be probed, and how long to wait after that.
    due: Instant,
    delay: Duration,
}

impl<P: KeyProvider> Watched<P> {
    const FIRST_DELAY: Duration = Duration::from_millis(100);
    const LAST_DELAY: Duration = Duration::from_secs(30);

    pub(super) fn new(member: Member<P>) -> Self {
        let (provider, open) = match member.source {
            Source::Open(provider) => (OnceLock::from(provider), None),
            Source::Opening(open) => (OnceLock::new(), Some(open)),
        };
        let state = State {
            opening: false,
            not_opened: None,
            failure: None,
            failures: 0,
            since: None,
            told: false,
            due: Instant::now(),
            delay: Self::FIRST_DELAY,
        };
        Self {
            name: member.name,
            provider,
            open,
            condition: AtomicU8::new(UP),
            state: Mutex::new(state),
            opened: Condvar::new(),
        }
    }

    pub(super) fn is_down(&self) -> bool {
        self.condition.load(Ordering::Acquire) != UP
    }

    /// When to probe it next, where that is any use.
    pub(super) fn due(&self) -> Option<Instant> {
        (self.condition.load(Ordering::Acquire) == DOWN).then(|| self.state().due)
    }

    /// Does `work` with the provider, and learns from the answer whether the member is down. One
    /// whose PIN was refused answers what it answered then, without being asked.
    pub(super) fn call<T>(&self, work: impl FnOnce(&P) -> Result<T>) -> Result<T> {
        let before = self.condition.load(Ordering::Acquire);
        if before == REFUSED {
            return Err(self.outage());
        }
        let answer = self.provider().and_then(work);
        match &answer {
            Err(error) if error.kind().is_unavailable() => self.went_down(error),
            _ if before == DOWN => self.came_back(),
            _ => {}
        }
        answer
    }

    /// Whether it answers: any answer will do, and that there is no such key is the usual one.
    pub(super) fn probe(&self) -> Result<()> {
        match self.call(|provider| provider.describe_key(KeyRef::Kek(KekId::from_bytes([0; 16])))) {
            Err(error) if error.kind().is_unavailable() => Err(error),
            _ => Ok(()),
        }
    }

    /// A probe whose failure doubles the time to the next.
    pub(super) fn probe_again(&self) {
        // Before the probe, so that the time passes also where the provider panics.
        let delay = self.back_off();
        if self.probe().is_err() {
            // From the end of the probe, which may have taken long; unless it was back in between.
            let mut state = self.state();
            if state.delay == delay {
                state.due = Instant::now() + delay;
            }
        }
    }

    /// Doubles the time to the next probe, from now.
    pub(super) fn back_off(&self) -> Duration {
        let mut state = self.state();
        state.delay = Self::LAST_DELAY.min(state.delay * 2);
        state.due = Instant::now() + state.delay;
        state.delay
    }

    #[cfg(all(test, feature = "testkit"))]
    pub(super) fn postpone(&self, delay: Duration) {
        self.state().due = Instant::now() + delay;
    }

    #[cfg(all(test, feature = "testkit"))]
    pub(super) fn delay(&self) -> Duration {
        self.state().delay
    }

    /// What a member that is down said last.
    pub(super) fn outage(&self) -> Error {
        let back = || Error::new(ErrorKind::TokenUnavailable, "it was down a moment ago");
        self.state().failure.as_ref().map_or_else(back, Failure::again)
    }

    /// Says, once in each outage, that data is protected without this member.
    pub(super) fn tell_of_protecting_without(&self) {
        let already = std::mem::replace(&mut self.state().told, true);
        if !already {
            tracing::warn!(member = self.name, "protecting without this member: it cannot recover what is written now");
        }
    }

    pub(super) fn health(&self) -> MemberHealth {
        let state = self.state();
        MemberHealth {
            name: self.name.clone(),
            available: !self.is_down(),
            since: state.since,
            last_error: state.failure.as_ref().map(|failure| failure.message.clone()),
            failures: state.failures,
        }
    }

    /// The provider, opened by one thread while the others wait for what comes of it: were each to
    /// open it, each would try the PIN.
    fn provider(&self) -> Result<&P> {
        if let Some(provider) = self.provider.get() {
            return Ok(provider);
        }
        let mut state = self.state();
        let mut waited = false;
        loop {
            if let Some(provider) = self.provider.get() {
                return Ok(provider);
            }
            match &state.not_opened {
                Some(failure) if waited || failure.kind.is_of_the_pin() => return Err(failure.again()),
                _ => {}
            }
            if !state.opening {
                break;
            }
            while state.opening {
                state = self.opened.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            waited = true;
        }
        state.opening = true;
        state.not_opened = None;
        drop(state);

        let mut opening = Opening { watched: self, failure: None };
        let open = self.open.as_ref().ok_or_else(|| Error::new(ErrorKind::Internal, "a member without a provider"))?;
        match open() {
            Ok(provider) => Ok(self.provider.get_or_init(|| provider)),
            Err(error) => {
                opening.failure = Some(Failure::of(&error));
                Err(error)
            }
        }
    }

    fn went_down(&self, error: &Error) {
        let mut state = self.state();
        state.failures += 1;
        if self.condition.load(Ordering::Acquire) == REFUSED {
            return; // and what it said of the PIN stays its answer
        }
        state.failure = Some(Failure::of(error));
        let now = if error.kind().is_of_the_pin() { REFUSED } else { DOWN };
        if self.condition.swap(now, Ordering::AcqRel) == UP {
            state.since = Some(SystemTime::now());
            state.delay = Self::FIRST_DELAY;
            state.due = Instant::now() + Self::FIRST_DELAY;
            drop(state);
            tracing::warn!(member = self.name, %error, "a member of a failover went down");
        }
    }

    fn came_back(&self) {
        let mut state = self.state();
        // Others may have found it back before, or its PIN refused in the meantime.
        if self.condition.compare_exchange(DOWN, UP, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            state.since = Some(SystemTime::now());
            state.told = false;
            drop(state);
            tracing::info!(member = self.name, "a member of a failover is back");
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends an opening, also where it panics, and wakes those who wait for it.
struct Opening<'a, P: KeyProvider> {
    watched: &'a Watched<P>,
    failure: Option<Failure>,
}

impl<P: KeyProvider> Drop for Opening<'_, P> {
    fn drop(&mut self) {
        let mut state = self.watched.state();
        state.opening = false;
        state.not_opened = self.failure.take();
        self.watched.opened.notify_all();
    }
}

/// What is kept of an error, to be told again.
struct Failure {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
}

impl Failure {
    fn of(error: &Error) -> Self {
        Self { kind: error.kind(), message: error.to_string(), hint: error.hint().map(str::to_owned) }
    }

    fn again(&self) -> Error {
        let error = Error::new(self.kind, self.message.clone());
        match &self.hint {
            Some(hint) => error.with_hint(hint.clone()),
            None => error,
        }
    }
}
