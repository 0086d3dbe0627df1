//! Names, versions, ids, algorithms, encryption contexts and public keys: nothing panics, and what
//! was read is written again the same.

#![no_main]

use keyward::key::PublicKey;
use keyward::{EncryptionContext, KekId, KeyName, KeyVersion, WrappingAlgorithm};
use libfuzzer_sys::fuzz_target;
use std::fmt::Display;
use std::str::FromStr;

fuzz_target!(|input: &[u8]| {
    context_of_bytes(input);
    if let Ok(text) = std::str::from_utf8(input) {
        same_text::<KeyName>(text);
        same_text::<KeyVersion>(text);
        same_text::<WrappingAlgorithm>(text);
        kek_id(text);
        context_of_pairs(text);
        public_key(text);
    }
});

/// One value has one spelling.
fn same_text<T: FromStr + Display>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        assert_eq!(value.to_string(), text);
    }
}

/// Digits of a KEK id may be capitals.
fn kek_id(text: &str) {
    if let Ok(id) = text.parse::<KekId>() {
        assert_eq!(id.to_string(), text.to_ascii_lowercase());
        assert_eq!(KekId::from_cka_id(id.as_bytes()), Some(id));
    }
}

fn context_of_bytes(bytes: &[u8]) {
    if let Ok(context) = EncryptionContext::parse(bytes) {
        assert_eq!(context.to_bytes(), bytes);
        assert!(context.iter().count() <= EncryptionContext::MAX_PAIRS);
    }
}

/// Lines `key=value`.
fn context_of_pairs(text: &str) {
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    if let Ok(context) = EncryptionContext::from_pairs(pairs.clone()) {
        assert_eq!(EncryptionContext::parse(&context.to_bytes()).expect("a context that was made"), context);
        assert!(pairs.into_iter().all(|(key, value)| context.get(key) == Some(value)));
    }
}

fn public_key(text: &str) {
    let Ok(key) = PublicKey::parse(text) else { return };
    let written = key.to_text().expect("a key that was parsed");
    let again = PublicKey::parse(&written).expect("a key that was written");
    assert_eq!(again.to_text().ok(), Some(written));
    assert_eq!(again.fingerprint().ok(), key.fingerprint().ok());
    assert!(key.modulus_bits() <= 16384);
}
