//! The time while a token is away: what was lost, and when it is tried again.

use super::fault::Trouble;
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
    pub(super) fn begin(loss: Loss, returned: u64) -> Self {
        Self { loss, failure: None, next: Some(Instant::now()), pause: FIRST_PAUSE, returned }
    }

    /// An attempt to open the token failed.
    pub(super) fn go_on(self, error: Error, behind: usize, returned: u64, for_good: bool) -> Self {
        let pause = match behind {
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
            returned,
            failure: Some(Failure {
                kind: error.kind(),
                message: error.to_string(),
                hint: error.hint().map(ToOwned::to_owned),
            }),
        }
    }

    /// Whether the token may be tried now.
    pub(super) fn is_over(&self, returned: u64) -> bool {
        self.next.is_some_and(|next| Instant::now() >= next || returned > self.returned)
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

    fn failed(kind: ErrorKind) -> Outage {
        Outage::begin(Loss::Sessions, 0).go_on(Error::new(kind, "no"), 0, 0, false)
    }

    #[test]
    fn a_refused_pin_ends_all_attempts() {
        for kind in [ErrorKind::PinIncorrect, ErrorKind::PinLocked, ErrorKind::PinRequired] {
            let outage = failed(kind);
            assert!(!outage.is_over(u64::MAX));
            assert_eq!(outage.error("x").kind(), kind);
        }
    }

    #[test]
    fn pauses_grow_and_a_sign_of_life_ends_them() {
        let mut outage = Outage::begin(Loss::Answers, 3);
        assert!(outage.is_over(3) && !outage.has_been_tried());
        for _ in 0..20 {
            outage = outage.go_on(Error::new(ErrorKind::Timeout, "no"), 0, 3, false);
            assert!(outage.has_been_tried() && outage.is_over(4));
        }
        assert_eq!(outage.pause, LONGEST_PAUSE);
        assert!(!outage.is_over(3));
    }
}
