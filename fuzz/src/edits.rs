//! Edits of an envelope, read from the fuzzer's bytes: random bytes would never get past the magic,
//! edits of a good envelope reach everything behind it.

use sha2::{Digest, Sha256};

/// One edit: kind, offset, length, value.
const EDIT_LEN: usize = 6;
/// More edits than this leave nothing of the original.
const MAX_EDITS: usize = 32;

/// Where CORE says how long SLOTS and the context are, and where the context begins
/// (`docs/format.md`, "CORE").
const SLOTS_LEN_AT: usize = 28;
const CONTEXT_LEN_AT: usize = 32;
const CONTEXT_AT: usize = 34;

/// What a slot copy has before and after its entries (`docs/format.md`, "Slot copy").
const COPY_FIELDS_LEN: usize = 8;
const TAG_LEN: usize = 32;
const DIGEST_LEN: usize = 16;

/// `envelope` after the edits that `script` describes. `other` is where spliced bytes come from.
pub fn edited(envelope: &[u8], script: &[u8], other: &[u8]) -> Vec<u8> {
    let mut bytes = envelope.to_vec();
    for edit in script.chunks_exact(EDIT_LEN).take(MAX_EDITS) {
        let [kind, o1, o0, l1, l0, value] = *edit else { unreachable!("chunks_exact") };
        let at = usize::from(u16::from_be_bytes([o1, o0])) % (bytes.len() + 1);
        let len = usize::from(u16::from_be_bytes([l1, l0]));
        let end = (at + len).min(bytes.len());
        match kind % 8 {
            0 => bytes[at..].iter_mut().take(1).for_each(|byte| *byte ^= value),
            1 => bytes[at..end].fill(value),
            2 => bytes.truncate(at),
            3 => drop(bytes.drain(at..end)),
            4 => drop(bytes.splice(at..at, vec![value; len % 1024])),
            // The same place of another envelope.
            5 => bytes[at..end].iter_mut().zip(&other[at.min(other.len())..]).for_each(|(byte, new)| *byte = *new),
            // Everything from here on of another envelope.
            6 => drop(bytes.splice(at.., other[at.min(other.len())..].iter().copied())),
            _ => repair(&mut bytes),
        }
    }
    bytes
}

/// Makes the digest of each slot copy the right one. Anyone can: the digest distinguishes torn writes from complete ones
/// and protects nothing. Without this the fuzzer would never reach the inside of a slot copy. A compact envelope has no
/// digest.
pub fn repair(envelope: &mut [u8]) {
    let Some(fixed) = envelope.get(..CONTEXT_AT) else { return };
    let number = |bytes: &[u8]| bytes.iter().fold(0usize, |n, byte| n << 8 | usize::from(*byte));
    let slots_len = number(&fixed[SLOTS_LEN_AT..CONTEXT_LEN_AT]);
    let slots_at = CONTEXT_AT + number(&fixed[CONTEXT_LEN_AT..]);
    let Some(slots) = envelope.get_mut(slots_at..).and_then(|rest| rest.get_mut(..slots_len)) else { return };
    let area_len = slots_len / 2;
    for area in slots.chunks_exact_mut(area_len.max(1)).take(2) {
        repair_copy(area);
    }
}

/// The same for one slot copy, such as detached slots are.
pub fn repair_copy(area: &mut [u8]) {
    // An area of zeros is empty.
    let Some(&[u1, u0]) = area.get(6..8) else { return };
    let used = usize::from(u16::from_be_bytes([u1, u0]));
    let digest_at = COPY_FIELDS_LEN + used + TAG_LEN;
    if used == 0 || area.len() < digest_at + DIGEST_LEN {
        return;
    }
    let digest = Sha256::digest(&area[..digest_at]);
    area[digest_at..][..DIGEST_LEN].copy_from_slice(&digest[..DIGEST_LEN]);
}
