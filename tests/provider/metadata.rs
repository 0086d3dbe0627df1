//! What a record says beside the key, and that nothing is concluded from one that cannot be read.

use super::*;
use cryptoki::object::Attribute;
use keyward::key::{KeyState, VersionReuse};
use keyward::{DataKeyLength, KeyProvider, KeyRef, KeyVersion};
use std::time::{Duration, SystemTime};

const V1: KeyVersion = KeyVersion::FIRST;

fn text(token: &SoftToken, label: &str) -> String {
    let mut all = records::all(&raw::logged_in(token));
    all.retain(|(_, own, _)| own == label);
    let [(_, _, text)] = &all[..] else { panic!("{label}: {all:?}") };
    text.clone()
}

fn append(token: &SoftToken, label: &str, lines: &str) {
    records::rewrite(&raw::logged_in(token), label, |text| format!("{text}{lines}"));
}

#[test]
fn a_record_says_what_the_key_is_for() {
    for (algorithm, usage) in ALGORITHMS.into_iter().zip(["encrypt-decrypt", "wrap-unwrap", "decrypt"]) {
        let (token, _hsm, _key) = with_key(algorithm);
        let text = text(&token, "records:1");
        assert_eq!(text.lines().next(), Some("keyward-key-record 2"));
        for (name, value) in [
            ("algorithm", algorithm.name()),
            ("usage", usage),
            ("provenance", "generated"),
            ("purpose", "envelope"),
            ("highest-version", "1"),
            ("gate", "enabled"),
        ] {
            assert_eq!(records::field(&text, name), Some(value), "{name}: {text}");
        }
        assert_eq!(records::field(&text, "uid").unwrap().len(), 32);
    }
}

#[test]
fn a_rotation_copies_what_belongs_to_the_key() {
    const LINES: &str =
        "description Card numbers, ünïcode\nrotate-every 7776000\ntags a=b\nlater what a newer one knows\n";
    let (token, hsm, key) = with_key(WrappingAlgorithm::AesGcm);
    append(&token, "records:1", LINES);
    let uid = records::field(&text(&token, "records:1"), "uid").unwrap().to_owned();
    hsm.rotate_key(&key, None).unwrap();
    // And so does every change of a record.
    hsm.schedule_destruction(&key, "2".parse().unwrap(), SystemTime::now() + Duration::from_secs(60)).unwrap();
    for label in ["records:1", "records:2"] {
        let text = text(&token, label);
        assert!(text.ends_with(LINES), "{text}");
        assert_eq!(records::field(&text, "uid"), Some(uid.as_str()));
    }
    // Another key has another.
    hsm.create_key(&name("other"), AlgorithmChoice::Auto).unwrap();
    assert_ne!(records::field(&text(&token, "other:1"), "uid"), Some(uid.as_str()));
}

#[test]
fn the_next_oldest_inherits_from_a_destroyed_version() {
    let (token, hsm, key) = with_key(WrappingAlgorithm::AesGcm);
    hsm.rotate_key(&key, None).unwrap();
    append(&token, "records:2", "description changed since\n");
    hsm.destroy_key(&key, "2".parse().unwrap(), VersionReuse::Refuse).unwrap();
    assert_eq!(records::field(&text(&token, "records:1"), "description"), Some("changed since"));
}

#[test]
fn a_key_with_a_record_of_a_newer_version_is_refused() {
    for beside in [false, true] {
        let (token, hsm, key) = with_key(WrappingAlgorithm::AesGcm);
        let (_, wrapped) = hsm.generate_data_key(&key, &context(&[]), DataKeyLength::Bytes32).unwrap();
        let newer = text(&token, "records:1").replace("record 2", "record 3");
        match beside {
            true => records::write(&raw::logged_in(&token), "records:1", &newer),
            false => records::rewrite(&raw::logged_in(&token), "records:1", |_| newer.clone()),
        }
        let hsm = token.provider();
        let before = (records::all(&raw::logged_in(&token)), raw::objects(&raw::logged_in(&token), &[]));
        let refused = |answer: keyward::Result<()>| {
            let error = assert_kind(answer, ErrorKind::KeyAttributes);
            assert!(error.to_string().contains("was written by a newer Keyward"), "{error}");
        };
        refused(hsm.generate_data_key(&key, &context(&[]), DataKeyLength::Bytes32).map(drop));
        refused(hsm.unwrap_data_key(&wrapped, &context(&[])).map(drop));
        refused(hsm.rotate_key(&key, None).map(drop));
        refused(hsm.disable_key(&key, V1).map(drop));
        refused(hsm.enable_key(&key, V1).map(drop));
        refused(hsm.schedule_destruction(&key, V1, SystemTime::now()).map(drop));
        refused(hsm.destroy_key(&key, V1, VersionReuse::Allow).map(drop));
        refused(hsm.create_key(&key, AlgorithmChoice::Auto).map(drop));
        refused(hsm.adopt_key("records:1").map(drop));
        // It is listed, with what is wrong.
        let listed = hsm.list_keys().unwrap();
        assert_eq!(listed[0].problems, ["its record was written by a newer Keyward"]);
        assert_eq!(repair_all(&hsm), []);
        assert_eq!((records::all(&raw::logged_in(&token)), raw::objects(&raw::logged_in(&token), &[])), before);
    }
}

#[test]
fn a_key_with_a_damaged_record_is_not_one_without() {
    let (token, hsm, key) = with_key(WrappingAlgorithm::AesKw);
    let (_, wrapped) = hsm.generate_data_key(&key, &context(&[]), DataKeyLength::Bytes32).unwrap();
    let good = text(&token, "records:1");
    for bad in [
        good.replace("usage wrap-unwrap", "usage encrypt-decrypt"),
        good.replace("gate enabled", "gate ajar"),
        good.replace("record 2", "record 1"),
        format!("{good}{}", "description x\n".repeat(2)),
        format!("{good}description {}\n", "x".repeat(8192)),
    ] {
        records::rewrite(&raw::logged_in(&token), "records:1", |_| bad.clone());
        let hsm = token.provider();
        let error = assert_kind(hsm.unwrap_data_key(&wrapped, &context(&[])).map(drop), ErrorKind::KeyAttributes);
        assert!(error.to_string().contains("the record of key 'records:1' is damaged"), "{error}");
        assert_kind(hsm.destroy_key(&key, V1, VersionReuse::Allow), ErrorKind::KeyAttributes);
        assert_kind(hsm.rotate_key(&key, None), ErrorKind::KeyAttributes);
    }
    records::rewrite(&raw::logged_in(&token), "records:1", |_| good.clone());
    token.provider().unwrap_data_key(&wrapped, &context(&[])).unwrap();
}

#[test]
fn a_key_that_is_not_for_envelopes_or_not_open_is_refused() {
    for (from, to, problem) in [
        ("purpose envelope", "purpose xks", "it is for xks, not for envelopes"),
        ("purpose envelope", "purpose mac", "it is for mac, not for envelopes"),
        ("gate enabled", "gate disabled", "the whole key is disabled"),
        ("gate enabled", "gate pending-deletion", "the whole key is pending-deletion"),
    ] {
        let (token, hsm, key) = with_key(WrappingAlgorithm::AesGcm);
        let (_, wrapped) = hsm.generate_data_key(&key, &context(&[]), DataKeyLength::Bytes32).unwrap();
        records::rewrite(&raw::logged_in(&token), "records:1", |text| text.replace(from, to));
        let hsm = token.provider();
        for answer in [
            hsm.generate_data_key(&key, &context(&[]), DataKeyLength::Bytes32).map(drop),
            hsm.unwrap_data_key(&wrapped, &context(&[])).map(drop),
        ] {
            let error = assert_kind(answer, ErrorKind::KeyAttributes);
            assert!(error.to_string().contains(problem), "{error}");
        }
    }
}

#[test]
fn a_record_that_would_be_too_long_is_not_written() {
    let (token, hsm, key) = with_key(WrappingAlgorithm::AesGcm);
    let room = 8192 - text(&token, "records:1").len() - "description \n".len();
    append(&token, "records:1", &format!("description {}\n", "x".repeat(room)));
    let before = (records::all(&raw::logged_in(&token)), hsm.list_keys().unwrap());
    let error = assert_kind(hsm.schedule_destruction(&key, V1, SystemTime::now()), ErrorKind::LimitExceeded);
    assert!(error.to_string().contains("and 8192 is the limit"), "{error}");
    assert_eq!((records::all(&raw::logged_in(&token)), hsm.list_keys().unwrap()), before, "nothing was changed");
    assert_eq!(before.1[0].state, KeyState::Active);
}

#[test]
fn disabling_does_not_change_what_a_key_is_for() {
    let wraps = [Attribute::Encrypt(false), Attribute::Decrypt(false), Attribute::Wrap(true), Attribute::Unwrap(true)];
    let token = SoftToken::new();
    let hsm = token.provider();
    raw::generate(&raw::logged_in(&token), "vendor", &[1; 16], &wraps);
    let key = name("vendor");
    let (_, wrapped) = hsm.generate_data_key(&key, &context(&[]), DataKeyLength::Bytes32).unwrap();
    // Its attributes alone say that it wraps, and disabling would erase them.
    let error = assert_kind(hsm.disable_key(&key, V1), ErrorKind::Unsupported);
    assert!(error.hint().unwrap().contains("`keyward key adopt vendor`"), "{error:?}");
    hsm.unwrap_data_key(&wrapped, &context(&[])).unwrap();
    hsm.adopt_key("vendor").unwrap();
    hsm.disable_key(&key, V1).unwrap();
    assert_eq!(hsm.enable_key(&key, V1).unwrap().algorithm, WrappingAlgorithm::AesKw);
    assert_eq!(hsm.describe_key(KeyRef::Name(&key)).unwrap().algorithm, WrappingAlgorithm::AesKw);
    hsm.unwrap_data_key(&wrapped, &context(&[])).unwrap();
}
