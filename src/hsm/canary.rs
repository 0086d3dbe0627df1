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
pub(super) fn context() -> Result<EncryptionContext> {
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
/// another, and that is found out. Keys made elsewhere have no canary to ask for: then that the token
/// works at all must do.
pub(super) fn verify(session: &Session<'_>, key: &MasterKey) -> Result<()> {
    let Some(canary) = key.canary() else { return session.random(&mut [0; 16]) };
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
    // Another key refuses what it did not wrap as this token always does; a token that fails has other codes.
    if let Trouble::Doubt(code) = session.trouble()
        && refusal(session, key)?.is_some_and(|usual| usual != Some(code))
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

/// The code with which the token refuses what a key did not wrap. `Some(None)` where that is one which leaves
/// no doubt; `None` where there is no canary to alter.
///
/// Asked several times: a token that fails now and then may do so here.
pub(super) fn refusal(session: &Session<'_>, key: &MasterKey) -> Result<Option<Option<Code>>> {
    const TIMES: usize = 5;
    let Some(canary) = key.canary() else { return Ok(None) };
    let context = context()?;
    let mut codes = Vec::with_capacity(TIMES);
    for at in 1..=TIMES {
        let mut ciphertext = canary.ciphertext().to_vec();
        if let Some(byte) = ciphertext.len().checked_sub(at).and_then(|index| ciphertext.get_mut(index)) {
            *byte ^= 1;
        }
        let altered =
            WrappedKey::new(canary.occasion(), canary.algorithm(), canary.kek_id(), canary.parameters(), ciphertext)?;
        match wrap::unwrap(session, key, &altered, &context) {
            Err(error) if error.kind() == ErrorKind::NotAuthentic => codes.push(session.doubted_code()),
            Err(error) => return Err(error),
            Ok(_) => return Err(Error::new(ErrorKind::TokenUnavailable, "the token recovers what was altered")),
        }
    }
    Ok(codes.iter().copied().max_by_key(|code| codes.iter().filter(|other| *other == code).count()))
}
