//! The sessions of an opened token: one login and a bounded number of them.

use super::fault::{Trouble, judge, no_answer};
use super::gate::Access;
use super::handle::Handle;
use super::info::TokenInfo;
use super::login::Logins;
use super::module::{Module, check_process, is_forked};
use super::observe;
use super::options::TokenOptions;
use super::outage::{Loss, Outage};
use super::pin::Pin;
use super::process_login::ProcessLogin;
use super::profile::TokenProfile;
use super::session::Session;
use super::uri::TokenUri;
use super::workers::{NoAnswer, Workers};
use crate::error::{Error, ErrorKind, Result};
use cryptoki::context::Function;
use cryptoki::error::{Error as Cause, RvError};
use std::cell::Cell;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

/// The sessions of one token, lent to one thread each. A thread holds one at a time, so that it waits
/// for nobody who waits for it.
pub(super) struct Pool {
    pub(super) me: Weak<Self>,
    pub(super) module: Arc<Module>,
    pub(super) uri: TokenUri,
    pub(super) pin: Option<Pin>,
    pub(super) workers: Workers,
    pub(super) profile: TokenProfile,
    pub(super) label: Arc<str>,
    pub(super) logins: Arc<Logins>,
    /// Shared with every other pool of the token in this process.
    pub(super) login: Arc<ProcessLogin>,
    pub(super) info: TokenInfo,
    pub(super) options: TokenOptions,
    pub(super) state: Mutex<State>,
    pub(super) changed: Condvar,
    /// Calls in a row that were not answered in time.
    pub(super) silences: AtomicU32,
}

pub(super) struct State {
    pub(super) phase: Phase,
    /// Counts how often the token was opened. What is known of it holds within one generation.
    pub(super) generation: u64,
    /// The token as it is found now: its slot may be another than before.
    pub(super) info: Arc<TokenInfo>,
    /// The module's initialization that it was opened in. Object handles end with it, too.
    pub(super) epoch: u64,
    /// Held for the login's sake.
    pub(super) anchor: Option<Handle>,
    /// Sessions that could not be closed while the token did not answer.
    pub(super) left: Vec<Handle>,
    pub(super) idle: Vec<Handle>,
    pub(super) lent: usize,
    pub(super) max: usize,
}

pub(super) enum Phase {
    Up,
    /// One thread opens the token again. The outage that went before, where an attempt has failed.
    Opening(Option<Outage>),
    Down(Outage),
}

impl Pool {
    pub(super) fn new(
        module: Arc<Module>,
        uri: TokenUri,
        pin: Option<Pin>,
        workers: Workers,
        profile: TokenProfile,
        found: TokenInfo,
        options: TokenOptions,
    ) -> Result<Self> {
        // Before the first session: while there are any of this process, what is known of the login stays known.
        let login = module.process_login(&found)?;
        Ok(Self {
            me: Weak::new(),
            module,
            uri,
            pin,
            workers,
            profile,
            label: found.label.as_str().into(),
            logins: Arc::default(),
            login,
            info: found.clone(),
            state: Mutex::new(State {
                phase: Phase::Up,
                generation: 1,
                epoch: 0,
                max: limit(&options, &found),
                info: Arc::new(found),
                anchor: None,
                left: Vec::new(),
                idle: Vec::new(),
                lent: 0,
            }),
            options,
            changed: Condvar::new(),
            silences: AtomicU32::new(0),
        })
    }

    /// Logs in for the first time.
    pub(super) fn begin(&self) -> Result<()> {
        let (anchor, _) = self.connect_to(self.info.clone(), false)?;
        self.lock().hold(anchor);
        Ok(())
    }

    /// The token, as it described itself when it was opened.
    pub(super) fn info(&self) -> &TokenInfo {
        &self.info
    }

    /// When an operation that begins now stops waiting.
    pub(super) fn deadline(&self) -> Option<Instant> {
        Instant::now().checked_add(self.options.session_timeout)
    }

    /// Lends a session: an idle one, or a new one. A `fresh` one is new where there may be more.
    pub(super) fn session(&self, deadline: Option<Instant>, fresh: bool) -> Result<Session<'_>> {
        check_process()?;
        let began = Instant::now();
        let mut gone = false;
        let mut state = self.lock();
        loop {
            match &state.phase {
                Phase::Up if state.epoch != self.module.epoch() => {
                    // Somebody has started the module anew: sessions and object handles mean nothing now.
                    state.phase = Phase::Down(Outage::begin(Loss::Sessions, &self.workers));
                    observe::down(&self.label);
                    continue;
                }
                Phase::Up => {
                    let room = state.lent + state.idle.len() < state.max;
                    if !(fresh && room)
                        && let Some(handle) = state.idle.pop()
                    {
                        state.lent += 1;
                        let generation = state.generation;
                        drop(state);
                        observe::waited(&self.label, began);
                        return Ok(Session::new(self, handle, generation));
                    }
                    if room {
                        state.lent += 1;
                        let (generation, epoch, info) = (state.generation, state.epoch, Arc::clone(&state.info));
                        drop(state);
                        let refused = match self.open_handle(&info) {
                            Ok(handle) if handle.epoch() == epoch => {
                                observe::waited(&self.label, began);
                                return Ok(Session::new(self, handle, generation));
                            }
                            Ok(handle) => {
                                self.close(handle);
                                self.take_back(None);
                                state = self.lock();
                                continue;
                            }
                            Err(refused) => refused,
                        };
                        self.take_back(None);
                        state = self.lock();
                        let others = state.lent + state.idle.len();
                        match refused.trouble {
                            // Fewer than we hoped for: make do with those that there are.
                            _ if refused.at_limit && others > 0 => {
                                tracing::warn!(sessions = others, "the token gives no more sessions");
                                state.max = others;
                            }
                            trouble if trouble.is_suspicious() && !gone => {
                                gone = true;
                                drop(state);
                                self.lost(generation, Loss::of(trouble));
                                state = self.lock();
                            }
                            trouble => {
                                drop(state);
                                if trouble == Trouble::Silence {
                                    self.silent(generation);
                                }
                                return Err(refused.error);
                            }
                        }
                        continue;
                    }
                }
                Phase::Down(outage) if outage.is_over(&self.workers) => {
                    state = self.reopen(state, deadline)?;
                    continue;
                }
                Phase::Down(outage) | Phase::Opening(Some(outage)) => return Err(outage.error(&self.label)),
                Phase::Opening(None) => {}
            }
            state = self.wait(state, deadline).ok_or_else(|| self.no_session())?;
        }
    }

    /// Takes back a session that was lent; none where it is lost.
    pub(super) fn take_back(&self, handle: Option<Handle>) {
        let mut state = self.lock();
        state.lent -= 1;
        state.idle.extend(handle);
        drop(state);
        self.changed.notify_all();
    }

    pub(super) fn open_handle(&self, info: &Arc<TokenInfo>) -> Result<Handle, NotOpened> {
        let (module, info) = (Arc::clone(&self.module), Arc::clone(info));
        let (action, mut at_limit) = ("open a session", false);
        let opened = self.workers.run(&self.module.gate(), Access::Shared, move || Handle::open(&module, &info));
        let (error, trouble) = match opened {
            Ok(Ok(handle)) => return Ok(handle),
            Ok(Err(cause)) => {
                at_limit = matches!(cause, Cause::Pkcs11(RvError::SessionCount, Function::OpenSession));
                judge(action, cause)
            }
            Err(none) => no_answer(action, none),
        };
        Err(NotOpened { error, trouble, at_limit })
    }

    /// Closes a session, or leaves it to a thread that hangs.
    pub(super) fn close(&self, handle: Handle) {
        let closed = self.workers.run_with(&self.module.gate(), Access::Shared, Cell::new(Some(handle)), |handle| {
            handle.take().into_iter().for_each(Handle::close);
        });
        if let Err((_, Some(handle))) = closed {
            self.lock().left.extend(handle.into_inner());
        }
    }

    /// Waits for a change; `None` after the deadline.
    pub(super) fn wait<'a>(
        &self,
        state: MutexGuard<'a, State>,
        deadline: Option<Instant>,
    ) -> Option<MutexGuard<'a, State>> {
        let Some(deadline) = deadline else {
            return Some(self.changed.wait(state).unwrap_or_else(PoisonError::into_inner));
        };
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        Some(self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0)
    }

    pub(super) fn no_session(&self) -> Error {
        let within = self.options.session_timeout;
        let state = self.lock();
        let message = match state.phase {
            Phase::Up => format!("no session became free within {within:?}; all {} are in use", state.max),
            _ => format!("token '{}' was not back within {within:?}", self.label),
        };
        Error::new(ErrorKind::Timeout, message)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        // The anchor last: it holds the login.
        let open: Vec<Handle> = state.left.drain(..).chain(state.idle.drain(..)).chain(state.anchor.take()).collect();
        if is_forked() {
            open.into_iter().for_each(Handle::forget);
        } else {
            // A close that hangs keeps the login, and so what is known of it.
            let login = Arc::clone(&self.login);
            let _ = self.workers.run(&self.module.gate(), Access::Shared, move || {
                open.into_iter().for_each(Handle::close);
                drop(login);
            });
        }
    }
}

/// The most sessions that are lent at once.
pub(super) fn limit(options: &TokenOptions, info: &TokenInfo) -> usize {
    match info.max_sessions {
        // One of them is the anchor's.
        Some(limit) => options.max_sessions.min(usize::try_from(limit - 1).unwrap_or(usize::MAX)).max(1),
        None => options.max_sessions,
    }
}

impl State {
    /// Keeps the session that was logged in. Where it is the only one that the token allows, it is lent.
    pub(super) fn hold(&mut self, anchor: Handle) {
        self.epoch = anchor.epoch();
        if self.info.max_sessions == Some(1) {
            self.idle.push(anchor);
        } else {
            self.anchor = Some(anchor);
        }
    }
}

/// Why there is no new session.
pub(super) struct NotOpened {
    pub(super) error: Error,
    pub(super) trouble: Trouble,
    /// There are as many as the token allows.
    pub(super) at_limit: bool,
}

pub(super) fn unanswered<T>(action: &'static str, answer: Result<T, NoAnswer>) -> Result<T> {
    answer.map_err(|none| no_answer(action, none).0)
}
