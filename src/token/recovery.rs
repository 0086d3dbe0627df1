//! What becomes of a token that went away: who notices, who opens it again, and who waits.

use super::fault::{Trouble, judge};
use super::gate::Access;
use super::handle::Handle;
use super::module::User;
use super::observe;
use super::outage::{Loss, Outage};
use super::pool::{Phase, Pool, State, limit};
use super::workers::NoAnswer;
use crate::error::Result;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard};
use std::time::Instant;

/// So many calls in a row without an answer, and the token is held to be down.
const BREAKER: u32 = 3;

impl Pool {
    /// Opens the token again; the others wait meanwhile, or are refused where an attempt has failed
    /// already: one thread at a time tries whether the token is back.
    pub(super) fn reopen<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        deadline: Option<Instant>,
    ) -> Result<MutexGuard<'a, State>> {
        let Phase::Down(outage) = std::mem::replace(&mut state.phase, Phase::Opening(None)) else {
            return Ok(state);
        };
        let loss = outage.loss;
        if outage.has_been_tried() {
            state.phase = Phase::Opening(Some(outage.clone()));
        }
        // The sessions that are out come back first: their numbers may be given to new ones.
        while state.lent > 0 {
            match self.wait(state, deadline) {
                Some(waited) => state = waited,
                None => {
                    self.lock().phase = Phase::Down(outage);
                    self.changed.notify_all();
                    return Err(self.no_session());
                }
            }
        }
        let old: Vec<Handle> = state.anchor.take().into_iter().chain(state.idle.drain(..)).collect();
        drop(state);
        let left = self.end(old, loss);
        let opened = self.reconnect();
        let mut state = self.lock();
        state.left.extend(left);
        let mut left = Vec::new();
        match opened {
            Ok((anchor, info)) => {
                state.generation += 1;
                state.max = limit(&self.options, &info);
                state.info = Arc::new(info);
                state.hold(anchor);
                state.phase = Phase::Up;
                left.append(&mut state.left);
                tracing::info!(token = %self.label, generation = state.generation, "opened the token again");
            }
            Err(error) => {
                tracing::warn!(token = %self.label, %error, "the token is not back");
                let for_good = self.logins.are_over();
                state.phase = Phase::Down(outage.go_on(error, &self.workers, for_good));
            }
        }
        observe::reopened(&self.label, matches!(state.phase, Phase::Up));
        self.changed.notify_all();
        if left.is_empty() {
            return Ok(state);
        }
        drop(state);
        left.into_iter().for_each(|handle| self.close(handle));
        Ok(self.lock())
    }

    /// Finds out whether only a session is gone, or the token.
    pub(super) fn examine(&self, generation: u64) {
        if self.lock().generation != generation {
            return;
        }
        match self.probe() {
            Ok(handle) => {
                let mut state = self.lock();
                let room = state.lent + state.idle.len() < state.max;
                let current = state.generation == generation && state.epoch == handle.epoch();
                if room && current && matches!(state.phase, Phase::Up) {
                    state.idle.push(handle);
                    drop(state);
                    self.changed.notify_all();
                } else {
                    drop(state);
                    self.close(handle);
                }
            }
            Err(Some(loss)) => self.lost(generation, loss),
            Err(None) => {}
        }
    }

    /// A new session that shows the login, else what is lost; `None` where that is not known.
    fn probe(&self) -> Result<Handle, Option<Loss>> {
        let info = Arc::clone(&self.lock().info);
        let handle = self.open_handle(&info).map_err(|refused| match refused.trouble {
            // Others keep them, or the module: that says nothing.
            Trouble::None => None,
            _ if refused.at_limit => None,
            trouble => Some(Loss::of(trouble)),
        })?;
        match self.workers.run_with(&self.module.gate(), Access::Shared, handle, Handle::is_logged_in) {
            Ok((handle, Ok(true))) => Ok(handle),
            Ok((handle, Ok(false))) if !info.login_required => Ok(handle),
            Ok((handle, Ok(false))) => {
                self.close(handle);
                Err(Some(Loss::Login))
            }
            Ok((handle, Err(cause))) => {
                let loss = Loss::of(judge("look at a session", cause).1);
                if loss == Loss::Sessions {
                    handle.forget()
                } else {
                    self.close(handle)
                }
                Err(Some(loss))
            }
            Err((NoAnswer::InTime, _)) => Err(Some(Loss::Answers)),
            Err((_, handle)) => {
                handle.into_iter().for_each(|handle| self.close(handle));
                Err(None)
            }
        }
    }

    /// Nobody uses this generation any more.
    pub(super) fn lost(&self, generation: u64, loss: Loss) {
        let mut state = self.lock();
        if state.generation == generation && matches!(state.phase, Phase::Up) {
            tracing::warn!(token = %self.label, lost = loss.name(), "the token went away");
            state.phase = Phase::Down(Outage::begin(loss, &self.workers));
            drop(state);
            observe::down(&self.label);
            self.changed.notify_all();
        }
    }

    /// A call was not answered in time.
    pub(super) fn silent(&self, generation: u64) {
        if self.silences.fetch_add(1, Ordering::Relaxed) + 1 >= BREAKER {
            self.silences.store(0, Ordering::Relaxed);
            self.lost(generation, Loss::Answers);
        }
    }

    /// A call was answered.
    pub(super) fn answered(&self) {
        if self.silences.load(Ordering::Relaxed) > 0 {
            self.silences.store(0, Ordering::Relaxed);
        }
    }
}

impl User for Pool {
    fn is_served(&self) -> bool {
        if !matches!(self.lock().phase, Phase::Up) {
            return false;
        }
        match self.probe() {
            Ok(handle) => {
                self.close(handle);
                true
            }
            Err(loss) => loss.is_none(),
        }
    }
}
