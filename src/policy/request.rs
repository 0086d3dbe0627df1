//! What is asked of the policies.

use crate::key::{AlgorithmChoice, EncryptionContext, KeyDescription, KeyName, Operation, Principal};
use std::fmt;
use std::time::SystemTime;

/// What something is asked of.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Resource<'a> {
    /// A key of which nothing but the name is known: no token was asked yet.
    Named(&'a KeyName),
    /// A key, as its token or a cache describes it.
    Key(&'a KeyDescription),
    /// A key that is to be made. To policies it is pending, generated, and of version 1.
    New {
        /// The name that it is to have.
        name: &'a KeyName,
        /// The algorithm that was asked for; `"auto"` to policies where that is the token's choice.
        algorithm: AlgorithmChoice,
    },
    /// All keys.
    All,
}

impl Resource<'_> {
    /// The name of the key, where it is one.
    pub(super) fn name(&self) -> Option<&KeyName> {
        match self {
            Self::Named(name) | Self::New { name, .. } => Some(name),
            Self::Key(key) => Some(&key.name),
            Self::All => None,
        }
    }
}

/// ` with key 'NAME'`, ` with key 'NAME:VERSION'`, or nothing: the end of a sentence.
impl fmt::Display for Resource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) | Self::New { name, .. } => write!(f, " with key '{name}'"),
            Self::Key(key) => write!(f, " with key '{}'", key.label()),
            Self::All => Ok(()),
        }
    }
}

/// One question to the policies: may this principal do that with this key, with this encryption context, now?
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub(super) principal: &'a Principal,
    pub(super) operation: Operation,
    pub(super) resource: Resource<'a>,
    pub(super) context: Option<&'a EncryptionContext>,
    pub(super) time: Option<SystemTime>,
}

impl<'a> Request<'a> {
    /// Whether `principal` may do this, without an encryption context, at the time when it is decided.
    #[must_use]
    pub fn new(principal: &'a Principal, operation: Operation, resource: Resource<'a>) -> Self {
        Self { principal, operation, resource, context: None, time: None }
    }

    /// With this encryption context.
    #[must_use]
    pub fn context(mut self, context: &'a EncryptionContext) -> Self {
        self.context = Some(context);
        self
    }

    /// At this time.
    #[must_use]
    pub fn at(mut self, time: SystemTime) -> Self {
        self.time = Some(time);
        self
    }
}
