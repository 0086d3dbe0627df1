//! Opening a token: find it, open a session, log in. The first time, and again after it was away.

use super::fault::fault;
use super::gate::Access;
use super::handle::Handle;
use super::info::TokenInfo;
use super::module::{Module, User};
use super::outage::Loss;
use super::pin::Pin;
use super::pool::{Pool, unanswered};
use super::uri::TokenUri;
use super::workers::Workers;
use crate::error::{Error, ErrorKind, Result};
use cryptoki::error::{Error as Cause, RvError};
use cryptoki::session::UserType;
use std::sync::{Arc, Weak};

/// The one token that `uri` names.
pub(super) fn find(module: &Arc<Module>, workers: &Workers, uri: &TokenUri) -> Result<TokenInfo> {
    let (inside, uri) = (Arc::clone(module), uri.clone());
    unanswered("find the token", workers.run(&module.gate(), Access::Shared, move || inside.find_inside(&uri)))?
}

/// Starts the module anew where nobody else minds; else the failure that went before stands.
pub(super) fn restart(module: &Arc<Module>, workers: &Workers, asking: &Weak<Pool>, failure: Error) -> Result<()> {
    let epoch = module.epoch();
    let user: Weak<dyn User> = asking.clone();
    if !module.may_restart_for(&user) {
        return Err(failure);
    }
    let inside = Arc::clone(module);
    match workers.run(&module.gate(), Access::Alone, move || inside.restart_inside(epoch)) {
        Ok(answer) => answer,
        // A call hangs inside.
        Err(_) if module.can_be_taken_up_anew() => {
            let inside = Arc::clone(module);
            let taken = workers.run(&module.gate(), Access::Shared, move || inside.take_up_anew_inside(epoch));
            unanswered("take up the module anew", taken)?
        }
        Err(_) => Err(failure),
    }
}

impl Pool {
    /// Opens a token that was found: the session that holds the login. Whether it was open before.
    pub(super) fn connect_to(&self, info: TokenInfo, again: bool) -> Result<(Handle, TokenInfo)> {
        let (module, token) = (Arc::clone(&self.module), info.clone());
        let opened = self.workers.run(&self.module.gate(), Access::Shared, move || Handle::open(&module, &token));
        let anchor = unanswered("open a session", opened)?.map_err(|cause| fault("open a session", cause))?;
        if !info.login_required {
            return Ok((anchor, info));
        }
        let pin = match &self.pin {
            Some(pin) => Some(pin.clone()),
            // CKF_PROTECTED_AUTHENTICATION_PATH: a NULL PIN, the operator enters it at the token. Nobody
            // stands there when a token comes back by night, and prompts that end unanswered may count
            // as wrong PINs.
            None if info.pin_pad && !again => None,
            None if info.pin_pad => {
                self.close(anchor);
                let message = format!("token '{}' wants its PIN at its own pad again", info.label);
                return Err(Error::new(ErrorKind::PinRequired, message).with_hint("open the token again"));
            }
            None => {
                self.close(anchor);
                return Err(Error::new(ErrorKind::PinRequired, format!("token '{}' needs a PIN", info.label))
                    .with_hint("give it with pin-source=file:/path in the token URI"));
            }
        };
        // The login is the process's and changes what every session sees.
        let answer = self.workers.run(&self.module.gate(), Access::Alone, move || {
            let answer = log_in(&anchor, pin.as_ref());
            (anchor, answer)
        });
        match unanswered("log in", answer)? {
            (anchor, Ok(())) => Ok((anchor, info)),
            (anchor, Err(cause)) => {
                self.close(anchor);
                Err(fault("log in", cause))
            }
        }
    }

    /// Opens the token again, with a new start of the module where nothing else helps and nobody
    /// else minds.
    pub(super) fn reconnect(&self) -> Result<(Handle, TokenInfo)> {
        let first = match self.connect() {
            Err(error) if may_help(&error) => error,
            answer => return answer,
        };
        restart(&self.module, &self.workers, &self.me, first)?;
        self.connect()
    }

    fn connect(&self) -> Result<(Handle, TokenInfo)> {
        let found = find(&self.module, &self.workers, &self.uri).map_err(|error| match error.kind() {
            // It was there, and will be again.
            ErrorKind::TokenNotFound => Error::new(ErrorKind::TokenUnavailable, error.to_string()),
            _ => error,
        })?;
        if found.serial != self.info().serial {
            let message =
                format!("in place of token '{}' there is one with the serial number {}", self.label, found.serial);
            return Err(Error::new(ErrorKind::TokenUnavailable, message));
        }
        self.connect_to(found, true)
    }

    /// Is done with sessions of a generation that ended. Those that the token has ended itself are
    /// not closed: their numbers may have been given to others.
    pub(super) fn end(&self, sessions: Vec<Handle>, loss: Loss) {
        let mut answers = true;
        for session in sessions {
            if loss == Loss::Sessions || !answers {
                session.forget();
                continue;
            }
            let closed = self.workers.run(&self.module.gate(), Access::Shared, move || session.close());
            answers = closed.is_ok();
        }
    }
}

/// Whether a new start of the module may help. Not where the token has answered.
fn may_help(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::TokenUnavailable | ErrorKind::ModuleUnavailable)
}

fn log_in(anchor: &Handle, pin: Option<&Pin>) -> Result<(), Cause> {
    let _quiet = anchor.module().neighbours.nobody();
    let session = anchor.raw()?;
    let answer = match pin {
        None => session.login(UserType::User, None),
        Some(pin) => session.login_with_raw(UserType::User, &pin.expose_raw()),
    };
    match answer {
        // The login is process-wide: another session of this process has done it.
        Err(Cause::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
        answer => answer,
    }
}
