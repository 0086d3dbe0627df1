//! What is told to a log: an operation before it is done, and what came of it.

use super::hash::Id;
use super::line::{Ended, Entry, LineKey};
use crate::error::{Error, ErrorKind, Result};
use crate::key::{EncryptionContext, KekId, KeyDescription, KeyName, KeyVersion, Operation, Principal};
use std::collections::BTreeMap;

/// An operation that is about to be done, or that is refused.
#[derive(Clone, Debug)]
pub struct Event {
    operation: Operation,
    principal: String,
    keys: Vec<LineKey>,
    context: BTreeMap<String, String>,
    wraps: Vec<Id>,
}

impl Event {
    /// `principal` asks for `operation`.
    #[must_use]
    pub fn new(operation: Operation, principal: &Principal) -> Self {
        let principal = principal.recorded().to_owned();
        Self { operation, principal, keys: Vec::new(), context: BTreeMap::new(), wraps: Vec::new() }
    }

    /// Of this key; of several where it is called for each.
    #[must_use]
    pub fn key(mut self, key: impl Into<EventKey>) -> Self {
        self.keys.push(key.into().0);
        self
    }

    /// Under this encryption context.
    #[must_use]
    pub fn context(mut self, context: &EncryptionContext) -> Self {
        self.context = context.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        self
    }

    /// It is an AES-GCM wrap under this key, which is counted ([`AuditLog::wraps`](super::AuditLog::wraps)).
    #[must_use]
    pub fn wraps(mut self, kek: KekId) -> Self {
        self.wraps.push(Id::from_bytes(*kek.as_bytes()));
        self
    }

    pub(super) fn intent(self, request: Id) -> Entry {
        let Self { operation, principal, keys, context, wraps } = self;
        Entry::Intent { request, principal, operation: operation.name().to_owned(), keys, context, wraps }
    }

    pub(super) fn refused(self, request: Id, error: &Error) -> Entry {
        let Self { operation, principal, keys, context, .. } = self;
        let error = kind_name(error.kind());
        Entry::Refused { request, principal, operation: operation.name().to_owned(), keys, context, error }
    }
}

/// What is known of a key that an event is about.
#[derive(Clone, Debug, Default)]
pub struct EventKey(LineKey);

impl EventKey {
    /// A key of which more is known than its name or its id alone.
    #[must_use]
    pub fn new(id: Option<KekId>, name: Option<&KeyName>, version: Option<KeyVersion>) -> Self {
        Self(LineKey {
            id: id.map(|id| Id::from_bytes(*id.as_bytes())),
            name: name.map(|name| name.as_str().to_owned()),
            version: version.map(KeyVersion::get),
        })
    }
}

impl From<KekId> for EventKey {
    fn from(id: KekId) -> Self {
        Self::new(Some(id), None, None)
    }
}

impl From<&KeyName> for EventKey {
    fn from(name: &KeyName) -> Self {
        Self::new(None, Some(name), None)
    }
}

impl From<&KeyDescription> for EventKey {
    fn from(key: &KeyDescription) -> Self {
        Self::new(Some(key.kek_id), Some(&key.name), Some(key.version))
    }
}

/// What came of an operation.
#[derive(Clone, Debug)]
pub struct Outcome {
    ended: Ended,
    error: Option<ErrorKind>,
    keys: Vec<LineKey>,
}

impl Outcome {
    /// That of an operation with this result.
    #[must_use]
    pub fn of<T>(result: &Result<T>) -> Self {
        match result {
            Ok(_) => Self { ended: Ended::Ok, error: None, keys: Vec::new() },
            Err(error) => Self::failed(error),
        }
    }

    /// That of an operation that failed with this error.
    #[must_use]
    pub fn failed(error: &Error) -> Self {
        Self { ended: Ended::Failed, error: Some(error.kind()), keys: Vec::new() }
    }

    /// That of an operation of which nobody knows whether it was done.
    #[must_use]
    pub fn unknown() -> Self {
        Self { ended: Ended::Unknown, error: None, keys: Vec::new() }
    }

    /// It turned out to be about this key, which the event could not know.
    #[must_use]
    pub fn key(mut self, key: impl Into<EventKey>) -> Self {
        self.keys.push(key.into().0);
        self
    }

    pub(super) fn entry(self, request: Id) -> Entry {
        let Self { ended, error, keys } = self;
        Entry::Outcome { request, outcome: ended, error: error.map(kind_name), keys }
    }
}

/// The kind alone. A message may repeat what a caller or a token said, and that may be anything.
fn kind_name(kind: ErrorKind) -> String {
    // `Debug` of a kind is its name.
    format!("{kind:?}")
}
