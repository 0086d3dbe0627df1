//! The canary: a data key that a master key wraps when it is made, kept in its record.
//!
//! It proves that the token does the algorithm as the standard says, and ever after that the key is
//! the one that it was: handles and labels may name another after a token was away, and some tokens
//! let a second key take the place of the first with its `CKA_ID`.

use super::object::MasterKey;
use super::wrap;
use crate::error::{Error, ErrorKind, Result};
use crate::key::{DataKeyLength, EncryptionContext, WrappedKey};
use crate::token::{Code, Session, Trouble};
use subtle::ConstantTimeEq;

/// The context of canaries: reserved, so that no canary can be taken for a caller's data key.
fn context() -> Result<EncryptionContext> {
    let mut context = EncryptionContext::new();
    context.insert_reserved("keyward:purpose".to_owned(), "canary".to_owned())?;
    Ok(context)
}

/// Wraps a canary and unwraps it again.
pub(super) fn prove(session: &Session<'_>, key: &MasterKey) -> Result<WrappedKey> {
    let label = key.description.label();
    let context = context()?;
    let proof = || -> Result<Option<WrappedKey>> {
        let (canary, wrapped) = wrap::generate(session, key, DataKeyLength::Bytes32, &context)?;
        let same = wrap::unwrap(session, key, &wrapped, &context)?.ct_eq(&canary);
        Ok(bool::from(same).then_some(wrapped))
    };
    let failed = || {
        Error::new(
            ErrorKind::Unsupported,
            format!("key '{label}' does not recover what it wrapped with {}", key.description.algorithm),
        )
        .with_hint("the token does not do this algorithm as the standard says; choose another with --algorithm")
    };
    match proof() {
        Ok(Some(wrapped)) => Ok(wrapped),
        Ok(None) => Err(failed()),
        Err(error) if matches!(error.kind(), ErrorKind::NotAuthentic | ErrorKind::Unsupported) => {
            Err(failed().with_source(error))
        }
        Err(error) => Err(error),
    }
}

/// Whether a key still recovers its canary. Where it does not, either the token fails or the key is
/// another, and that is found out. Keys made elsewhere have no canary to ask for.
pub(super) fn verify(session: &Session<'_>, key: &MasterKey) -> Result<()> {
    let Some(canary) = &key.canary else { return Ok(()) };
    let context = context()?;
    let recovers = || match wrap::unwrap(session, key, canary, &context) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotAuthentic => Ok(false),
        Err(error) => Err(error),
    };
    if recovers()? {
        return Ok(());
    }
    let label = key.description.label();
    match prove(session, key) {
        // It recovers what it wraps now. Did the token fail for a moment?
        Ok(_) if recovers()? => return Ok(()),
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::Unsupported => {
            let message = format!("the token recovers nothing with key '{label}'");
            return Err(Error::new(ErrorKind::TokenUnavailable, message));
        }
        Err(error) => return Err(error),
    }
    if let Trouble::Doubt(code) = session.trouble()
        && !is_refusal(session, key, code)?
    {
        let message = format!("the token fails now and then with key '{label}'");
        return Err(Error::new(ErrorKind::TokenUnavailable, message));
    }
    Err(Error::new(
        ErrorKind::KeyAttributes,
        format!("key '{label}' is not the key that it was: it does not recover what it wrapped when it was made"),
    )
    .with_hint("another object has taken its CKA_ID or its record; nothing is protected with it"))
}

/// Whether `code` is the one with which the token refuses what a key did not wrap. Without a canary to
/// alter, it may be.
pub(super) fn is_refusal(session: &Session<'_>, key: &MasterKey, code: Code) -> Result<bool> {
    let Some(canary) = &key.canary else { return Ok(true) };
    let mut ciphertext = canary.ciphertext().to_vec();
    if let Some(last) = ciphertext.last_mut() {
        *last ^= 1;
    }
    let altered = WrappedKey::new(canary.algorithm(), canary.kek_id(), canary.parameters(), ciphertext)?;
    match wrap::unwrap(session, key, &altered, &context()?) {
        Err(error) if error.kind() == ErrorKind::NotAuthentic => Ok(session.trouble() == Trouble::Doubt(code)),
        Err(error) => Err(error),
        Ok(_) => Err(Error::new(ErrorKind::TokenUnavailable, "the token recovers what was altered")),
    }
}
