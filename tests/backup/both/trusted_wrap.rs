//! A key that is made on one token and wrapped for another.

use super::*;
use keyward::KeyRef;
use keyward::hsm::backup::{TransportKey, prove_same, trusted_wrap};
use keyward::hsm::{CheckValue, Claim};
use keyward::key::{KeyState, VersionReuse};

/// A transport key on the backup token, and its fingerprint, as people compared it.
fn transport(backup: &HsmProvider) -> (TransportKey, String) {
    let transport = TransportKey::create(backup.token(), new_id()).unwrap();
    let fingerprint = transport.public().fingerprint().unwrap();
    (transport, fingerprint)
}

#[test]
fn the_same_key_is_on_both_tokens_and_can_leave_neither() {
    for algorithm in AES {
        let (source, backup) = (provider(), provider());
        let (transport, pinned) = transport(&backup);
        let plan = plan("records", algorithm);
        let made = trusted_wrap(&source, &backup, &plan, &transport, &pinned).unwrap();
        for (hsm, key) in [(&source, &made.source), (&backup, &made.backup)] {
            assert_eq!((key.kek_id, key.algorithm, key.state), (plan.kek_id, algorithm, KeyState::Active));
            assert_eq!((key.provenance, &key.problems[..]), (Provenance::TrustedWrap, &[][..]));
            let report = hsm.read_back(plan.kek_id).unwrap();
            let claims: Vec<_> = report.attributes.iter().map(|one| format!("{}={}", one.name, one.claim)).collect();
            println!("{algorithm}: {}; check value {:?}", claims.join(" "), report.check_value);
            for (name, is) in [("CKA_EXTRACTABLE", false), ("CKA_SENSITIVE", true), ("CKA_PRIVATE", true)] {
                assert_eq!(report.claim(name), Some(&Claim::Flag(is)), "{name}");
            }
            // Kryoptic does not tell it of a key that it unwrapped.
            let never = report.claim("CKA_NEVER_EXTRACTABLE").unwrap();
            assert!(matches!(never, Claim::Flag(false) | Claim::NotTold), "{never}");
            let sweep = hsm.sweep(&[plan.kek_id]).unwrap();
            assert!(sweep.is_clean() && sweep.destroyed.is_empty(), "{sweep:?}");
        }
        // One token tells it, the other computes it: the same.
        let check = |hsm: &HsmProvider| hsm.read_back(plan.kek_id).unwrap().check_value.map(CheckValue::bytes);
        if let (Some(one), Some(other)) = (check(&source), check(&backup)) {
            assert_eq!(one, other);
        }
        assert_eq!(check(&source).is_some() && check(&backup).is_some(), algorithm == WrappingAlgorithm::AesGcm);
        assert_opens(&source, &backup, &plan.name);
        assert_opens(&backup, &source, &plan.name);
        prove_same(&source, &backup, plan.kek_id).unwrap();
        backup.open_canary(&made.canary).unwrap();
        // Again: it is there.
        let before = (source.inventory().unwrap(), backup.inventory().unwrap());
        let again = trusted_wrap(&source, &backup, &plan, &transport, &pinned).unwrap();
        assert_eq!((again.source, again.backup), (made.source, made.backup));
        assert_eq!((source.inventory().unwrap(), backup.inventory().unwrap()), before);
        transport.destroy().unwrap();
        let (of_source, of_backup) = (source.inventory().unwrap(), backup.inventory().unwrap());
        assert_eq!(of_source, of_backup);
        assert_eq!((of_source.secret_keys, of_source.records, of_source.session_objects), (1, 1, 0));
        assert_eq!((of_source.private_keys, of_source.public_keys), (0, 0));
    }
}

#[test]
fn tokens_of_two_makes_agree_on_a_hash() {
    // On Kryoptic, which has SHA-256, the other is SoftHSM, which has SHA-1 only. On SoftHSM both are of one make.
    let soft = keyward::testkit::SoftToken::new();
    let (one, other) = (provider(), accepting(&soft.open()));
    for (source, backup, key) in [(&one, &other, "records"), (&other, &one, "other")] {
        let (transport, pinned) = transport(backup);
        let plan = plan(key, WrappingAlgorithm::AesGcm);
        trusted_wrap(source, backup, &plan, &transport, &pinned).unwrap();
        prove_same(source, backup, plan.kek_id).unwrap();
    }
}

#[test]
fn it_is_used_only_where_its_provenance_is_accepted() {
    let (source, backup) = (provider(), provider());
    let (transport, pinned) = transport(&backup);
    let plan = plan("records", WrappingAlgorithm::AesGcm);
    trusted_wrap(&source, &backup, &plan, &transport, &pinned).unwrap();
    let context = EncryptionContext::new();
    let (_, wrapped) = source.generate_data_key(&plan.name, &context, DataKeyLength::Bytes32).unwrap();
    for token in [source.token(), backup.token()] {
        for accepted in [None, Some(Provenance::Components)] {
            let hsm = strict(token).accept(accepted);
            let protecting = hsm.generate_data_key(&plan.name, &context, DataKeyLength::Bytes32);
            let error = assert_kind(protecting, ErrorKind::KeyAttributes);
            assert!(error.to_string().contains("trusted-wrap"), "{error}");
            assert!(error.hint().unwrap().contains("accept = [\"trusted-wrap\"]"), "{error:?}");
            assert_kind(hsm.unwrap_data_key(&wrapped, &context), ErrorKind::KeyAttributes);
            assert_kind(hsm.make_canary(plan.kek_id), ErrorKind::KeyAttributes);
            // Where keys are told, it is told as well.
            let described = hsm.describe_key(KeyRef::Name(&plan.name)).unwrap();
            assert_eq!(described.problems, ["its provenance is trusted-wrap, which is not accepted"]);
            assert_eq!(hsm.list_keys().unwrap()[0].problems, described.problems);
        }
        strict(token).accept([Provenance::TrustedWrap]).unwrap_data_key(&wrapped, &context).unwrap();
    }
}

#[test]
fn nothing_is_exported_against_the_rules() {
    let (source, backup) = (provider(), provider());
    let (transport, pinned) = transport(&backup);
    let records = plan("records", WrappingAlgorithm::AesGcm);
    let before = (source.inventory().unwrap(), backup.inventory().unwrap());
    let wrong = pinned.replace(|c: char| c == pinned.chars().next().unwrap(), "x");
    let refused = |source: &HsmProvider, backup: &HsmProvider, plan: &PlannedKey, pinned: &str, kind| {
        assert_kind(trusted_wrap(source, backup, plan, &transport, pinned), kind)
    };
    // A transport key that nobody compared; a part of its fingerprint does not do.
    refused(&source, &backup, &records, &wrong, ErrorKind::KeyAttributes);
    refused(&source, &backup, &records, &pinned[..63], ErrorKind::KeyAttributes);
    refused(&source, &backup, &records, "", ErrorKind::KeyAttributes);
    let error = refused(
        &source,
        &backup,
        &plan("records", WrappingAlgorithm::RsaOaepSha1),
        &pinned,
        ErrorKind::InvalidArgument,
    );
    assert!(error.to_string().contains("RSA"), "{error}");
    // For a token that is its own backup, or has not the private half.
    refused(&backup, &backup, &records, &pinned, ErrorKind::InvalidArgument);
    refused(&backup, &source, &records, &pinned, ErrorKind::InvalidArgument);
    assert_eq!((source.inventory().unwrap(), backup.inventory().unwrap()), before);
    // A key that is in use on either is not exported and not replaced.
    let kept = source.create_planned(&records).unwrap();
    refused(&source, &backup, &records, &pinned, ErrorKind::KeyExists);
    refused(&source, &backup, &plan("records", WrappingAlgorithm::AesGcm), &pinned, ErrorKind::KeyExists);
    let on_backup = plan("other", WrappingAlgorithm::AesGcm);
    let kept_there = backup.create_planned(&on_backup).unwrap();
    refused(&source, &backup, &plan("other", WrappingAlgorithm::AesGcm), &pinned, ErrorKind::KeyExists);
    assert_eq!(source.list_keys().unwrap(), [kept]);
    assert_eq!(backup.list_keys().unwrap(), [kept_there]);
    for hsm in [&source, &backup] {
        assert!(hsm.sweep(&[records.kek_id]).unwrap().is_clean());
        assert_eq!(hsm.inventory().unwrap().records, 1);
    }
}

#[test]
fn a_key_that_is_finished_on_one_token_alone_is_not_made_again() {
    let (source, backup) = (provider(), provider());
    let (transport, pinned) = transport(&backup);
    let plan = plan("records", WrappingAlgorithm::AesKw);
    trusted_wrap(&source, &backup, &plan, &transport, &pinned).unwrap();
    backup.destroy_key(&plan.name, plan.version, VersionReuse::Refuse).unwrap();
    let error = assert_kind(trusted_wrap(&source, &backup, &plan, &transport, &pinned), ErrorKind::KeyExists);
    assert!(error.to_string().contains("can leave neither"), "{error}");
    assert_opens(&source, &source, &plan.name);
}

#[test]
fn a_transport_key_is_found_again_and_can_do_nothing_else() {
    let backup = provider();
    let (transport, pinned) = transport(&backup);
    let again = TransportKey::create(backup.token(), transport.id()).unwrap();
    assert_eq!(again.public().fingerprint().unwrap(), pinned);
    assert_eq!(pinned.len(), 64);
    assert!(transport.public().to_pem().unwrap().starts_with("-----BEGIN PUBLIC KEY-----\n"));
    assert_eq!((backup.inventory().unwrap().private_keys, backup.inventory().unwrap().public_keys), (1, 0));
    // It is no master key.
    assert_eq!(backup.list_keys().unwrap(), []);
    transport.destroy().unwrap();
    again.destroy().unwrap();
    assert_eq!(backup.inventory().unwrap().private_keys, 0);
}

#[test]
fn keys_that_are_two_are_not_taken_for_clones() {
    let (one, other) = (provider(), provider());
    let plan = plan("records", WrappingAlgorithm::AesGcm);
    one.create_planned(&plan).unwrap();
    assert_kind(prove_same(&one, &other, plan.kek_id), ErrorKind::KeyNotFound);
    other.create_planned(&plan).unwrap();
    assert_kind(prove_same(&one, &other, plan.kek_id), ErrorKind::NotAuthentic);
    assert_kind(prove_same(&one, &one, plan.kek_id), ErrorKind::InvalidArgument);
}
