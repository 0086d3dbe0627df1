//! What a run makes its keys findable by.

use super::step::StepId;
use crate::audit::Id;
use sha2::{Digest, Sha256};

/// The random id of one run of a plan: two runs of one plan make different keys.
pub type RunId = Id;

/// What the id of a planned key begins with, so that it is no hash of anything else: without and with random bytes of
/// the token.
const DOMAIN: &[u8] = b"keyward.ceremony.cka-id.v1\0";
const DOMAIN_RANDOM: &[u8] = b"keyward.ceremony.cka-id.v2\0";

/// Returns the `CKA_ID` of the key that a step makes on the token with this serial number, in this run.
///
/// A run that was interrupted finds what it made under this id, and makes nothing twice. It is the first 16 bytes of
/// SHA-256 of `keyward.ceremony.cka-id.v2`, a zero byte, the run id, `random`, the length of the serial number in one
/// byte, the serial number, and the step id. `random` is what the token's generator gave in this run: an attacker who controls
/// the host's generator would otherwise know all ids before the ceremony. In format 1 there is none, and it is `v1`.
///
/// ```
/// use keyward::ceremony::{planned_id, Id, StepId};
/// let step = StepId::from("key/payments/generate");
/// let random = Id::from_bytes([9; 16]);
/// let id = planned_id(&Id::from_bytes([7; 16]), "0123abcd", Some(&random), &step);
/// assert_ne!(id, planned_id(&Id::from_bytes([8; 16]), "0123abcd", Some(&random), &step));
/// ```
#[must_use]
pub fn planned_id(run: &RunId, serial: &str, random: Option<&Id>, step: &StepId) -> Id {
    let mut hash = Sha256::new();
    hash.update(random.map_or(DOMAIN, |_| DOMAIN_RANDOM));
    hash.update(run.as_bytes());
    if let Some(random) = random {
        hash.update(random.as_bytes());
    }
    // Serial numbers have 16 characters at most; the length keeps two that differ in it apart all the same.
    hash.update([u8::try_from(serial.len()).unwrap_or(u8::MAX)]);
    hash.update(serial.as_bytes());
    hash.update(step.as_str().as_bytes());
    let hash: [u8; 32] = hash.finalize().into();
    let mut id = [0; 16];
    id.copy_from_slice(&hash[..16]);
    Id::from_bytes(id)
}
