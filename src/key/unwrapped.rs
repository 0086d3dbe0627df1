//! A data key that was unwrapped, with the facts that unwrapping it has confirmed.

use super::{DataKey, KeyDescription, Origin, WrappedKey, WrappedKeys};
use crate::error::{Error, ErrorKind, Result};
use subtle::ConstantTimeEq;

/// A data key, the wrapped key that it came from, and the version of a master key that unwrapped it.
///
/// These are facts, not claims of the data: the token has unwrapped `wrapped` with `key`. For a symmetric key the
/// token has also authenticated [`occasion`](WrappedKey::occasion) and the encryption context.
#[derive(Debug)]
#[non_exhaustive]
pub struct UnwrappedKey {
    /// The data key.
    pub data_key: DataKey,
    /// The wrapped key that opened.
    pub wrapped: WrappedKey,
    /// The version of a master key that unwrapped it.
    pub key: KeyDescription,
}

impl UnwrappedKey {
    /// Returns these facts as one value, for implementors of [`KeyProvider`](super::KeyProvider).
    #[must_use]
    pub fn new(data_key: DataKey, wrapped: WrappedKey, key: KeyDescription) -> Self {
        Self { data_key, wrapped, key }
    }

    /// Returns the secret bytes of the data key, as [`DataKey::expose_secret`].
    #[must_use]
    pub fn expose_secret(&self) -> &[u8] {
        self.data_key.expose_secret()
    }

    /// Returns a copy, for providers that keep data keys.
    pub(crate) fn duplicate(&self) -> Self {
        Self { data_key: self.data_key.duplicate(), wrapped: self.wrapped.clone(), key: self.key.clone() }
    }
}

/// Rewraps: unwraps the first of `wrapped` that opens, symmetric ones first, and puts what `wrap` makes of its data
/// key in its place.
///
/// Other entries are replaced only if they open to the same data key. Those that do not open, here or at all, stay as
/// they are: were they replaced or dropped on their word, the writer of the list could have a data key wrapped under a
/// key that never held it, or taken from those who need it.
pub(crate) fn rewrap(
    wrapped: &WrappedKeys,
    origin: Origin,
    unwrap: impl Fn(&WrappedKeys) -> Result<UnwrappedKey>,
    wrap: impl FnOnce(&DataKey) -> Result<WrappedKeys>,
) -> Result<WrappedKeys> {
    let source = unwrap_symmetric_first(wrapped, &unwrap)?;
    let moved = wrap(&source.data_key)?;
    origin.check_wrapped(&source.wrapped, &moved)?;
    let opens_to_it = |one: &WrappedKey| match unwrap(&one.clone().into()) {
        Ok(other) => bool::from(other.data_key.ct_eq(&source.data_key)),
        // It may open elsewhere, or another time: it stays.
        Err(_) => false,
    };
    let mut new = Some(moved.into_vec());
    let mut all = Vec::new();
    for one in wrapped {
        match *one == source.wrapped || opens_to_it(one) {
            true => all.extend(new.take().unwrap_or_default()),
            false => all.push(one.clone()),
        }
    }
    all.extend(new.unwrap_or_default());
    WrappedKeys::new(all)
}

/// Unwraps the first that opens; those under RSA keys only if none under a symmetric key does, because what a symmetric
/// key opens is authentic.
fn unwrap_symmetric_first(
    wrapped: &WrappedKeys,
    unwrap: impl Fn(&WrappedKeys) -> Result<UnwrappedKey>,
) -> Result<UnwrappedKey> {
    let (rsa, symmetric): (Vec<_>, Vec<_>) = wrapped.iter().cloned().partition(|one| one.algorithm().is_rsa());
    if rsa.is_empty() || symmetric.is_empty() {
        return unwrap(wrapped);
    }
    match unwrap(&WrappedKeys::new(symmetric)?) {
        // Another time a symmetric key may open it; that an RSA key does now is no reason to do with less.
        Err(error) if error.kind().is_unavailable() => Err(error),
        Err(error) => unwrap(&WrappedKeys::new(rsa)?).map_err(|other| match error.kind() {
            ErrorKind::KeyNotFound => other,
            _ => error,
        }),
        opened => opened,
    }
}

/// Opens the first of `wrapped` that opens, symmetric ones first. If none does, returns the first error that says more
/// than "not found", else the first.
pub(crate) fn first_that_opens<T>(wrapped: &WrappedKeys, open: impl Fn(&WrappedKey) -> Result<T>) -> Result<T> {
    let mut kept: Option<Error> = None;
    let symmetric = wrapped.iter().filter(|one| !one.algorithm().is_rsa());
    for one in symmetric.chain(wrapped.iter().filter(|one| one.algorithm().is_rsa())) {
        match open(one) {
            Ok(opened) => return Ok(opened),
            Err(error) if kept.as_ref().is_none_or(|kept| kept.kind() == ErrorKind::KeyNotFound) => kept = Some(error),
            Err(_) => {}
        }
    }
    Err(kept.unwrap_or_else(Error::not_authentic))
}
