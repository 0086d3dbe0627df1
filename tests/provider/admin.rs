//! The life of master keys.

use super::*;
use cryptoki::object::{Attribute, AttributeType, ObjectClass};
use keyward::key::{KeyState, Provenance, VersionReuse};
use keyward::{DataKeyLength, KeyProvider, KeyRef, KeyVersion};
use std::time::SystemTime;

fn version(number: &str) -> KeyVersion {
    number.parse().unwrap()
}

#[test]
fn a_new_key_is_described_as_it_was_made() {
    for algorithm in ALGORITHMS {
        let (_token, hsm, key) = with_key(algorithm);
        let found = hsm.describe_key(KeyRef::Name(&key)).unwrap();
        assert_eq!((found.name.clone(), found.version, found.algorithm), (key.clone(), KeyVersion::FIRST, algorithm));
        assert_eq!((found.state, found.provenance), (KeyState::Active, Provenance::Generated));
        assert!(found.problems.is_empty());
        let age = SystemTime::now().duration_since(found.created.unwrap()).unwrap();
        assert!(age.as_secs() < 60, "{age:?}");
        assert_eq!(hsm.describe_key(KeyRef::Kek(found.kek_id)).unwrap(), found);
        assert_eq!(hsm.list_keys().unwrap(), [found]);
    }
}

#[test]
fn the_value_of_a_master_key_cannot_be_read() {
    let (token, _hsm, key) = with_key(WrappingAlgorithm::AesGcm);
    let session = raw::logged_in(&token);
    let [handle] = raw::find(&session, &format!("{key}:1"))[..] else { panic!("one key") };
    assert_eq!(session.get_attributes(handle, &[AttributeType::Value]).unwrap(), []);
    let info = session.get_attribute_info(handle, &[AttributeType::Value]).unwrap();
    assert!(matches!(info[..], [cryptoki::object::AttributeInfo::Sensitive]), "{info:?}");
    // And it does not become readable by asking for it.
    assert!(session.update_attributes(handle, &[Attribute::Extractable(true)]).is_err());
    assert!(session.update_attributes(handle, &[Attribute::Sensitive(false)]).is_err());
}

#[test]
fn a_key_has_one_purpose() {
    use Attribute::{Decrypt, Derive, Encrypt, Sign, Unwrap, Wrap};
    type Flag = (fn(bool) -> Attribute, AttributeType);
    let flags: [Flag; 6] = [
        (Encrypt, AttributeType::Encrypt),
        (Decrypt, AttributeType::Decrypt),
        (Wrap, AttributeType::Wrap),
        (Unwrap, AttributeType::Unwrap),
        (Sign, AttributeType::Sign),
        (Derive, AttributeType::Derive),
    ];
    for (algorithm, expected) in [
        (WrappingAlgorithm::AesGcm, [true, true, false, false, false, false]),
        (WrappingAlgorithm::AesKw, [false, false, true, true, false, false]),
    ] {
        let (token, _hsm, key) = with_key(algorithm);
        let session = raw::logged_in(&token);
        let handle = raw::find(&session, &format!("{key}:1"))[0];
        for ((of, attribute), expected) in flags.into_iter().zip(expected) {
            let is = session.get_attributes(handle, &[attribute]).unwrap();
            assert_eq!(is, [of(expected)], "{algorithm}");
        }
    }
}

#[test]
fn no_public_key_object_stays_on_the_token() {
    let (token, _hsm, _key) = with_key(WrappingAlgorithm::RsaOaepSha1);
    let session = raw::logged_in(&token);
    assert_eq!(session.find_objects(&[Attribute::Class(ObjectClass::PUBLIC_KEY)]).unwrap(), []);
}

#[test]
fn creating_twice_is_refused() {
    for algorithm in ALGORITHMS {
        let (_token, hsm, key) = with_key(algorithm);
        for again in [AlgorithmChoice::Auto, AlgorithmChoice::Exactly(algorithm)] {
            assert_kind(hsm.create_key(&key, again), ErrorKind::KeyExists);
        }
        assert_eq!(hsm.list_keys().unwrap().len(), 1);
    }
}

#[test]
fn auto_takes_aes_gcm() {
    let token = SoftToken::new();
    let made = token.provider().create_key(&name("a"), AlgorithmChoice::Auto).unwrap();
    assert_eq!(made.algorithm, WrappingAlgorithm::AesGcm);
}

#[test]
fn what_the_token_cannot_do_leaves_nothing_behind() {
    // SoftHSM 2.6 lists OAEP but has no SHA-256 in it: the canary shows it.
    let token = SoftToken::new();
    let hsm = token.provider().only([name("a")]);
    let error = assert_kind(
        hsm.create_key(&name("a"), AlgorithmChoice::Exactly(WrappingAlgorithm::RsaOaep)),
        ErrorKind::Unsupported,
    );
    assert!(error.to_string().contains("rsa-oaep"), "{error}");
    assert_eq!(hsm.list_keys().unwrap(), []);
    let session = raw::logged_in(&token);
    assert_eq!(session.find_objects(&[]).unwrap(), [], "neither key nor record");
    hsm.create_key(&name("a"), AlgorithmChoice::Auto).unwrap();
}

#[test]
fn rotation_makes_a_version_and_retires_the_others() {
    for algorithm in ALGORITHMS {
        let (_token, hsm, key) = with_key(algorithm);
        let (data_key, old) = hsm.generate_data_key(&key, &context(&[]), DataKeyLength::Bytes32).unwrap();
        for expected in 2..=3 {
            let rotated = hsm.rotate_key(&key, None).unwrap();
            assert_eq!((rotated.version.get(), rotated.algorithm), (expected, algorithm));
        }
        let states: Vec<_> = hsm.list_keys().unwrap().iter().map(|key| (key.version.get(), key.state)).collect();
        assert_eq!(states, [(1, KeyState::Retired), (2, KeyState::Retired), (3, KeyState::Active)], "{algorithm}");
        let again = hsm.unwrap_data_key(&old, &context(&[])).unwrap();
        assert_eq!(again.expose_secret(), data_key.expose_secret());
        let new = hsm.rewrap_data_key(&old, &context(&[]), &key, keyward::Origin::Unverified).unwrap();
        let current = hsm.describe_key(KeyRef::Name(&key)).unwrap();
        assert_eq!(new.iter().next().unwrap().kek_id(), current.kek_id);
    }
}

#[test]
fn the_token_itself_refuses_what_a_state_forbids() {
    let (token, hsm, key) = with_key(WrappingAlgorithm::AesGcm);
    hsm.rotate_key(&key, None).unwrap();
    let session = raw::logged_in(&token);
    let retired = raw::find(&session, &format!("{key}:1"))[0];
    let mut iv = [1; 12];
    let params = cryptoki::mechanism::aead::GcmParams::new(&mut iv, &[], 128.into()).unwrap();
    let mechanism = cryptoki::mechanism::Mechanism::AesGcm(params);
    let answer = session.encrypt_init(&mechanism, retired);
    assert!(answer.is_err(), "a retired key still encrypts");
}

#[test]
fn disabled_forbids_all_and_enabled_allows_it_again() {
    for algorithm in ALGORITHMS {
        let (_token, hsm, key) = with_key(algorithm);
        let (_, wrapped) = hsm.generate_data_key(&key, &context(&[]), DataKeyLength::Bytes32).unwrap();
        assert_eq!(hsm.disable_key(&key, KeyVersion::FIRST).unwrap().state, KeyState::Disabled);
        assert_kind(hsm.generate_data_key(&key, &context(&[]), DataKeyLength::Bytes32), ErrorKind::KeyState);
        let error = assert_kind(hsm.unwrap_data_key(&wrapped, &context(&[])), ErrorKind::KeyState);
        assert!(error.to_string().contains("disabled"), "{error}");
        assert_eq!(hsm.enable_key(&key, KeyVersion::FIRST).unwrap().state, KeyState::Active);
        hsm.unwrap_data_key(&wrapped, &context(&[])).unwrap();
        hsm.generate_data_key(&key, &context(&[]), DataKeyLength::Bytes32).unwrap();

        // An older version comes back for recovery only.
        hsm.rotate_key(&key, None).unwrap();
        hsm.disable_key(&key, KeyVersion::FIRST).unwrap();
        assert_eq!(hsm.enable_key(&key, KeyVersion::FIRST).unwrap().state, KeyState::Retired);
        hsm.unwrap_data_key(&wrapped, &context(&[])).unwrap();
    }
}

#[test]
fn another_provider_notices_a_disabled_key_at_once() {
    // The second provider has found the key before and still holds its handle.
    for algorithm in [WrappingAlgorithm::AesGcm, WrappingAlgorithm::AesKw] {
        let (token, hsm, key) = with_key(algorithm);
        let other = token.provider();
        let (_, wrapped) = other.generate_data_key(&key, &context(&[]), DataKeyLength::Bytes32).unwrap();
        other.unwrap_data_key(&wrapped, &context(&[])).unwrap();
        hsm.disable_key(&key, KeyVersion::FIRST).unwrap();
        assert_kind(other.generate_data_key(&key, &context(&[]), DataKeyLength::Bytes32), ErrorKind::KeyState);
        assert_kind(other.unwrap_data_key(&wrapped, &context(&[])), ErrorKind::KeyState);
        hsm.enable_key(&key, KeyVersion::FIRST).unwrap();
        hsm.rotate_key(&key, None).unwrap();
        // What was the current version may not protect any more; the refusal makes it look again.
        let (_, newer) = other.generate_data_key(&key, &context(&[]), DataKeyLength::Bytes32).unwrap();
        let current = hsm.describe_key(KeyRef::Name(&key)).unwrap();
        assert_eq!(newer.iter().next().unwrap().kek_id(), current.kek_id);
    }
}

#[test]
fn destroyed_is_gone_with_its_record() {
    for algorithm in ALGORITHMS {
        let (token, hsm, key) = with_key(algorithm);
        let (_, wrapped) = hsm.generate_data_key(&key, &context(&[]), DataKeyLength::Bytes32).unwrap();
        hsm.rotate_key(&key, None).unwrap();
        hsm.destroy_key(&key, KeyVersion::FIRST, VersionReuse::Refuse).unwrap();
        assert_kind(hsm.unwrap_data_key(&wrapped, &context(&[])), ErrorKind::KeyNotFound);
        assert_kind(hsm.destroy_key(&key, KeyVersion::FIRST, VersionReuse::Refuse), ErrorKind::KeyNotFound);
        assert_eq!(hsm.list_keys().unwrap().len(), 1);
        hsm.destroy_key(&key, version("2"), VersionReuse::Refuse).unwrap();
        assert_kind(hsm.describe_key(KeyRef::Name(&key)), ErrorKind::KeyNotFound);
        let session = raw::logged_in(&token);
        let left: Vec<_> = records::all(&session).into_iter().map(|(_, label, _)| label).collect();
        assert_eq!(left, ["keyward tombstone records"]);
        assert_eq!(raw::objects(&session, &[]).len(), 1);
    }
}

#[test]
fn many_threads_creating_one_name_make_one_key() {
    let token = SoftToken::new();
    let hsm = token.provider();
    let barrier = std::sync::Barrier::new(8);
    let made = std::thread::scope(|scope| {
        let create = || {
            barrier.wait();
            hsm.create_key(&name("shared"), AlgorithmChoice::Auto)
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(create)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    let (won, lost): (Vec<_>, Vec<_>) = made.into_iter().partition(Result::is_ok);
    assert_eq!(won.len(), 1, "{lost:?}");
    for error in lost {
        assert_kind(error, ErrorKind::KeyExists);
    }
    assert_eq!(hsm.list_keys().unwrap(), [won.into_iter().next().unwrap().unwrap()]);
}

/// What a maker that died leaves behind: a key, and a record without a canary.
fn leftovers(usage: &[Attribute]) {
    let token = SoftToken::new();
    let hsm = token.provider();
    let session = raw::logged_in(&token);
    raw::generate(&session, "a:1", &[0; 16], usage);
    records::write(&session, "a:1", &records::pending([0; 16]));
    // Nobody uses it, so that nothing is lost with it.
    let listed = hsm.list_keys().unwrap();
    assert_eq!((listed.len(), listed[0].state), (1, KeyState::Pending));
    let answer = hsm.generate_data_key(&name("a"), &context(&[]), DataKeyLength::Bytes32);
    assert_kind(answer.map(drop), ErrorKind::KeyNotFound);
    // It has the lowest id there is, so it is waited for, and destroyed when its maker does not come.
    let made = hsm.create_key(&name("a"), AlgorithmChoice::Auto).unwrap();
    assert_eq!(hsm.list_keys().unwrap(), [made]);
}

#[test]
fn the_leftovers_of_a_dead_maker_do_not_stand_in_the_way() {
    leftovers(&[Attribute::Encrypt(false), Attribute::Decrypt(false)]);
}

#[test]
fn a_key_that_was_enabled_and_not_proven_is_a_leftover_too() {
    leftovers(&[]);
}
