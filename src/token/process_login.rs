//! The login of this process to one token, and the PIN that made it.
//!
//! A PKCS#11 login belongs to the process: once one session has logged in, all have, and the token compares no further
//! PIN. So that a second [`Token`](super::Token) does not open with any PIN, its PIN is compared here with the one that
//! the token accepted. While the token accepts that one no other is sent to it: a wrong PIN that callers bring cannot use
//! up the attempts that the token allows.

use super::pin::Pin;
use crate::error::{Error, ErrorKind, Result};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::sync::{Mutex, MutexGuard, PoisonError};
use subtle::ConstantTimeEq;

/// What this process knows of its login to one token.
pub(super) struct ProcessLogin {
    /// As long as a block of the hash.
    salt: [u8; 64],
    accepted: Mutex<Option<AcceptedPin>>,
}

/// What the token accepted last.
enum AcceptedPin {
    /// The PIN with this salted hash. One round is enough: a PIN is short and could be guessed from any hash, but only a
    /// reader of this process's memory sees it, where the PIN itself stands too, for the next login ([`Pool`]).
    ///
    /// [`Pool`]: super::pool::Pool
    Hash([u8; 32]),
    /// One that was entered at the token's own pad.
    AtPad,
}

/// How a PIN compares with the one that the token accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PinMatch {
    Same,
    Other,
    /// None was accepted that is known, or one of the two is entered at a pad.
    Unknown,
}

impl ProcessLogin {
    pub(super) fn new() -> Result<Self> {
        let mut salt = [0; 64];
        getrandom::fill(&mut salt)
            .map_err(|error| Error::new(ErrorKind::Internal, "the system gives no random bytes").with_source(error))?;
        Ok(Self { salt, accepted: Mutex::default() })
    }

    /// Compares a PIN, or `None` for one that is entered at the pad, in constant time.
    pub(super) fn compare(&self, pin: Option<&Pin>) -> PinMatch {
        match (&*self.lock(), pin) {
            (Some(AcceptedPin::Hash(accepted)), Some(pin)) => match bool::from(self.hash(pin).ct_eq(accepted)) {
                true => PinMatch::Same,
                false => PinMatch::Other,
            },
            (Some(AcceptedPin::AtPad), None) => PinMatch::Same,
            _ => PinMatch::Unknown,
        }
    }

    /// The token has accepted this PIN.
    pub(super) fn accept(&self, pin: Option<&Pin>) {
        *self.lock() = Some(pin.map_or(AcceptedPin::AtPad, |pin| AcceptedPin::Hash(self.hash(pin))));
    }

    /// The token has refused this PIN. If it accepted it before, it was changed since, and another one may be sent.
    pub(super) fn refuse(&self, pin: Option<&Pin>) {
        if self.compare(pin) == PinMatch::Same {
            *self.lock() = None;
        }
    }

    fn hash(&self, pin: &Pin) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new(&self.salt.into());
        pin.feed(&mut mac);
        mac.finalize().into_bytes().into()
    }

    fn lock(&self) -> MutexGuard<'_, Option<AcceptedPin>> {
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The refusal of a PIN that is not the one that the token accepted.
pub(super) fn other_pin(label: &str) -> Error {
    let message = format!("this process is logged in to token '{label}' with another PIN");
    Error::new(ErrorKind::PinIncorrect, message)
        .with_hint("the PIN was compared in this process and not sent to the token")
}

/// The refusal of a PIN that nothing can be said of.
pub(super) fn unknown_pin(label: &str) -> Error {
    let message = format!("another part of this process is logged in to token '{label}', so no PIN is compared");
    Error::new(ErrorKind::TokenUnavailable, message).with_hint("open the token before the other library logs in")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_compare_with_the_accepted_one() {
        let login = ProcessLogin::new().unwrap();
        let [right, wrong] = ["1234", "12345"].map(Pin::new);
        assert_eq!(login.compare(Some(&right)), PinMatch::Unknown);
        login.accept(Some(&right));
        assert_eq!(login.compare(Some(&right)), PinMatch::Same);
        assert_eq!(login.compare(Some(&wrong)), PinMatch::Other);
        assert_eq!(login.compare(None), PinMatch::Unknown);
        // A refusal of another PIN says nothing of this one.
        login.refuse(Some(&wrong));
        assert_eq!(login.compare(Some(&right)), PinMatch::Same);
        login.refuse(Some(&right));
        assert_eq!(login.compare(Some(&wrong)), PinMatch::Unknown);
    }

    #[test]
    fn pad_login_says_nothing_of_pins() {
        let login = ProcessLogin::new().unwrap();
        login.accept(None);
        assert_eq!(login.compare(None), PinMatch::Same);
        assert_eq!(login.compare(Some(&Pin::new("1234"))), PinMatch::Unknown);
    }
}
