//! From a header to the key of its body, in the order that the format prescribes.

use super::body::{BodyKey, COMMITMENT_LEN, PREFIX_LEN, SALT_LEN};
use super::core::{Core, read_up_to};
use super::opening::{Opening, UnwrappedEntry};
use super::slots::{SlotCopy, SlotsKey};
use super::{BODY_CONTEXT, malformed, verifier};
use crate::cipher::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::key::{
    CustomerKey, DataKey, EncryptionContext, KeyProvider, UnwrappedKey, WrappedKey, WrappedKeys, WrappingAlgorithm,
};
use std::io::Read;

/// Salt and commitment, at the beginning of BODY.
#[derive(Clone)]
pub(super) struct Prefix {
    salt: [u8; SALT_LEN],
    commitment: [u8; COMMITMENT_LEN],
}

impl Prefix {
    pub(super) fn read(source: &mut impl Read) -> Result<Self> {
        let mut bytes = [0; PREFIX_LEN];
        if read_up_to(source, &mut bytes)? < PREFIX_LEN {
            return Err(Error::not_authentic());
        }
        let (mut salt, mut commitment) = ([0; SALT_LEN], [0; COMMITMENT_LEN]);
        salt.copy_from_slice(&bytes[..SALT_LEN]);
        commitment.copy_from_slice(&bytes[SALT_LEN..]);
        Ok(Self { salt, commitment })
    }

    /// The key of the body, where `data_key` is the one that the commitment commits to.
    fn body_key(&self, engine: Engine, data_key: &DataKey, core: &Core) -> Option<BodyKey> {
        let key = BodyKey::derive(engine, data_key, &self.salt, &[BODY_CONTEXT, core.as_bytes()]).ok()?;
        key.commits_to(&self.commitment).then_some(key)
    }
}

/// Which context the caller expects.
#[derive(Clone, Debug)]
pub(super) enum Expected {
    Exactly(EncryptionContext),
    Any,
}

impl Expected {
    /// Compares before any token call.
    pub(super) fn check(&self, core: &Core) -> Result<()> {
        match self {
            Self::Exactly(expected) if *expected != core.context => Err(context_mismatch(expected, &core.context)),
            _ => Ok(()),
        }
    }
}

fn context_mismatch(expected: &EncryptionContext, is: &EncryptionContext) -> Error {
    let show = |context: &EncryptionContext| {
        if context.is_empty() {
            return "no context".to_owned();
        }
        let pairs: Vec<_> =
            context.iter().map(|(key, value)| format!("{}={}", key.escape_debug(), value.escape_debug())).collect();
        pairs.join(" ")
    };
    // The context is authenticated, not secret: to show it gives nothing away.
    Error::new(
        ErrorKind::ContextMismatch,
        format!("the encryption context is not the one expected: {} instead of {}", show(is), show(expected)),
    )
    .with_hint("give the context that the file was encrypted with, if that is the file you mean")
}

/// With what an envelope is opened.
#[derive(Clone)]
pub(super) enum Opener<'a> {
    Provider(&'a dyn KeyProvider),
    Customer(&'a CustomerKey),
}

impl Opener<'_> {
    /// Opens an envelope: returns the key of its body, and the facts that opening has confirmed.
    pub(super) fn open(
        &self,
        engine: Engine,
        core: &Core,
        copy: &SlotCopy,
        prefix: &Prefix,
    ) -> Result<(BodyKey, Opening)> {
        let parsed: Vec<_> = copy.entries.iter().map(|entry| WrappedKey::parse(entry).ok()).collect();
        let is_customers = |entry: &WrappedKey| entry.algorithm() == WrappingAlgorithm::CustomerKey;
        let has_customers = parsed.iter().flatten().any(is_customers);
        // The caller, never the file, selects the mode.
        match self {
            Self::Provider(_) if has_customers => Err(Error::new(
                ErrorKind::InvalidArgument,
                "this file is encrypted under a customer's own key, not under a master key",
            )
            .with_hint("give that key")),
            Self::Customer(_) if !has_customers => Err(Error::new(
                ErrorKind::InvalidArgument,
                "this file is encrypted under a master key, not under a customer's own key",
            )),
            Self::Customer(key) => {
                let [Some(entry)] = &parsed[..] else {
                    return Err(malformed("malformed slots: more than the entry of the customer's key"));
                };
                verifier::check(key, entry, core.as_bytes())?;
                let body_key = prefix.body_key(engine, key.as_data_key(), core).ok_or_else(Error::not_authentic)?;
                copy.check(&SlotsKey::derive(key.as_data_key(), core)?)?;
                Ok((body_key, Opening::new(UnwrappedEntry::of_customer(entry), copy, 0)))
            }
            Self::Provider(provider) => recover(*provider, engine, core, copy, &parsed, prefix),
        }
    }
}

/// Opens the first entry whose data key is the one that the body commits to, and checks the tag with it.
///
/// One at a time: the first may be planted, under a key that the provider trusts, with a data key of another file.
/// Symmetric entries first: if one opens, a holder of its key has written the slots.
fn recover(
    provider: &dyn KeyProvider,
    engine: Engine,
    core: &Core,
    copy: &SlotCopy,
    parsed: &[Option<WrappedKey>],
    prefix: &Prefix,
) -> Result<(BodyKey, Opening)> {
    let mut failures = Vec::new();
    for (index, wrapped) in symmetric_first(parsed) {
        match open_entry(provider, engine, core, wrapped.clone(), prefix) {
            Ok((unwrapped, body_key)) => {
                // Another entry that opens gives the same data key, because the body commits to it, and so the same
                // answer: a wrong tag is final.
                copy.check(&SlotsKey::derive(&unwrapped.data_key, core)?)?;
                return Ok((body_key, Opening::new(UnwrappedEntry::of(unwrapped), copy, index)));
            }
            Err(error) => failures.push(error),
        }
    }
    Err(most_actionable(failures))
}

/// Returns the entries in the order in which they are tried. Unknown and malformed ones may be for a newer reader.
pub(super) fn symmetric_first(parsed: &[Option<WrappedKey>]) -> impl Iterator<Item = (usize, &WrappedKey)> {
    let known = || parsed.iter().enumerate().filter_map(|(index, entry)| Some((index, entry.as_ref()?)));
    let symmetric = known().filter(|(_, entry)| !entry.algorithm().is_rsa());
    symmetric.chain(known().filter(|(_, entry)| entry.algorithm().is_rsa()))
}

/// Unwraps the data key of one entry, and checks it against the body's commitment.
pub(super) fn open_entry(
    provider: &dyn KeyProvider,
    engine: Engine,
    core: &Core,
    wrapped: WrappedKey,
    prefix: &Prefix,
) -> Result<(UnwrappedKey, BodyKey)> {
    let unwrapped = provider.unwrap_data_key(&WrappedKeys::from(wrapped), &core.context.for_wrapping())?;
    let key = prefix.body_key(engine, &unwrapped.data_key, core).ok_or_else(Error::not_authentic)?;
    Ok((unwrapped, key))
}

/// Returns the reason why no entry opened that the caller can do most about: a token that does not answer, then a
/// refused ciphertext, then a key that may not be used, then one that is not there.
pub(super) fn most_actionable(failures: Vec<Error>) -> Error {
    let rank = |error: &Error| match error.kind() {
        kind if kind.is_unavailable() => 0,
        ErrorKind::NotAuthentic => 1,
        ErrorKind::KeyNotFound => 3,
        _ => 2,
    };
    let none = || {
        Error::new(ErrorKind::KeyNotFound, "none of the keys that this file is encrypted under may be used here")
            .with_hint("`keyward inspect` lists the KEK ids of a file")
    };
    let chosen = failures.into_iter().min_by_key(rank).unwrap_or_else(none);
    match chosen.kind() {
        ErrorKind::KeyNotFound if chosen.hint().is_none() => none(),
        _ => chosen,
    }
}
