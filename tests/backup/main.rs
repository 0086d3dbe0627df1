//! What a key ceremony asks of tokens: to begin, to make keys that are found again, to tell of them, to let a key
//! come to a second token, and to prove that one is gone. Run under `softhsm/with`.
//!
//! `both` runs on SoftHSM here, and on Kryoptic in a process of its own.
mod both;
mod soft;
mod tokens;

use keyward::hsm::{HsmProvider, PlannedKey};
use keyward::key::Provenance;
use keyward::{DataKeyLength, EncryptionContext, ErrorKind, KekId, KeyName, KeyProvider, WrappingAlgorithm};
use std::sync::atomic::{AtomicU8, Ordering};

fn name(text: &str) -> KeyName {
    text.parse().unwrap()
}

/// An id that nothing else in this process has.
fn new_id() -> KekId {
    static COUNT: AtomicU8 = AtomicU8::new(1);
    KekId::from_bytes([COUNT.fetch_add(1, Ordering::Relaxed); 16])
}

fn plan(key: &str, algorithm: WrappingAlgorithm) -> PlannedKey {
    PlannedKey::new(name(key), algorithm, new_id())
}

/// Protects on one token and recovers on the other.
#[track_caller]
fn assert_opens(one: &HsmProvider, other: &HsmProvider, key: &KeyName) {
    let context = EncryptionContext::from_pairs([("a", "1")]).unwrap();
    let (data_key, wrapped) = one.generate_data_key(key, &context, DataKeyLength::Bytes32).unwrap();
    let again = other.unwrap_data_key(&wrapped, &context).unwrap();
    assert_eq!(data_key.expose_secret(), again.expose_secret());
}

#[track_caller]
fn assert_kind<T: std::fmt::Debug>(answer: keyward::Result<T>, kind: ErrorKind) -> keyward::Error {
    let error = answer.expect_err("an error was expected");
    assert_eq!(error.kind(), kind, "{error}");
    error
}

/// The provenances that have to be accepted.
const BROUGHT: [Provenance; 2] = [Provenance::TrustedWrap, Provenance::Components];
