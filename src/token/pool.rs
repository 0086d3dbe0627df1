//! An opened token: one login and a bounded pool of sessions.

use super::fault::fault;
use super::module::{Capabilities, Module, TokenInfo, is_session_limit};
use super::pin::Pin;
use super::session::Session;
use super::uri::TokenUri;
use crate::error::{Error, ErrorKind, Result};
use cryptoki::error::{Error as Cause, RvError};
use cryptoki::session::{Session as RawSession, UserType};
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How a token is opened.
#[derive(Debug)]
pub struct TokenOptions {
    pin: Option<Pin>,
    max_sessions: usize,
    session_timeout: Duration,
}

impl Default for TokenOptions {
    /// The PIN of the URI, at most 16 sessions, 30 seconds of waiting for one.
    fn default() -> Self {
        Self { pin: None, max_sessions: 16, session_timeout: Duration::from_secs(30) }
    }
}

impl TokenOptions {
    /// The PIN, where the URI gives none.
    #[must_use]
    pub fn pin(mut self, pin: Pin) -> Self {
        self.pin = Some(pin);
        self
    }

    /// The most sessions at once, beside the one that holds the login. The token's own limit goes
    /// before; at least one.
    #[must_use]
    pub fn max_sessions(mut self, max: usize) -> Self {
        self.max_sessions = max.max(1);
        self
    }

    /// How long to wait for a session.
    #[must_use]
    pub fn session_timeout(mut self, timeout: Duration) -> Self {
        self.session_timeout = timeout;
        self
    }
}

/// A token that is logged in to. Clones share it; sessions are closed with the last.
///
/// One session, the anchor, is never lent: closing the last session of a process logs it out
/// (PKCS#11, `C_CloseSession`) and hides the private objects.
#[derive(Clone)]
pub struct Token(Arc<Pool>);

struct Pool {
    module: Arc<Module>,
    info: TokenInfo,
    capabilities: Capabilities,
    session_timeout: Duration,
    state: Mutex<State>,
    returned: Condvar,
}

struct State {
    idle: Vec<RawSession>,
    /// Sessions lent and idle, without the anchor.
    open: usize,
    max: usize,
    /// Held for the login's sake.
    _anchor: RawSession,
}

impl Token {
    /// Finds and opens the token that `uri` names, with default options.
    ///
    /// # Errors
    /// As [`open_with`](Self::open_with).
    pub fn open(uri: &TokenUri) -> Result<Self> {
        Self::open_with(uri, TokenOptions::default())
    }

    /// Finds the token that `uri` names, opens a session and logs in: with the PIN of the URI or of
    /// the options, at the PIN pad where the token has one, not at all where it needs no login.
    ///
    /// # Errors
    /// `InvalidArgument` where the URI names no module, `ModuleUnavailable`, `TokenNotFound`,
    /// `TokenUnavailable`, `PinRequired` where a PIN is needed and none is given, `PinIncorrect`
    /// after one attempt, `PinLocked`.
    pub fn open_with(uri: &TokenUri, options: TokenOptions) -> Result<Self> {
        let path = uri.module_path().ok_or_else(|| {
            Error::new(ErrorKind::InvalidArgument, "the token URI names no module")
                .with_hint("add ?module-path=/path/to/module.so")
        })?;
        let module = Module::load(path)?;
        let info = module.find(uri)?;
        let pin = match uri.pin()? {
            Some(pin) => Some(pin),
            None => options.pin,
        };
        let anchor = open_session(&module, &info).map_err(|cause| fault("open a session", cause))?;
        log_in(&module, &anchor, &info, pin.as_ref())?;
        let capabilities = module.capabilities(&info)?;
        let max = match info.max_sessions {
            // One of them is the anchor's.
            Some(limit) => options.max_sessions.min(usize::try_from(limit - 1).unwrap_or(usize::MAX)).max(1),
            None => options.max_sessions,
        };
        tracing::debug!(token = info.label, max, "opened a token");
        let state = State { idle: Vec::new(), open: 0, max, _anchor: anchor };
        Ok(Self(Arc::new(Pool {
            module,
            info,
            capabilities,
            session_timeout: options.session_timeout,
            state: Mutex::new(state),
            returned: Condvar::new(),
        })))
    }

    /// The token, as it described itself when it was opened.
    #[must_use]
    pub fn info(&self) -> &TokenInfo {
        &self.0.info
    }

    /// What the token can do.
    #[must_use]
    pub fn capabilities(&self) -> &Capabilities {
        &self.0.capabilities
    }

    /// A session of one's own, idle or new, until it is dropped.
    pub(crate) fn session(&self) -> Result<Session<'_>> {
        let pool = &*self.0;
        let deadline = Instant::now() + pool.session_timeout;
        let mut state = pool.lock();
        loop {
            if let Some(session) = state.idle.pop() {
                return Ok(Session::new(&pool.module, pool, session));
            }
            if state.open < state.max {
                state.open += 1;
                drop(state);
                match open_session(&pool.module, &pool.info) {
                    Ok(session) => return Ok(Session::new(&pool.module, pool, session)),
                    Err(cause) => {
                        state = pool.lock();
                        state.open -= 1;
                        // Fewer than we hoped for: make do with those that there are.
                        if !is_session_limit(&cause) || state.open == 0 {
                            return Err(fault("open a session", cause));
                        }
                        tracing::warn!(sessions = state.open, "the token gives no more sessions");
                        state.max = state.open;
                    }
                }
                continue;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Error::new(
                    ErrorKind::Timeout,
                    format!("no session became free within {:?}; all {} are in use", pool.session_timeout, state.max),
                ));
            }
            state = pool.returned.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token('{}', serial {})", self.0.info.label, self.0.info.serial)
    }
}

/// Where a session goes when its borrower is done.
pub(super) trait Lender: Sync {
    /// Takes back a session, or learns that one is lost.
    fn take_back(&self, session: Option<RawSession>);
}

impl Lender for Pool {
    fn take_back(&self, session: Option<RawSession>) {
        let mut state = self.lock();
        match session {
            Some(session) => state.idle.push(session),
            None => state.open -= 1,
        }
        drop(state);
        self.returned.notify_one();
    }
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn open_session(module: &Module, info: &TokenInfo) -> Result<RawSession, Cause> {
    let _gate = module.shared();
    if info.write_protected {
        module.context.open_ro_session(info.slot)
    } else {
        module.context.open_rw_session(info.slot)
    }
}

fn log_in(module: &Module, session: &RawSession, info: &TokenInfo, pin: Option<&Pin>) -> Result<()> {
    if !info.login_required {
        return Ok(());
    }
    // The login is the process's and changes what every session sees.
    let _gate = module.exclusive();
    let _quiet = module.neighbours.nobody();
    let answer = match pin {
        // CKF_PROTECTED_AUTHENTICATION_PATH: a NULL PIN, the operator enters it at the token.
        None if info.pin_pad => session.login(UserType::User, None),
        None => {
            return Err(Error::new(ErrorKind::PinRequired, format!("token '{}' needs a PIN", info.label))
                .with_hint("give it with pin-source=file:/path in the token URI"));
        }
        Some(pin) => session.login_with_raw(UserType::User, &pin.expose_raw()),
    };
    match answer {
        // The login is process-wide: another session of this process has done it.
        Ok(()) | Err(Cause::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
        Err(cause) => Err(fault("log in", cause)),
    }
}
