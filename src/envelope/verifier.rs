//! The customer's own key: no envelope, only a salted verifier that tells a wrong key before the
//! body is read (`docs/format.md`, "SSE-C").

use super::malformed;
use crate::cipher::{hkdf_expand_sha512, random};
use crate::error::{Error, Result};
use crate::key::{CustomerKey, KekId, WrapOccasion, WrappedKey, WrappingAlgorithm};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

const LABEL: &[u8] = b"keyward.customer-key.v1\0";
const SALT_LEN: usize = 32;
const NO_KEK: KekId = KekId::from_bytes([0; 16]);

/// The entry of a new file under `key`.
pub(super) fn entry(key: &CustomerKey, core: &[u8]) -> Result<WrappedKey> {
    let mut salt = [0; SALT_LEN];
    random(&mut salt)?;
    let verifier = verifier(key, &salt, core)?;
    WrappedKey::new(WrapOccasion::Generation, WrappingAlgorithm::CustomerKey, NO_KEK, salt, verifier)
}

/// Checks the one entry of a file against `key`, in constant time.
pub(super) fn check(key: &CustomerKey, entry: &WrappedKey, core: &[u8]) -> Result<()> {
    if entry.kek_id() != NO_KEK || entry.occasion() != WrapOccasion::Generation {
        return Err(malformed("malformed slots: the entry of a customer's key has a KEK id or was made later"));
    }
    let expected = verifier(key, entry.parameters(), core)?;
    if bool::from(entry.ciphertext().ct_eq(&expected)) { Ok(()) } else { Err(Error::not_authentic()) }
}

fn verifier(key: &CustomerKey, salt: &[u8], core: &[u8]) -> Result<[u8; 32]> {
    let mut out = [0; 32];
    hkdf_expand_sha512(key.as_data_key().expose_secret(), &[LABEL, salt, &Sha256::digest(core)], &mut out)?;
    Ok(out)
}
