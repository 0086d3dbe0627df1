//! The way of every operation: decided, recorded, done, and its outcome recorded.

use super::Governed;
use crate::audit::{Event, EventKey, Outcome};
use crate::error::{Error, ErrorKind, Result};
use crate::key::{EncryptionContext, KeyDescription, Operation};
use crate::policy::{Decision, Request, Resource};

/// What is asked for.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    operation: Operation,
    context: Option<&'a EncryptionContext>,
}

impl<'a> Asked<'a> {
    pub(super) fn of(operation: Operation) -> Self {
        Self { operation, context: None }
    }

    pub(super) fn context(mut self, context: &'a EncryptionContext) -> Self {
        self.context = Some(context);
        self
    }
}

impl<P> Governed<P> {
    /// Whether the policies have decided: true where they allow it, false where they must know more of the key.
    /// What they deny is an error.
    pub(super) fn decide(&self, asked: Asked<'_>, resource: Resource<'_>) -> Result<bool> {
        let Some(policies) = &self.policies else { return Ok(true) };
        let mut request = Request::new(&self.principal, asked.operation, resource);
        if let Some(context) = asked.context {
            request = request.context(context);
        }
        match policies.decide(&request) {
            Decision::Allowed { .. } => Ok(true),
            Decision::NeedsKey => Ok(false),
            Decision::Denied(denial) => Err(denial.into_error()),
        }
    }

    /// Records what ends before anything was asked of a key, and gives the error back: what is refused as that,
    /// and what failed, because there is no such key or no token, as failed.
    pub(super) fn refused(&self, asked: Asked<'_>, keys: impl IntoIterator<Item = EventKey>, error: Error) -> Error {
        let Some(log) = &self.log else { return error };
        let event = self.event(asked, keys);
        if matches!(error.kind(), ErrorKind::PolicyDenied | ErrorKind::LimitExceeded) {
            log.refused(event, &error);
            return error;
        }
        match log.begin(event) {
            Ok(pending) => {
                pending.finish(Outcome::failed(&error));
                error
            }
            Err(not_recorded) => not_recorded,
        }
    }

    /// Does `work` when it is on record that it will be done, and records what came of it. `about` names the keys
    /// that only the answer tells. Wraps are counted under `gcm`.
    pub(super) fn recorded<T>(
        &self,
        asked: Asked<'_>,
        keys: Vec<EventKey>,
        gcm: &[&KeyDescription],
        work: impl FnOnce() -> Result<T>,
        about: impl FnOnce(&T) -> Vec<EventKey>,
    ) -> Result<T> {
        let Some(log) = &self.log else { return work() };
        for key in gcm {
            if let Err(error) = self.limit.check_before(log, key) {
                return Err(self.refused(asked, keys, error));
            }
        }
        let event = gcm.iter().fold(self.event(asked, keys), |event, key| event.wraps(key.kek_id));
        // Fails closed: what cannot be recorded is not done.
        let pending = log.begin(event)?;
        // Once more, because others may have wrapped between: the count now has this wrap and theirs.
        let answer = gcm.iter().try_for_each(|key| self.limit.check_after(log, key)).and_then(|()| work());
        let outcome = Outcome::of(&answer);
        pending.finish(match &answer {
            Ok(value) => about(value).into_iter().fold(outcome, Outcome::key),
            Err(_) => outcome,
        });
        answer
    }

    fn event(&self, asked: Asked<'_>, keys: impl IntoIterator<Item = EventKey>) -> Event {
        let mut event = Event::new(asked.operation, &self.principal);
        if let Some(context) = asked.context {
            event = event.context(context);
        }
        keys.into_iter().fold(event, Event::key)
    }
}
