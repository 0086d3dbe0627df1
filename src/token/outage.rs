//! The time while a token is away: what was lost, and when it is tried again.

use super::fault::Trouble;
use super::workers::Workers;
use crate::error::{Error, ErrorKind};
use std::time::{Duration, Instant};

/// What a token lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    /// Its sessions: they ended.
    Sessions,
    /// The trust in it. The sessions may be there, and are closed.
    Trust,
    /// The login. The sessions are there.
    Login,
    /// It does not answer. The sessions may be there.
    Answers,
}

impl Loss {
    /// What a failed call says is lost.
    pub(super) fn of(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Ended => Self::Sessions,
            Trouble::Silence => Self::Answers,
            _ => Self::Trust,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Sessions => "sessions",
            Self::Trust => "trust",
            Self::Login => "login",
            Self::Answers => "answers",
        }
    }
}

/// The time while a token is away.
#[derive(Clone, Debug)]
pub(super) struct Outage {
    pub(super) loss: Loss,
    /// Why the last attempt to open it failed.
    failure: Option<Failure>,
    /// When the next attempt may be made; never where a person must do something first.
    next: Option<Instant>,
    pause: Duration,
    /// How many calls that hung had come back by then. One more is a sign of life.
    returned: u64,
    /// How many hung when it began. Some may never come back.
    behind: usize,
}

#[derive(Clone, Debug)]
struct Failure {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
}

/// The pause after the first failed attempt. It doubles until the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Short enough that a token that is back is used within a second.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// Where so many calls hang, attempts that would hang as well are made less often.
const MANY_BEHIND: usize = 16;
const FAR_TOO_MANY: usize = 64;
const LONG_PAUSE: Duration = Duration::from_secs(30);

impl Outage {
    /// It has just been noticed.
    pub(super) fn begin(loss: Loss, workers: &Workers) -> Self {
        Self {
            loss,
            failure: None,
            next: Some(Instant::now()),
            pause: FIRST_PAUSE,
            returned: workers.returned(),
            behind: workers.behind(),
        }
    }

    /// An attempt to open the token failed.
    pub(super) fn go_on(self, error: Error, workers: &Workers, for_good: bool) -> Self {
        let pause = match workers.behind().saturating_sub(self.behind) {
            0..MANY_BEHIND => self.pause,
            MANY_BEHIND..FAR_TOO_MANY => LONG_PAUSE,
            // Each attempt may leave one more behind.
            _ => LONG_PAUSE * 20,
        };
        // A PIN that was refused is never tried again: tokens lock.
        let of_pin = matches!(error.kind(), ErrorKind::PinIncorrect | ErrorKind::PinLocked | ErrorKind::PinRequired);
        let for_good = for_good || of_pin;
        Self {
            loss: self.loss,
            next: if for_good { None } else { Instant::now().checked_add(pause) },
            pause: (self.pause * 2).min(LONGEST_PAUSE),
            returned: workers.returned(),
            behind: self.behind,
            failure: Some(Failure {
                // Whatever the code was: a token that is not back is away, and another may serve meanwhile.
                kind: if error.kind().is_unavailable() { error.kind() } else { ErrorKind::TokenUnavailable },
                message: error.to_string(),
                hint: error.hint().map(ToOwned::to_owned),
            }),
        }
    }

    /// Whether the token may be tried now.
    pub(super) fn is_over(&self, workers: &Workers) -> bool {
        self.next.is_some_and(|next| Instant::now() >= next || workers.returned() > self.returned)
    }

    pub(super) fn has_been_tried(&self) -> bool {
        self.failure.is_some()
    }

    /// What callers get meanwhile.
    pub(super) fn error(&self, label: &str) -> Error {
        let Some(Failure { kind, message, hint }) = &self.failure else {
            return Error::new(ErrorKind::TokenUnavailable, format!("token '{label}' went away"));
        };
        let error = Error::new(*kind, format!("token '{label}' is away: {message}"));
        match hint {
            Some(hint) => error.with_hint(hint.clone()),
            None => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workers() -> Workers {
        Workers::new(Some(Duration::from_millis(1)))
    }

    #[test]
    fn a_refused_pin_ends_all_attempts() {
        let workers = workers();
        for kind in [ErrorKind::PinIncorrect, ErrorKind::PinLocked, ErrorKind::PinRequired] {
            let outage = Outage::begin(Loss::Sessions, &workers).go_on(Error::new(kind, "no"), &workers, false);
            assert!(outage.next.is_none() && !outage.is_over(&workers));
            assert_eq!(outage.error("x").kind(), kind);
        }
        let outage = Outage::begin(Loss::Login, &workers);
        assert!(outage.go_on(Error::new(ErrorKind::TokenUnavailable, "no"), &workers, true).next.is_none());
    }

    #[test]
    fn a_token_that_is_not_back_is_unavailable_whatever_it_says() {
        let workers = workers();
        for (said, kind) in [
            (ErrorKind::Unsupported, ErrorKind::TokenUnavailable),
            (ErrorKind::KeyState, ErrorKind::TokenUnavailable),
            (ErrorKind::ModuleUnavailable, ErrorKind::ModuleUnavailable),
            (ErrorKind::Timeout, ErrorKind::Timeout),
        ] {
            let outage = Outage::begin(Loss::Sessions, &workers).go_on(Error::new(said, "no"), &workers, false);
            assert_eq!(outage.error("x").kind(), kind);
        }
    }

    #[test]
    fn pauses_grow_and_a_sign_of_life_ends_them() {
        let workers = workers();
        let mut outage = Outage::begin(Loss::Answers, &workers);
        assert!(outage.is_over(&workers) && !outage.has_been_tried());
        for _ in 0..20 {
            outage = outage.go_on(Error::new(ErrorKind::Timeout, "no"), &workers, false);
        }
        assert_eq!(outage.pause, LONGEST_PAUSE);
        assert!(outage.has_been_tried() && !outage.is_over(&workers));
        // A call that hung comes back.
        let gate = std::sync::Arc::default();
        let (release, wait) = std::sync::mpsc::channel::<()>();
        let hung = workers.run(&gate, crate::token::gate::Access::Shared, move || {
            let _ = wait.recv();
        });
        assert!(hung.is_err());
        assert!(!outage.is_over(&workers));
        drop(release);
        while !outage.is_over(&workers) {
            std::thread::yield_now();
        }
    }
}
