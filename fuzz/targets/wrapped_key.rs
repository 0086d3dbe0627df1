//! Wrapped keys, and the detached slots that hold several: what is parsed is written again byte for
//! byte, and nothing panics.

#![no_main]

use keyward::envelope::DetachedSlots;
use keyward::{WrappedKey, WrappedKeys};
use keyward_fuzz::edits::repair_copy;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Some(key) = wrapped_key(input) {
        let again = WrappedKey::new(key.occasion(), key.algorithm(), key.kek_id(), key.parameters(), key.ciphertext());
        assert_eq!(again.expect("the parts of a wrapped key"), key);
    }
    detached_slots(input);
    let mut repaired = input.to_vec();
    repair_copy(&mut repaired);
    detached_slots(&repaired);
    several(input);
});

fn wrapped_key(bytes: &[u8]) -> Option<WrappedKey> {
    let key = WrappedKey::parse(bytes).ok()?;
    assert_eq!(key.to_bytes(), bytes);
    Some(key)
}

fn detached_slots(bytes: &[u8]) {
    if let Ok(slots) = DetachedSlots::from_bytes(bytes) {
        assert_eq!(slots.as_bytes(), bytes);
        assert_ne!(slots.generation(), 0);
    }
}

/// Wrapped keys one after the other, as an application may keep them, each behind its length.
fn several(mut bytes: &[u8]) {
    let mut keys = Vec::new();
    while let Some((len, rest)) = bytes.split_first_chunk::<2>() {
        let Some((key, rest)) = rest.split_at_checked(u16::from_be_bytes(*len).into()) else { break };
        keys.extend(wrapped_key(key));
        bytes = rest;
    }
    let is_allowed = (1..=WrappedKeys::MAX).contains(&keys.len());
    match WrappedKeys::new(keys.clone()) {
        Ok(these) => assert_eq!(these.into_vec(), keys),
        Err(_) => assert!(!is_allowed, "{} wrapped keys", keys.len()),
    }
}
