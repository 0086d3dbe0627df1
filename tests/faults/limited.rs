//! Tokens with little room, and tokens that keep no data objects: nothing is lost, and nothing is left half made.

use super::*;
use cryptoki::object::{Attribute, ObjectClass};
use keyward::key::{KeyState, Provenance, UsedNumbers, VersionReuse};
use keyward::{AlgorithmChoice, KeyAdmin, KeyVersion};
use std::time::SystemTime;

/// The room of a small token.
const ROOM: usize = 100;

/// A token with room for this many objects.
fn small(room: usize) -> String {
    ["C_CreateObject", "C_CopyObject", "C_GenerateKey", "C_GenerateKeyPair"]
        .map(|function| format!("{function} * max-objects {room}\n"))
        .concat()
}

fn version(number: u32) -> KeyVersion {
    number.to_string().parse().unwrap()
}

/// All objects of the token, by handle.
fn objects(faulty: &Faulty) -> Vec<u64> {
    let session = recovery::raw::logged_in(&faulty.soft);
    let found = session.find_objects(&[Attribute::Token(true)]).unwrap();
    let mut handles: Vec<_> = found.iter().map(|object| object.handle()).collect();
    handles.sort_unstable();
    handles
}

/// Fills the token with objects of another application, so that `free` more have room.
fn fill(faulty: &Faulty, free: usize) {
    let missing = ROOM.checked_sub(free + objects(faulty).len()).unwrap();
    let session = recovery::raw::logged_in(&faulty.soft);
    for _ in 0..missing {
        let filler = [Attribute::Class(ObjectClass::DATA), Attribute::Token(true), Attribute::Private(true)];
        session.create_object(&filler).unwrap();
    }
}

#[track_caller]
fn assert_full<T: std::fmt::Debug>(answer: keyward::Result<T>) {
    let error = assert_kind(answer, ErrorKind::LimitExceeded);
    assert!(error.to_string().contains("the token has no room for the object"), "{error}");
}

#[test]
fn a_full_token_keeps_no_half_made_key() {
    for algorithm in ALGORITHMS {
        // The record, the key, and the finished record beside the first.
        for free in 0..=3 {
            let faulty = Faulty::new();
            let (hsm, key) = faulty.with_key(algorithm, faulty.options());
            let new: KeyName = "b".parse().unwrap();
            let (before, keys) = (objects(&faulty), hsm.list_keys().unwrap());
            faulty.script(&small(before.len() + free));
            let create = || hsm.create_key(&new, AlgorithmChoice::Exactly(algorithm));
            let id = keyward::KekId::from_bytes([7; 16]);
            let plan = keyward::hsm::PlannedKey::new("a".parse().unwrap(), algorithm, id).version(version(2));
            if free < 3 {
                assert_full(create());
                assert_full(hsm.create_planned(&plan));
                assert_full(hsm.rotate_key(&key, None));
                assert_eq!(hsm.list_keys().unwrap(), keys, "{algorithm} {free}");
                assert_eq!((objects(&faulty), hsm.leftovers().unwrap()), (before, vec![]), "{algorithm} {free}");
            } else {
                create().unwrap();
                assert_eq!(hsm.leftovers().unwrap(), []);
            }
            assert_works(&hsm, &key);
        }
    }
}

#[test]
fn a_full_token_forgets_no_number_unless_that_is_allowed() {
    let faulty = Faulty::new();
    let (hsm, key) = faulty.with_key(WrappingAlgorithm::AesGcm, faulty.options());
    hsm.rotate_key(&key, None).unwrap();
    hsm.rotate_key(&key, None).unwrap();
    let before = (objects(&faulty), hsm.list_keys().unwrap());
    faulty.script(&small(before.0.len()));
    // The newest: its number is to be kept.
    assert_full(hsm.destroy_key(&key, version(3), VersionReuse::Refuse));
    assert_eq!((objects(&faulty), hsm.list_keys().unwrap()), before);
    // An old one makes room, without any.
    let numbers = hsm.destroy_key(&key, version(1), VersionReuse::Refuse).unwrap();
    assert_eq!((numbers, hsm.list_keys().unwrap().len()), (UsedNumbers::Remembered, 2));
    hsm.destroy_key(&key, version(3), VersionReuse::Refuse).unwrap();
    hsm.destroy_key(&key, version(2), VersionReuse::Refuse).unwrap();
    let destroyed = hsm.list_destroyed_keys().unwrap();
    assert_eq!((destroyed.len(), destroyed[0].highest_version), (1, version(3)));
    assert_eq!(hsm.create_key(&key, AlgorithmChoice::Auto).unwrap().version, version(4));

    faulty.script(&small(objects(&faulty).len()));
    assert_full(hsm.destroy_key(&key, version(4), VersionReuse::Refuse));
    let numbers = hsm.destroy_key(&key, version(4), VersionReuse::Allow).unwrap();
    assert_eq!((numbers, hsm.list_keys().unwrap()), (UsedNumbers::Forgotten, vec![]));
}

#[test]
fn a_life_of_keys_fits_on_a_small_token() {
    for algorithm in ALGORITHMS {
        let faulty = Faulty::new();
        faulty.script(&format!("{}C_CreateObject * max-value 8192\n", small(ROOM)));
        let (hsm, key) = faulty.with_key(algorithm, faulty.options());
        // Two objects for each of four more versions, and one while a record is replaced.
        fill(&faulty, 9);
        let others = objects(&faulty).len() - 2;
        for number in 2..=5 {
            assert_eq!(hsm.rotate_key(&key, None).unwrap().version, version(number));
        }
        assert_works(&hsm, &key);
        for described in hsm.list_keys().unwrap() {
            hsm.schedule_destruction(&key, described.version, SystemTime::now()).unwrap();
            hsm.expire_key(&key, described.version, SystemTime::now() + Duration::from_secs(2)).unwrap();
        }
        assert_eq!((objects(&faulty).len() - others, hsm.leftovers().unwrap()), (1, vec![]), "a tombstone is left");
        let before = hsm.list_destroyed_keys().unwrap().remove(0);
        let next = before.highest_version.next().unwrap();
        assert_eq!(hsm.create_key(&key, AlgorithmChoice::Exactly(algorithm)).unwrap().version, next);
    }
}

#[test]
fn a_record_that_is_too_long_for_the_token_is_refused_without_a_trace() {
    // Too short for the record of a key that is made, and for that of one that is finished.
    for max in [200, 300] {
        let faulty = Faulty::new();
        let (hsm, key) = faulty.with_key(WrappingAlgorithm::AesGcm, faulty.options());
        let before = (objects(&faulty), hsm.list_keys().unwrap());
        faulty.script(&format!("C_CreateObject * max-value {max}"));
        assert_full(hsm.create_key(&"b".parse().unwrap(), AlgorithmChoice::Auto));
        assert_full(hsm.rotate_key(&key, None));
        assert_eq!((objects(&faulty), hsm.list_keys().unwrap()), before, "{max}");
        // A record that cannot be replaced stays as it is; the version is disabled and has no date.
        assert_full(hsm.schedule_destruction(&key, version(1), SystemTime::now()));
        faulty.well();
        let key = hsm.list_keys().unwrap().remove(0);
        assert_eq!((key.state, key.destroy_after), (KeyState::Disabled, None));
        assert_eq!((objects(&faulty), hsm.leftovers().unwrap()), (before.0, vec![]), "{max}");
    }
}

/// A token that keeps no data objects, and a provider.
fn without_data_objects() -> (Faulty, HsmProvider, KeyName) {
    let faulty = Faulty::new();
    faulty.script("C_CreateObject * no-data-objects");
    let hsm = faulty.open(faulty.options()).unwrap();
    (faulty, hsm, "a".parse().unwrap())
}

#[test]
fn without_data_objects_a_key_is_what_its_object_shows() {
    let (faulty, hsm, key) = without_data_objects();
    for algorithm in [WrappingAlgorithm::AesKw, WrappingAlgorithm::RsaOaepSha1] {
        let error = assert_kind(hsm.create_key(&key, AlgorithmChoice::Exactly(algorithm)), ErrorKind::Unsupported);
        assert!(error.to_string().contains("keeps no data objects"), "{error}");
        assert_eq!(objects(&faulty), [0_u64; 0], "{algorithm}");
    }
    let made = hsm.create_key(&key, AlgorithmChoice::Auto).unwrap();
    assert_eq!((made.algorithm, made.provenance), (WrappingAlgorithm::AesGcm, Provenance::Foreign));
    hsm.disable_key(&key, version(1)).unwrap();
    assert_eq!(hsm.enable_key(&key, version(1)).unwrap(), made);
    assert_works(&hsm, &key);
}

#[test]
fn without_data_objects_nothing_depends_on_a_record() {
    let (faulty, hsm, key) = without_data_objects();
    hsm.create_key(&key, AlgorithmChoice::Auto).unwrap();
    let before = (objects(&faulty), hsm.list_keys().unwrap());
    assert_kind(hsm.rotate_key(&key, Some(SystemTime::now())), ErrorKind::Unsupported);
    assert_kind(hsm.schedule_destruction(&key, version(1), SystemTime::now()), ErrorKind::Unsupported);
    let plan = keyward::hsm::PlannedKey::new(
        "b".parse().unwrap(),
        WrappingAlgorithm::AesGcm,
        keyward::KekId::from_bytes([7; 16]),
    );
    assert_kind(hsm.create_planned(&plan), ErrorKind::Unsupported);
    #[cfg(feature = "governed")]
    assert_kind(keyward::hsm::AuditKey::create(hsm.token().clone()), ErrorKind::Unsupported);
    assert_eq!((objects(&faulty), hsm.list_keys().unwrap()), before);
}

#[test]
fn without_data_objects_numbers_are_forgotten_only_if_that_is_allowed() {
    let (faulty, hsm, key) = without_data_objects();
    hsm.create_key(&key, AlgorithmChoice::Auto).unwrap();
    for number in 2..=3 {
        assert_eq!(hsm.rotate_key(&key, None).unwrap().version, version(number));
    }
    // A higher one is there, which shows the number.
    let numbers = hsm.destroy_key(&key, version(1), VersionReuse::Refuse).unwrap();
    assert_eq!(numbers, UsedNumbers::Remembered);
    let before = (objects(&faulty), hsm.list_keys().unwrap());
    let error = assert_kind(hsm.destroy_key(&key, version(3), VersionReuse::Refuse), ErrorKind::VersionReuse);
    assert!(error.to_string().contains("the token keeps no data objects"), "{error}");
    assert_eq!((objects(&faulty), hsm.list_keys().unwrap()), before);
    let numbers = hsm.destroy_key(&key, version(3), VersionReuse::Allow).unwrap();
    assert_eq!(numbers, UsedNumbers::Forgotten);
    assert_eq!(hsm.rotate_key(&key, None).unwrap().version, version(3));
    // The last one is not held back: it has no other that it could be mistaken for.
    hsm.destroy_key(&key, version(2), VersionReuse::Refuse).unwrap();
    let numbers = hsm.destroy_key(&key, version(3), VersionReuse::Refuse).unwrap();
    assert_eq!((numbers, hsm.list_destroyed_keys().unwrap()), (UsedNumbers::Forgotten, vec![]));
    assert_eq!(hsm.create_key(&key, AlgorithmChoice::Auto).unwrap().version, version(1));
}

#[test]
fn a_token_with_records_is_never_held_for_one_without_data_objects() {
    let faulty = Faulty::new();
    let (hsm, key) = faulty.with_key(WrappingAlgorithm::AesGcm, faulty.options());
    let before = (objects(&faulty), hsm.list_keys().unwrap());
    faulty.script("C_CreateObject * answer CKR_ATTRIBUTE_VALUE_INVALID");
    assert_kind(hsm.create_key(&"b".parse().unwrap(), AlgorithmChoice::Auto), ErrorKind::Unsupported);
    assert_kind(hsm.rotate_key(&key, None), ErrorKind::Unsupported);
    for reuse in [VersionReuse::Refuse, VersionReuse::Allow] {
        assert_kind(hsm.destroy_key(&key, version(1), reuse), ErrorKind::Unsupported);
    }
    assert_eq!((objects(&faulty), hsm.list_keys().unwrap()), before);
}
