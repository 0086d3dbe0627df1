//! Logging in, with regard to tokens that lock.

use super::fault::fault;
use super::handle::Handle;
use super::pin::Pin;
use super::process_login::{PinMatch, ProcessLogin, other_pin, unknown_pin};
use super::softhsm::FileUse;
use crate::error::{Error, ErrorKind, Result};
use cryptoki::error::{Error as Cause, RvError};
use cryptoki::session::UserType;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What became of the logins of one opened token. Shared with the calls that hang: one may come back with
/// a refusal after its caller has left, and that counts.
#[derive(Debug, Default)]
pub(super) struct Logins(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// A login is under way, or hangs.
    pending: bool,
    /// The PIN was refused: it is never tried again.
    refused: Option<(ErrorKind, String)>,
    /// Logins in a row that failed with a code that may be the token's own for a wrong or locked PIN.
    strange: u32,
}

/// So many failures of that kind, and no more logins are made.
const STRANGE: u32 = 3;

impl Logins {
    /// Whether no login is made any more.
    pub(super) fn are_over(&self) -> bool {
        let state = self.lock();
        state.refused.is_some() || state.strange >= STRANGE
    }

    /// Asked before each login.
    pub(super) fn begin(&self) -> Result<()> {
        let mut state = self.lock();
        if let Some((kind, message)) = &state.refused {
            return Err(Error::new(*kind, message.clone()).with_hint("it was tried once and is not tried again"));
        }
        if state.strange >= STRANGE {
            let message = format!("the token refused {STRANGE} logins, with a code that says nothing of the PIN");
            return Err(Error::new(ErrorKind::TokenUnavailable, message)
                .with_hint("no more are made, because it may count them as wrong PINs; open it again"));
        }
        if state.pending {
            return Err(Error::new(ErrorKind::Timeout, "a login still hangs; another is not made beside it"));
        }
        state.pending = true;
        Ok(())
    }

    /// The login was not made.
    pub(super) fn never_mind(&self) {
        self.lock().pending = false;
    }

    /// Logs in, for who is inside the module alone. `accept_other` takes a login that another library made for this one.
    pub(super) fn log_in(
        &self,
        anchor: &Handle,
        login: &ProcessLogin,
        label: &str,
        pin: Option<&Pin>,
        accept_other: bool,
    ) -> Result<()> {
        let _over = Over(self);
        // Another thread may have logged in since the PIN was compared.
        if login.compare(pin) == PinMatch::Other {
            return Err(other_pin(label));
        }
        let guard = anchor.module().softhsm.acquire(FileUse::Write)?;
        let answer = log_in(anchor, pin);
        drop(guard);
        let mut state = self.lock();
        match answer {
            Ok(()) => {
                state.strange = 0;
                login.accept(pin);
                Ok(())
            }
            Err(Cause::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {
                state.strange = 0;
                match login.compare(pin) == PinMatch::Same || accept_other {
                    true => Ok(()),
                    // The token has not compared it.
                    false => Err(unknown_pin(label)),
                }
            }
            Err(cause) => {
                let is_strange = is_strange(&cause);
                let error = fault("log in", cause);
                if matches!(error.kind(), ErrorKind::PinIncorrect | ErrorKind::PinLocked) {
                    state.refused = Some((error.kind(), error.to_string()));
                    login.refuse(pin);
                } else if is_strange {
                    state.strange += 1;
                }
                Err(error)
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Over<'a>(&'a Logins);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.never_mind();
    }
}

/// Whether a login failed in a way that is not that of a token which is away.
fn is_strange(cause: &Cause) -> bool {
    use RvError::*;
    let Cause::Pkcs11(code, _) = cause else { return true };
    !matches!(
        code,
        SessionHandleInvalid
            | SessionClosed
            | TokenNotPresent
            | DeviceRemoved
            | DeviceError
            | DeviceMemory
            | HostMemory
            | CryptokiNotInitialized
    )
}

fn log_in(anchor: &Handle, pin: Option<&Pin>) -> Result<(), Cause> {
    let session = anchor.raw()?;
    match pin {
        None => session.login(UserType::User, None),
        Some(pin) => session.login_with_raw(UserType::User, &pin.expose_raw()),
    }
}
