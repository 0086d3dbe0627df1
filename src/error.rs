//! One error type: a kind to match on, a sentence for people, and sometimes a hint.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

type Source = Box<dyn StdError + Send + Sync + 'static>;

/// What went wrong, for callers to match on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An argument is not of the form it must have: a name, a URI, a context, a range, a key file.
    InvalidArgument,
    /// No key of that name, version or KEK id is on the token, or none that this provider may use.
    KeyNotFound,
    /// A key of that name and version exists already.
    KeyExists,
    /// The number of a key version was used before, or could be used a second time.
    VersionReuse,
    /// Two objects claim one name and version, or one KEK id. Protecting is refused; recovery goes
    /// by KEK id and still works where that is unique.
    DuplicateKey,
    /// The key's state forbids this use: disabled, or retired where an active key is needed.
    KeyState,
    /// The key's attributes on the token are not those of a protected master key.
    KeyAttributes,
    /// The output exists and replacing it was not asked for.
    OutputExists,
    /// The file is not a Keyward envelope, is damaged in its structure, or is of an unknown version.
    NotAnEnvelope,
    /// The file's encryption context is not the one the caller expects.
    ContextMismatch,
    /// The one answer to every failed unwrapping and decryption: wrong key, wrong context, altered
    /// or truncated bytes. It says no more on purpose.
    NotAuthentic,
    /// The audit log is not the one that its keys and anchors vouch for: evidence of tampering. Nothing was asked of
    /// the key.
    Tampered,
    /// A policy refuses it. Nothing was asked of the key.
    PolicyDenied,
    /// An RSA key opened the data, which proves nothing about its writer, and it was to go under a symmetric key
    /// without the caller's assertion of its [origin](crate::key::Origin).
    OriginUnverified,
    /// Several keys open the data, or one that is not known here, and the caller has not said which of them shall open
    /// it after a re-encryption.
    RecipientsAmbiguous,
    /// A stated limit of the format or of a key's use is reached.
    LimitExceeded,
    /// The module could not be loaded, or is not a PKCS#11 module.
    ModuleUnavailable,
    /// No token, or more than one, matches the URI.
    TokenNotFound,
    /// The token does not answer as it should: removed, failing, or out of sessions.
    TokenUnavailable,
    /// A deadline passed: while waiting for a session, for a token that went away, or for the answer
    /// to a call. The call may still take effect.
    Timeout,
    /// The token, or this build, lacks the mechanism or feature.
    Unsupported,
    /// A PIN is needed and none was given.
    PinRequired,
    /// The token refused the PIN. It is never tried twice.
    PinIncorrect,
    /// The PIN is locked, expired or not initialized.
    PinLocked,
    /// An operating system call on a file or stream failed.
    Io,
    /// Something that should not happen: a defect in Keyward or in the module.
    Internal,
}

impl ErrorKind {
    /// Whether it is the token that does not serve: absent, failing, overdue, or not logged in to.
    /// Another token may do what was asked for, and so may this one another time. Every other kind
    /// is an answer, which asking elsewhere does not change.
    #[must_use]
    pub fn is_unavailable(self) -> bool {
        match self {
            Self::TokenUnavailable | Self::Timeout | Self::ModuleUnavailable | Self::TokenNotFound => true,
            _ => self.is_of_the_pin(),
        }
    }

    /// Whether trying again with the same PIN may lock the token, or cannot help.
    pub(crate) fn is_of_the_pin(self) -> bool {
        matches!(self, Self::PinRequired | Self::PinIncorrect | Self::PinLocked)
    }
}

/// Why an operation failed.
///
/// `Display` prints one line without the cause; the cause is reached through
/// [`source`](StdError::source), what to do about it through [`hint`](Error::hint).
/// No secret is ever part of an error.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: Cow<'static, str>,
    hint: Option<Cow<'static, str>>,
    source: Option<Source>,
}

impl Error {
    /// An error of `kind` that says `message`.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner { kind, message: message.into(), hint: None, source: None }))
    }

    /// Adds what a person can do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Source>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The same error in other words.
    pub(crate) fn with_message(mut self, message: impl Into<Cow<'static, str>>) -> Self {
        self.0.message = message.into();
        self
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What a person can do about it, where there is something to do.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// The uniform answer to every failed unwrapping or decryption ([`ErrorKind::NotAuthentic`]).
    pub(crate) fn not_authentic() -> Self {
        Self::new(
            ErrorKind::NotAuthentic,
            "cannot decrypt: wrong key, wrong encryption context, or altered or truncated data",
        )
    }

    /// An operating system error, with what was being done.
    pub(crate) fn io(message: impl Into<Cow<'static, str>>, source: std::io::Error) -> Self {
        // An error of ours that travelled through `std::io` comes out as itself.
        if source.get_ref().is_some_and(|inner| inner.is::<Error>()) {
            if let Some(Ok(own)) = source.into_inner().map(|inner| inner.downcast::<Error>()) {
                return *own;
            }
            return Self::new(ErrorKind::Io, message);
        }
        Self::new(ErrorKind::Io, message).with_source(source)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("message", &self.0.message)
            .field("hint", &self.0.hint)
            .field("source", &self.0.source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

/// For `Read` and `Write` adaptors: the error travels inside and comes back out whole.
impl From<Error> for std::io::Error {
    fn from(error: Error) -> Self {
        let kind = match error.kind() {
            ErrorKind::NotAuthentic | ErrorKind::NotAnEnvelope => std::io::ErrorKind::InvalidData,
            ErrorKind::InvalidArgument => std::io::ErrorKind::InvalidInput,
            _ => std::io::ErrorKind::Other,
        };
        std::io::Error::new(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_survives_the_way_through_std_io() {
        let there = std::io::Error::from(Error::not_authentic());
        let back = Error::io("reading", there);
        assert_eq!(back.kind(), ErrorKind::NotAuthentic);
    }

    #[test]
    fn display_does_not_repeat_the_cause() {
        let error = Error::io("cannot open 'x'", std::io::Error::from(std::io::ErrorKind::NotFound));
        assert_eq!(error.to_string(), "cannot open 'x'");
        assert!(StdError::source(&error).is_some());
    }
}
