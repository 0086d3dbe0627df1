//! Which objects on a token are believed.

use super::*;
use cryptoki::object::Attribute;
use keyward::{DataKeyLength, KeyProvider, KeyRef};
use std::process::Command;

/// Not a test: what the child process of the next test does.
#[test]
fn plant_without_login() {
    let Ok(label) = std::env::var("KEYWARD_PLANT_ON") else { return };
    let session = raw::session(&label);
    raw::generate(&session, "records:2", &[2; 16], &[Attribute::Private(false)]);
}

#[test]
fn a_key_planted_without_login_is_not_a_new_version() {
    let (token, hsm, key) = with_key(WrappingAlgorithm::AesGcm);
    let label = token.uri().token().unwrap().to_owned();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "trust::plant_without_login"])
        .env("KEYWARD_PLANT_ON", &label)
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));

    // It is there, and looks like a key that never could be extracted.
    let session = raw::logged_in(&token);
    assert_eq!(raw::find(&session, "records:2").len(), 1);

    let fresh = token.provider();
    assert_eq!(fresh.describe_key(KeyRef::Name(&key)).unwrap().version.get(), 1);
    assert_kind(fresh.describe_key(KeyRef::Kek(keyward::KekId::from_bytes([2; 16]))), ErrorKind::KeyNotFound);
    let (_, wrapped) = fresh.generate_data_key(&key, &context(&[]), DataKeyLength::Bytes32).unwrap();
    assert_ne!(wrapped.iter().next().unwrap().kek_id().as_bytes(), &[2; 16]);
    assert_eq!(hsm.rotate_key(&key, None).unwrap().version.get(), 2);
}

#[test]
fn a_key_without_its_protection_is_refused_by_name_of_the_attribute() {
    let cases: [(&[Attribute], &str); 6] = [
        (&[Attribute::Extractable(true)], "CKA_EXTRACTABLE"),
        (&[Attribute::Sensitive(false)], "CKA_SENSITIVE"),
        (&[Attribute::Wrap(true)], "CKA_WRAP"),
        (&[Attribute::Unwrap(true)], "CKA_UNWRAP"),
        (&[Attribute::Sign(true)], "CKA_SIGN"),
        (&[Attribute::Derive(true)], "CKA_DERIVE"),
    ];
    let token = SoftToken::new();
    let hsm = token.provider();
    let session = raw::logged_in(&token);
    for (number, (more, attribute)) in cases.into_iter().enumerate() {
        let key = name(&format!("key-{number}"));
        raw::generate(&session, key.as_str(), &[number as u8; 16], more);
        // Wrap with what the token has: the refusal is of the key, not of a call.
        let answer = hsm.generate_data_key(&key, &context(&[]), DataKeyLength::Bytes32);
        let error = assert_kind(answer, ErrorKind::KeyAttributes);
        assert!(error.to_string().contains(attribute), "{attribute}: {error}");
    }
}

#[test]
fn an_imported_key_is_refused_until_it_is_adopted() {
    // Whoever imported it knows its value: never-extractable and local are false.
    let token = SoftToken::new();
    let hsm = token.provider();
    let session = raw::logged_in(&token);
    session
        .create_object(&[
            Attribute::Class(cryptoki::object::ObjectClass::SECRET_KEY),
            Attribute::KeyType(cryptoki::object::KeyType::AES),
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Encrypt(true),
            Attribute::Decrypt(true),
            Attribute::Value(vec![7; 32]),
            Attribute::Label(b"imported".to_vec()),
            Attribute::Id(vec![1, 2, 3]),
        ])
        .unwrap();
    let key = name("imported");
    let error =
        assert_kind(hsm.generate_data_key(&key, &context(&[]), DataKeyLength::Bytes32), ErrorKind::KeyAttributes);
    for attribute in ["CKA_ALWAYS_SENSITIVE", "CKA_NEVER_EXTRACTABLE", "CKA_LOCAL"] {
        assert!(error.to_string().contains(&format!("{attribute} is false, not true")), "{error}");
    }

    let adoption = hsm.adopt_key("imported").unwrap();
    assert!(adoption.warnings.iter().any(|warning| warning.contains("CKA_NEVER_EXTRACTABLE")), "{adoption:?}");
    let (_, wrapped) = hsm.generate_data_key(&key, &context(&[]), DataKeyLength::Bytes32).unwrap();
    hsm.unwrap_data_key(&wrapped, &context(&[])).unwrap();
}

#[test]
fn keys_made_elsewhere_are_used_as_they_are() {
    // A label without a version is version 1; an id of another length is hashed.
    let token = SoftToken::new();
    let hsm = token.provider();
    let session = raw::logged_in(&token);
    raw::generate(&session, "vendor", &[1, 2, 3], &[]);
    let key = name("vendor");
    let found = hsm.describe_key(KeyRef::Name(&key)).unwrap();
    assert_eq!(found.version.get(), 1);
    assert_eq!(Some(found.kek_id), keyward::KekId::from_cka_id(&[1, 2, 3]));
    let (data_key, wrapped) = hsm.generate_data_key(&key, &context(&[]), DataKeyLength::Bytes32).unwrap();
    let again = token.provider().unwrap_data_key(&wrapped, &context(&[])).unwrap();
    assert_eq!(again.expose_secret(), data_key.expose_secret());
}

#[test]
fn two_keys_of_one_name_protect_nothing_and_recover_both() {
    let token = SoftToken::new();
    let hsm = token.provider();
    let session = raw::logged_in(&token);
    raw::generate(&session, "twin", &[1; 16], &[]);
    let key = name("twin");
    let (_, wrapped) = hsm.generate_data_key(&key, &context(&[]), DataKeyLength::Bytes32).unwrap();
    raw::generate(&session, "twin:1", &[2; 16], &[]);

    let fresh = token.provider();
    let error =
        assert_kind(fresh.generate_data_key(&key, &context(&[]), DataKeyLength::Bytes32), ErrorKind::DuplicateKey);
    for id in ["01".repeat(16), "02".repeat(16)] {
        assert!(error.to_string().contains(&id), "{error}");
    }
    fresh.unwrap_data_key(&wrapped, &context(&[])).unwrap();
    assert!(
        fresh.list_keys().unwrap().iter().any(|key| !key.problems.is_empty()) || fresh.list_keys().unwrap().len() == 2
    );
}

#[test]
fn two_keys_of_one_id_recover_nothing() {
    let token = SoftToken::new();
    let hsm = token.provider();
    let session = raw::logged_in(&token);
    raw::generate(&session, "one", &[1; 16], &[]);
    let (_, wrapped) = hsm.generate_data_key(&name("one"), &context(&[]), DataKeyLength::Bytes32).unwrap();
    raw::generate(&session, "two", &[1; 16], &[]);
    assert_kind(token.provider().unwrap_data_key(&wrapped, &context(&[])), ErrorKind::DuplicateKey);
}

#[test]
fn only_the_named_keys_are_used() {
    let (token, hsm, key) = with_key(WrappingAlgorithm::AesGcm);
    let (_, wrapped) = hsm.generate_data_key(&key, &context(&[]), DataKeyLength::Bytes32).unwrap();
    let other = token.provider().only([name("other")]);
    assert_kind(other.unwrap_data_key(&wrapped, &context(&[])), ErrorKind::KeyNotFound);
    assert_kind(other.generate_data_key(&key, &context(&[]), DataKeyLength::Bytes32), ErrorKind::KeyNotFound);
    assert_kind(other.describe_key(KeyRef::Name(&key)), ErrorKind::KeyNotFound);
}

#[test]
fn an_rsa_key_recovers_only_when_named() {
    let (token, hsm, key) = with_key(WrappingAlgorithm::RsaOaepSha1);
    // Anyone with the public half can make this.
    let forger = keyward::key::PublicKeyProvider::new(hsm.public_key(&key).unwrap());
    let (data_key, forged) = forger.generate_data_key(&key, &context(&[]), DataKeyLength::Bytes32).unwrap();
    let any = token.provider();
    let error = assert_kind(any.unwrap_data_key(&forged, &context(&[])), ErrorKind::KeyNotFound);
    assert!(error.to_string().contains("RSA"), "{error}");
    let named = token.provider().only([key]);
    let again = named.unwrap_data_key(&forged, &context(&[])).unwrap();
    assert_eq!(again.expose_secret(), data_key.expose_secret());
}

#[test]
fn a_file_forged_with_the_public_key_opens_only_where_the_key_is_named() {
    let (token, hsm, rsa) = with_key(WrappingAlgorithm::RsaOaepSha1);
    let symmetric = name("other");
    hsm.create_key(&symmetric, AlgorithmChoice::Auto).unwrap();
    let forger = keyward::key::PublicKeyProvider::new(hsm.public_key(&rsa).unwrap());
    let forged = keyward::Encryptor::new(&forger, &rsa).encrypt(b"anyone's").unwrap();

    assert_kind(keyward::Decryptor::new(&token.provider()).decrypt(&forged), ErrorKind::KeyNotFound);
    let only_symmetric = token.provider().only([symmetric.clone()]);
    assert_kind(keyward::Decryptor::new(&only_symmetric).decrypt(&forged), ErrorKind::KeyNotFound);
    let named = token.provider().only([rsa.clone()]);
    assert_eq!(keyward::Decryptor::new(&named).decrypt(&forged).unwrap(), b"anyone's");

    // Nor does rewrapping make it look like the work of a holder of the symmetric key.
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("forged");
    std::fs::write(&path, &forged).unwrap();
    let both = || token.provider().only([rsa.clone(), symmetric.clone()]);
    let hsm = both();
    let rewrap = keyward::envelope::Rewrap::new(&hsm).to(&symmetric);
    assert_kind(rewrap.file(&path), ErrorKind::OriginUnverified);
    assert_eq!(std::fs::read(&path).unwrap(), forged);
    rewrap.danger_assert_origin().file(&path).unwrap();
    assert_eq!(keyward::Decryptor::new(&only_symmetric).decrypt(&std::fs::read(&path).unwrap()).unwrap(), b"anyone's");
}

#[test]
fn a_key_serves_its_one_algorithm() {
    // An entry that names the KEK with another algorithm is refused before any token call.
    let (_token, hsm, key) = with_key(WrappingAlgorithm::AesGcm);
    let id = hsm.describe_key(KeyRef::Name(&key)).unwrap().kek_id;
    for (algorithm, ciphertext) in [(WrappingAlgorithm::AesKw, 72), (WrappingAlgorithm::RsaOaep, 384)] {
        let other =
            keyward::WrappedKey::new(keyward::WrapOccasion::Generation, algorithm, id, vec![], vec![0; ciphertext])
                .unwrap();
        assert_kind(hsm.unwrap_data_key(&other.into(), &context(&[])), ErrorKind::NotAuthentic);
    }
    // The bytes are right and only the algorithm is another.
    let (_token, hsm, key) = with_key(WrappingAlgorithm::RsaOaepSha1);
    let (_, wrapped) = hsm.generate_data_key(&key, &context(&[]), DataKeyLength::Bytes32).unwrap();
    let right = wrapped.into_vec().remove(0);
    let relabelled = keyward::WrappedKey::new(
        keyward::WrapOccasion::Generation,
        WrappingAlgorithm::RsaOaep,
        right.kek_id(),
        vec![],
        right.ciphertext(),
    )
    .unwrap();
    assert_kind(hsm.unwrap_data_key(&relabelled.into(), &context(&[])), ErrorKind::NotAuthentic);
    hsm.unwrap_data_key(&right.into(), &context(&[])).unwrap();
}

#[test]
fn the_public_half_travels_as_text() {
    let (_token, hsm, key) = with_key(WrappingAlgorithm::RsaOaepSha1);
    let public = hsm.public_key(&key).unwrap();
    assert_eq!(public.modulus_bits(), 3072);
    let text = public.to_text().unwrap();
    let back = keyward::key::PublicKey::parse(&text).unwrap();
    assert_eq!(back.fingerprint().unwrap(), public.fingerprint().unwrap());
    for changed in [
        text.replace("version: 1", "version: 2"),
        text.replace("rsa-oaep-sha1", "rsa-oaep"),
        text.replace("name: records", "name: other"),
    ] {
        let other = keyward::key::PublicKey::parse(&changed).unwrap();
        assert_ne!(other.fingerprint().unwrap(), public.fingerprint().unwrap());
    }
    for bad in ["", "name: a\n", &text[..text.len() - 40], &text.replace("kek-id: ", "kek-id: zz")] {
        assert_kind(keyward::key::PublicKey::parse(bad), ErrorKind::InvalidArgument);
    }
    let symmetric = with_key(WrappingAlgorithm::AesGcm);
    assert_kind(symmetric.1.public_key(&symmetric.2), ErrorKind::InvalidArgument);
}
