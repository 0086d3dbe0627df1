//! What interrupted changes leave behind, and that repairing touches nothing else.

use super::*;
use cryptoki::object::{Attribute, ObjectClass};
use keyward::key::KeyState;
use keyward::{DataKeyLength, KekId, KeyProvider};

fn data_objects(token: &SoftToken) -> usize {
    raw::objects(&raw::logged_in(token), &[Attribute::Class(ObjectClass::DATA)]).len()
}

#[test]
fn a_token_in_order_has_none() {
    for algorithm in ALGORITHMS {
        let (_token, hsm, key) = with_key(algorithm);
        hsm.rotate_key(&key, None).unwrap();
        let before = hsm.list_keys().unwrap();
        assert_eq!((hsm.leftovers().unwrap(), repair_all(&hsm)), (vec![], vec![]));
        assert_eq!(hsm.list_keys().unwrap(), before);
    }
}

#[test]
fn a_record_without_its_key_is_removed() {
    let (token, hsm, _key) = with_key(WrappingAlgorithm::AesGcm);
    let before = hsm.list_keys().unwrap();
    records::write(&raw::logged_in(&token), "records:2", &records::pending([8; 16]));
    let orphan = Leftover::Orphan { label: "records:2".into(), kek_id: KekId::from_bytes([8; 16]) };
    assert_eq!(hsm.leftovers().unwrap(), std::slice::from_ref(&orphan));
    assert_eq!(repair_all(&hsm), [orphan]);
    assert_eq!(hsm.leftovers().unwrap(), []);
    assert_eq!((hsm.list_keys().unwrap(), data_objects(&token)), (before, 1));
}

#[test]
fn a_key_that_was_not_finished_is_removed() {
    let (token, hsm, _key) = with_key(WrappingAlgorithm::AesGcm);
    let before = hsm.list_keys().unwrap();
    let session = raw::logged_in(&token);
    raw::generate(&session, "records:2", &[8; 16], &[Attribute::Encrypt(false), Attribute::Decrypt(false)]);
    records::write(&session, "records:2", &records::pending([8; 16]));
    let found = hsm.leftovers().unwrap();
    let [Leftover::Unfinished(key)] = &found[..] else { panic!("{found:?}") };
    assert_eq!((key.label().as_str(), key.state), ("records:2", KeyState::Pending));
    assert_eq!(repair_all(&hsm), found);
    assert_eq!((hsm.list_keys().unwrap(), data_objects(&token)), (before, 1));
}

#[test]
fn an_older_version_that_is_active_is_retired() {
    let (token, hsm, key) = with_key(WrappingAlgorithm::AesGcm);
    let (_, wrapped) = hsm.generate_data_key(&key, &context(&[]), DataKeyLength::Bytes32).unwrap();
    hsm.rotate_key(&key, None).unwrap();
    let before = hsm.list_keys().unwrap();
    let session = raw::logged_in(&token);
    session.update_attributes(raw::find(&session, "records:1")[0], &[Attribute::Encrypt(true)]).unwrap();
    let found = hsm.leftovers().unwrap();
    assert!(matches!(&found[..], [Leftover::StillActive(key)] if key.label() == "records:1"), "{found:?}");
    assert_eq!(repair_all(&hsm), found);
    assert_eq!(hsm.list_keys().unwrap(), before);
    hsm.unwrap_data_key(&wrapped, &context(&[])).unwrap();
}

#[test]
fn of_two_records_one_stays() {
    let (token, hsm, _key) = with_key(WrappingAlgorithm::AesGcm);
    let key = hsm.list_keys().unwrap().remove(0);
    records::write(&raw::logged_in(&token), "records:1", &records::pending(*key.kek_id.as_bytes()));
    let found = hsm.leftovers().unwrap();
    assert_eq!(found, [Leftover::Records { label: key.label(), kek_id: key.kek_id }]);
    // One of them is too young for nobody to be at work with it, so this waits.
    assert_eq!(repair_all(&hsm), found);
    assert_eq!((hsm.list_keys().unwrap(), data_objects(&token)), (vec![key], 1));
}

#[test]
fn what_cannot_be_read_is_told_and_left_alone() {
    let (token, hsm, _key) = with_key(WrappingAlgorithm::AesGcm);
    records::write(&raw::logged_in(&token), "records:1", "keyward-key-record 3\n");
    assert_eq!(hsm.leftovers().unwrap(), [Leftover::Unreadable { label: "records:1".into(), newer: true }]);
    assert_eq!(repair_all(&hsm), []);
    assert_eq!(data_objects(&token), 2);
    // It is no data object of anybody else that is taken for a record.
    let session = raw::logged_in(&token);
    let foreign = [
        Attribute::Class(ObjectClass::DATA),
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Application(b"other".to_vec()),
        Attribute::Label(b"records:9".to_vec()),
    ];
    session.create_object(&foreign).unwrap();
    assert_eq!(hsm.leftovers().unwrap().len(), 1);
}

#[test]
fn repair_touches_only_what_was_listed() {
    let (token, hsm, key) = with_key(WrappingAlgorithm::AesGcm);
    let session = raw::logged_in(&token);
    records::write(&session, "records:2", &records::pending([8; 16]));
    let listed = hsm.leftovers().unwrap();
    records::write(&session, "other:1", &records::pending([9; 16]));
    let repairs = hsm.repair(&listed).unwrap();
    assert!(matches!(&repairs[..], [one] if one.outcome.is_ok() && one.leftover == listed[0]), "{repairs:?}");
    let left = Leftover::Orphan { label: "other:1".into(), kek_id: KekId::from_bytes([9; 16]) };
    assert_eq!(hsm.leftovers().unwrap(), [left]);
    // It is not there any more.
    let again = hsm.repair(&listed).unwrap().remove(0);
    assert_kind(again.outcome, ErrorKind::KeyState);
    // Nor does a provider repair what it may not use.
    let elsewhere = token.provider().only([key]);
    let refused = elsewhere.repair(&hsm.leftovers().unwrap()).unwrap().remove(0);
    assert_kind(refused.outcome, ErrorKind::KeyNotFound);
    assert_eq!(hsm.leftovers().unwrap().len(), 1);
}

#[test]
fn unfinished_key_with_another_label_is_not_destroyed() {
    let (token, hsm, _key) = with_key(WrappingAlgorithm::AesGcm);
    let session = raw::logged_in(&token);
    let object =
        raw::generate(&session, "records:2", &[8; 16], &[Attribute::Encrypt(false), Attribute::Decrypt(false)]);
    records::write(&session, "records:2", &records::pending([8; 16]));
    let listed = hsm.leftovers().unwrap();
    // What was allowed for one name is not done to another.
    session.update_attributes(object, &[Attribute::Label(b"other:1".to_vec())]).unwrap();
    records::write(&session, "other:1", &records::pending([8; 16]));
    assert_kind(hsm.repair(&listed).unwrap().remove(0).outcome, ErrorKind::KeyState);
    assert_eq!(raw::find(&session, "other:1"), [object]);
}

#[test]
fn claimed_key_is_not_used_until_repaired() {
    let (token, hsm, key) = with_key(WrappingAlgorithm::AesGcm);
    let (_, wrapped) = hsm.generate_data_key(&key, &context(&[]), DataKeyLength::Bytes32).unwrap();
    let kek_id = hsm.list_keys().unwrap()[0].kek_id;
    records::write(&raw::logged_in(&token), "records:1", &format!("keyward-key-claim 1\nkek-id {kek_id}\n"));
    let fresh = token.provider();
    assert_eq!(fresh.list_keys().unwrap()[0].state, KeyState::Pending);
    assert_kind(fresh.generate_data_key(&key, &context(&[]), DataKeyLength::Bytes32), ErrorKind::KeyNotFound);
    assert_kind(fresh.unwrap_data_key(&wrapped, &context(&[])), ErrorKind::KeyState);
    let claim = Leftover::Claim { label: "records:1".into(), kek_id };
    assert_eq!(fresh.leftovers().unwrap(), std::slice::from_ref(&claim));
    assert_eq!(repair_all(&fresh), [claim]);
    assert_eq!((fresh.leftovers().unwrap(), data_objects(&token)), (vec![], 1));
    fresh.unwrap_data_key(&wrapped, &context(&[])).unwrap();
}

#[test]
fn claim_without_its_key_is_removed() {
    let (token, hsm, _key) = with_key(WrappingAlgorithm::AesGcm);
    let kek_id = KekId::from_bytes([8; 16]);
    records::write(&raw::logged_in(&token), "records:2", &format!("keyward-key-claim 1\nkek-id {kek_id}\n"));
    assert_eq!(repair_all(&hsm), [Leftover::Claim { label: "records:2".into(), kek_id }]);
    assert_eq!((hsm.leftovers().unwrap(), data_objects(&token)), (vec![], 1));
}
