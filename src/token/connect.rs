//! Opening a token: find it, open a session, log in. The first time, and again after it was away.

use super::fault::fault;
use super::gate::Access;
use super::handle::Handle;
use super::info::TokenInfo;
use super::module::{Module, User};
use super::outage::Loss;
use super::pool::{Pool, unanswered};
use super::process_login::{PinMatch, other_pin, unknown_pin};
use super::uri::TokenUri;
use super::workers::Workers;
use crate::error::{Error, ErrorKind, Result};
use std::cell::Cell;
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
        let looked = self.workers.run_with(&self.module.gate(), Access::Shared, anchor, Handle::is_logged_in);
        let (anchor, logged_in) = match looked {
            Ok((anchor, answer)) => (anchor, answer.unwrap_or(false)),
            Err((none, anchor)) => {
                anchor.into_iter().for_each(|anchor| self.close(anchor));
                return unanswered("look at a session", Err(none));
            }
        };
        match self.check_pin(&info, logged_in, again) {
            Ok(PinCheck::Accepted) => return Ok((anchor, info)),
            Ok(PinCheck::AskToken) => {}
            Err(error) => {
                self.close(anchor);
                return Err(error);
            }
        }
        if let Err(error) = self.logins.begin() {
            self.close(anchor);
            return Err(error);
        }
        // The login is the process's and changes what every session sees.
        let (logins, login, label) = (Arc::clone(&self.logins), Arc::clone(&self.login), Arc::clone(&self.label));
        let (pin, accept_other) = (self.pin.clone(), self.accepts_other_login(again));
        let answer = self.workers.run_with(&self.module.gate(), Access::Login, anchor, move |anchor| {
            logins.log_in(anchor, &login, &label, pin.as_ref(), accept_other)
        });
        match answer {
            Ok((anchor, Ok(()))) => Ok((anchor, info)),
            Ok((anchor, Err(error))) => {
                self.close(anchor);
                Err(error)
            }
            Err((none, anchor)) => {
                if let Some(anchor) = anchor {
                    // It was not made.
                    self.logins.never_mind();
                    self.close(anchor);
                }
                unanswered("log in", Err(none))
            }
        }
    }

    /// Decides whether the PIN of this pool has to be sent to the token, and refuses one that must not be.
    fn check_pin(&self, info: &TokenInfo, logged_in: bool, again: bool) -> Result<PinCheck> {
        // CKF_PROTECTED_AUTHENTICATION_PATH: a NULL PIN, the operator enters it at the token.
        if self.pin.is_none() && !info.pin_pad {
            return Err(Error::new(ErrorKind::PinRequired, format!("token '{}' needs a PIN", info.label))
                .with_hint("give it with pin-source=file:/path in the token URI"));
        }
        match self.login.compare(self.pin.as_ref()) {
            PinMatch::Other => Err(other_pin(&info.label)),
            PinMatch::Same if logged_in => Ok(PinCheck::Accepted),
            PinMatch::Unknown if logged_in && self.accepts_other_login(again) => Ok(PinCheck::Accepted),
            // Fails closed: the token would answer to any PIN that the process is logged in already.
            PinMatch::Unknown if logged_in => Err(unknown_pin(&info.label)),
            // No operator stands at the pad when a token comes back by night, and prompts that end unanswered may count as
            // wrong PINs.
            _ if self.pin.is_none() && again => Err(Error::new(
                ErrorKind::PinRequired,
                format!("token '{}' wants its PIN at its own pad again", info.label),
            )
            .with_hint("open the token again")),
            _ => Ok(PinCheck::AskToken),
        }
    }

    /// Whether a login that another library of this process made may serve: if the caller says so, or the token has
    /// accepted the PIN of this pool before.
    fn accepts_other_login(&self, again: bool) -> bool {
        again || self.options.accept_other_login
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
    /// not closed: their numbers may have been given to others. Those that cannot be closed come back.
    pub(super) fn end(&self, sessions: Vec<Handle>, loss: Loss) -> Vec<Handle> {
        let mut left = Vec::new();
        let mut answers = true;
        for session in sessions {
            if loss == Loss::Sessions {
                session.forget();
            } else if answers {
                let one = Cell::new(Some(session));
                let closed = self.workers.run_with(&self.module.gate(), Access::Shared, one, |one| {
                    one.take().into_iter().for_each(Handle::close);
                });
                if let Err((_, one)) = closed {
                    answers = false;
                    left.extend(one.and_then(Cell::into_inner));
                }
            } else {
                left.push(session);
            }
        }
        left
    }
}

/// What is known of a PIN before the token is asked.
enum PinCheck {
    /// This process is logged in, and the PIN may use that.
    Accepted,
    AskToken,
}

/// Whether a new start of the module may help. Not where the token has answered.
fn may_help(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::TokenUnavailable | ErrorKind::ModuleUnavailable)
}
