//! Taking over keys that other tools made.

use super::*;
use cryptoki::object::Attribute;
use keyward::key::Provenance;
use keyward::{DataKeyLength, KeyProvider};

#[test]
fn usage_is_narrowed_to_one_purpose() {
    let everything = [Attribute::Wrap(true), Attribute::Unwrap(true), Attribute::Sign(true), Attribute::Derive(true)];
    let token = SoftToken::new();
    let hsm = token.provider();
    let session = raw::logged_in(&token);
    raw::generate(&session, "vendor", &[1; 16], &everything);
    let key = name("vendor");
    assert_kind(hsm.generate_data_key(&key, &context(&[]), DataKeyLength::Bytes32), ErrorKind::KeyAttributes);

    let adoption = hsm.adopt_key("vendor").unwrap();
    assert_eq!(adoption.key.algorithm, WrappingAlgorithm::AesGcm);
    assert_eq!(adoption.key.provenance, Provenance::Adopted);
    assert!(adoption.warnings.is_empty(), "{adoption:?}");
    for attribute in ["CKA_WRAP", "CKA_UNWRAP", "CKA_SIGN", "CKA_DERIVE"] {
        assert!(adoption.changes.iter().any(|change| change.starts_with(attribute)), "{attribute}: {adoption:?}");
    }
    assert!(adoption.key.problems.is_empty());
    let (_, wrapped) = hsm.generate_data_key(&key, &context(&[]), DataKeyLength::Bytes32).unwrap();
    hsm.unwrap_data_key(&wrapped, &context(&[])).unwrap();
    assert_eq!(hsm.rotate_key(&key, None).unwrap().version.get(), 2);
    hsm.unwrap_data_key(&wrapped, &context(&[])).unwrap();
}

#[test]
fn a_wrapping_key_is_adopted_as_one() {
    let wraps = [Attribute::Encrypt(false), Attribute::Decrypt(true), Attribute::Wrap(true), Attribute::Unwrap(true)];
    let token = SoftToken::new();
    let hsm = token.provider();
    raw::generate(&raw::logged_in(&token), "vendor:3", &[1, 2], &wraps);
    let adoption = hsm.adopt_key("vendor:3").unwrap();
    assert_eq!((adoption.key.algorithm, adoption.key.version.get()), (WrappingAlgorithm::AesKw, 3));
    assert_eq!(adoption.changes, ["CKA_DECRYPT was true and is false now"]);
}

#[test]
fn what_is_not_adopted() {
    let token = SoftToken::new();
    let hsm = token.provider();
    let session = raw::logged_in(&token);
    let refused = |label: &str, more: &[Attribute], kind| {
        raw::generate(&session, label, &[label.len() as u8; 16], more);
        assert_kind(hsm.adopt_key(label), kind)
    };
    let error = refused("open", &[Attribute::Extractable(true)], ErrorKind::KeyAttributes);
    assert!(error.to_string().contains("CKA_EXTRACTABLE"), "{error}");
    let error = refused("readable!", &[Attribute::Sensitive(false)], ErrorKind::InvalidArgument);
    assert!(error.to_string().contains("no key name"), "{error}");
    refused("readable", &[Attribute::Sensitive(false)], ErrorKind::KeyAttributes);
    refused("useless-key", &[Attribute::Encrypt(false), Attribute::Decrypt(false)], ErrorKind::KeyAttributes);
    refused("short-key-16", &[Attribute::ValueLen(16.into())], ErrorKind::KeyAttributes);
    assert_kind(hsm.adopt_key("nowhere"), ErrorKind::KeyNotFound);
    raw::generate(&session, "open", &[9; 16], &[]);
    assert_kind(hsm.adopt_key("open"), ErrorKind::DuplicateKey);
    hsm.create_key(&name("ours"), AlgorithmChoice::Auto).unwrap();
    assert_kind(hsm.adopt_key("ours:1"), ErrorKind::KeyExists);
}

#[test]
fn key_that_the_provider_may_not_use_is_not_adopted() {
    let (token, hsm, _key) = with_key(WrappingAlgorithm::AesGcm);
    let session = raw::logged_in(&token);
    let wraps = [Attribute::Wrap(true)];
    raw::generate(&session, "vendor", &[1; 16], &wraps);
    assert_kind(hsm.adopt_key("vendor"), ErrorKind::KeyNotFound);
    assert_kind(hsm.create_key(&name("vendors"), AlgorithmChoice::Auto), ErrorKind::KeyNotFound);
    let shown =
        session.get_attributes(raw::find(&session, "vendor")[0], &[cryptoki::object::AttributeType::Wrap]).unwrap();
    assert_eq!(shown, wraps);
}
