//! What is read back of keys and tokens.

use super::*;
use keyward::hsm::{Canary, CheckValue, Claim};
use keyward::key::VersionReuse;
use keyward::{AlgorithmChoice, KeyVersion};

#[test]
fn the_attributes_of_a_key_are_told_as_the_token_claims_them() {
    for algorithm in algorithms() {
        let hsm = provider();
        let plan = plan("records", algorithm);
        hsm.create_planned(&plan).unwrap();
        let report = hsm.read_back(plan.kek_id).unwrap();
        let claims: Vec<String> = report.attributes.iter().map(|one| format!("{}={}", one.name, one.claim)).collect();
        println!("{algorithm}: {}", claims.join(" "));
        println!("{algorithm}: check value {:?}", report.check_value);
        let expected = [
            ("CKA_LABEL", Claim::Text("records:1".into())),
            ("CKA_ID", Claim::Bytes(plan.kek_id.as_bytes().to_vec())),
            ("CKA_TOKEN", Claim::Flag(true)),
            ("CKA_PRIVATE", Claim::Flag(true)),
            ("CKA_SENSITIVE", Claim::Flag(true)),
            ("CKA_ALWAYS_SENSITIVE", Claim::Flag(true)),
            ("CKA_EXTRACTABLE", Claim::Flag(false)),
            ("CKA_NEVER_EXTRACTABLE", Claim::Flag(true)),
            ("CKA_LOCAL", Claim::Flag(true)),
            ("CKA_MODIFIABLE", Claim::Flag(true)),
            ("CKA_SIGN", Claim::Flag(false)),
            ("CKA_DERIVE", Claim::Flag(false)),
            ("CKA_WRAP_WITH_TRUSTED", Claim::Flag(false)),
            // CKM_AES_KEY_GEN, CKM_RSA_PKCS_KEY_PAIR_GEN
            ("CKA_KEY_GEN_MECHANISM", Claim::Number(if algorithm.is_rsa() { 0 } else { 0x1080 })),
        ];
        for (name, claim) in expected {
            assert_eq!(report.claim(name), Some(&claim), "{algorithm}: {name}");
        }
        assert_eq!(report.attributes.len(), 24);
        assert_eq!(report.public_key.is_some(), algorithm.is_rsa());
        if algorithm.is_rsa() {
            assert_eq!(report.public_key, hsm.public_key(&plan.name).ok());
            assert!(matches!(report.claim("CKA_MODULUS"), Some(Claim::Bytes(modulus)) if modulus.len() == 384));
            assert_eq!(report.check_value, None);
        } else {
            assert_eq!(report.claim("CKA_VALUE_LEN"), Some(&Claim::Number(32)));
            assert_eq!(report.claim("CKA_MODULUS"), Some(&Claim::NotTold));
        }
        // It is said where the check value comes from, and an AES-KW key has one only where the token tells it.
        match (algorithm, report.check_value, report.claim("CKA_CHECK_VALUE").unwrap()) {
            (_, Some(CheckValue::Told(value)), claim) => assert_eq!(*claim, Claim::Bytes(value.to_vec())),
            (WrappingAlgorithm::AesGcm, Some(CheckValue::Computed(_)), Claim::NotTold) => {}
            (_, None, Claim::NotTold) if algorithm != WrappingAlgorithm::AesGcm => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_canary_that_is_kept_opens_with_its_key_alone() {
    for algorithm in algorithms() {
        let hsm = provider();
        let (records, other) = (plan("records", algorithm), plan("other", algorithm));
        hsm.create_planned(&records).unwrap();
        hsm.create_planned(&other).unwrap();
        let kept = hsm.make_canary(records.kek_id).unwrap().to_string();
        let canary: Canary = kept.parse().unwrap();
        assert_eq!(canary.kek_id(), records.kek_id);
        hsm.open_canary(&canary).unwrap();
        assert!(hsm.open_recorded_canary(records.kek_id).unwrap());
        // The hash of another canary, and a byte of the wrapped key.
        let of_other = hsm.make_canary(records.kek_id).unwrap().to_string();
        let exchanged = format!("{}{}", &of_other[..64], &kept[64..]);
        assert_kind(hsm.open_canary(&exchanged.parse().unwrap()), ErrorKind::NotAuthentic);
        let last = if kept.ends_with('0') { '1' } else { '0' };
        let altered = format!("{}{last}", &kept[..kept.len() - 1]);
        assert_kind(hsm.open_canary(&altered.parse().unwrap()), ErrorKind::NotAuthentic);
        // On another token there is no such key, or another that has its id.
        let elsewhere = provider();
        assert_kind(elsewhere.open_canary(&canary), ErrorKind::KeyNotFound);
        elsewhere.create_planned(&records).unwrap();
        assert_kind(elsewhere.open_canary(&canary), ErrorKind::NotAuthentic);
    }
}

#[test]
fn an_inventory_counts_what_is_there() {
    let hsm = provider();
    let empty = hsm.inventory().unwrap();
    assert_eq!((empty.secret_keys, empty.private_keys, empty.public_keys), (0, 0, 0));
    assert_eq!((empty.data_objects, empty.keys, empty.session_objects), (0, 0, 0));
    println!("of other classes on an empty token: {}", empty.others);
    hsm.create_key(&name("records"), AlgorithmChoice::Exactly(WrappingAlgorithm::AesGcm)).unwrap();
    hsm.create_key(&name("other"), AlgorithmChoice::Exactly(WrappingAlgorithm::RsaOaepSha1)).unwrap();
    let transport = keyward::hsm::backup::TransportKey::create(hsm.token(), new_id()).unwrap();
    let full = hsm.inventory().unwrap();
    assert_eq!((full.secret_keys, full.private_keys, full.public_keys, full.data_objects), (1, 2, 0, 2));
    assert_eq!((full.keys, full.pending_keys, full.records, full.transport_keys), (2, 0, 2, 1));
    assert_eq!((full.others, full.session_objects, full.audit_keys), (empty.others, 0, 0));
    transport.destroy().unwrap();
    hsm.destroy_key(&name("other"), KeyVersion::FIRST, VersionReuse::Refuse).unwrap();
    hsm.destroy_key(&name("records"), KeyVersion::FIRST, VersionReuse::Refuse).unwrap();
    // Two keys that are remembered.
    let end = hsm.inventory().unwrap();
    assert_eq!((end.tombstones, end.data_objects, end.records, end.keys), (2, 2, 0, 0));
    assert_eq!((end.secret_keys, end.private_keys, end.others), (0, 0, empty.others));
}

#[test]
fn what_is_destroyed_is_proven_to_be_gone() {
    for algorithm in algorithms() {
        let hsm = provider();
        let plan = plan("records", algorithm);
        let absent = hsm.prove_absence(&plan.name, plan.version, plan.kek_id).unwrap();
        assert!(absent.is_proven(), "{absent:?}");
        assert_eq!(absent.searches.len(), 8);
        hsm.create_planned(&plan).unwrap();
        let present = hsm.prove_absence(&plan.name, plan.version, plan.kek_id).unwrap();
        let found: Vec<_> =
            present.searches.iter().filter(|one| one.found > 0).map(|one| (one.class, one.by)).collect();
        let keys = if algorithm.is_rsa() { "private keys" } else { "secret keys" };
        let data = "data objects";
        assert_eq!(found, [(keys, "CKA_ID"), (keys, "CKA_LABEL"), (data, "CKA_LABEL"), (data, "record")]);
        assert!(!present.is_proven());
        let gone = hsm.destroy_with_proof(&plan.name, plan.version).unwrap();
        assert_eq!(gone, absent);
        assert_kind(hsm.destroy_with_proof(&plan.name, plan.version), ErrorKind::KeyNotFound);
    }
}
