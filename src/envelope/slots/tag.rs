//! The tag of a slot copy: that its writer knew the data key.

use crate::cipher::hkdf_expand_sha512;
use crate::envelope::core::Core;
use crate::error::{Error, Result};
use crate::key::DataKey;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

pub(super) const TAG_LEN: usize = 32;
const LABEL: &[u8] = b"keyward.slots.v1\0";

/// The key of the tags of one envelope: derived from its data key, or the customer's key, and bound to CORE.
pub(in crate::envelope) struct SlotsKey(Zeroizing<[u8; 32]>);

impl SlotsKey {
    /// Derives the key with HKDF-Expand (RFC 5869, section 2.3).
    pub(in crate::envelope) fn derive(input_key: &DataKey, core: &Core) -> Result<Self> {
        let mut key = Zeroizing::new([0; 32]);
        hkdf_expand_sha512(input_key.expose_secret(), &[LABEL, &Sha256::digest(core.as_bytes())], &mut *key)?;
        Ok(Self(key))
    }

    /// Returns the HMAC-SHA-256 of the bytes of a slot copy from its generation to its last entry.
    pub(super) fn tag(&self, listed: &[u8]) -> Result<[u8; TAG_LEN]> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&*self.0).map_err(|_| Error::not_authentic())?;
        mac.update(listed);
        Ok(mac.finalize().into_bytes().into())
    }

    /// Compares a tag in constant time.
    pub(super) fn check(&self, listed: &[u8], tag: &[u8; TAG_LEN]) -> Result<()> {
        match bool::from(self.tag(listed)?.ct_eq(tag)) {
            true => Ok(()),
            false => Err(Error::not_authentic()),
        }
    }
}
