//! What interrupted changes leave behind, and that repairing touches nothing else.

use super::*;
use cryptoki::object::{Attribute, ObjectClass};
use keyward::hsm::Leftover;
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
        assert_eq!((hsm.leftovers().unwrap(), hsm.repair().unwrap()), (vec![], vec![]));
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
    assert_eq!(hsm.repair().unwrap(), [orphan]);
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
    assert_eq!(hsm.repair().unwrap(), found);
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
    assert_eq!(hsm.repair().unwrap(), found);
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
    assert_eq!(hsm.repair().unwrap(), found);
    assert_eq!((hsm.list_keys().unwrap(), data_objects(&token)), (vec![key], 1));
}

#[test]
fn what_cannot_be_read_is_told_and_left_alone() {
    let (token, hsm, _key) = with_key(WrappingAlgorithm::AesGcm);
    records::write(&raw::logged_in(&token), "records:1", "keyward-key-record 3\n");
    assert_eq!(hsm.leftovers().unwrap(), [Leftover::Unreadable { label: "records:1".into(), newer: true }]);
    assert_eq!(hsm.repair().unwrap(), []);
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
