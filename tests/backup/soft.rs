//! What is planted and what is left, past the provider: on SoftHSM, where another program can do that.

#[path = "../provider/raw.rs"]
#[allow(dead_code)]
mod raw;

#[path = "../provider/records.rs"]
#[allow(dead_code)]
mod records;

use crate::*;
use cryptoki::object::Attribute;
use keyward::hsm::backup::TransportKey;
use keyward::testkit::SoftToken;

#[test]
fn a_sweep_destroys_what_is_planned_and_tells_of_the_rest() {
    let soft = SoftToken::new();
    let hsm = soft.provider();
    let plan = plan("records", WrappingAlgorithm::AesGcm);
    hsm.create_planned(&plan).unwrap();
    let id = *plan.kek_id.as_bytes();
    let session = raw::logged_in(&soft);
    let extractable = Attribute::Extractable(true);
    // Left of the planned key: on the token and in a session. Somebody else's: one that can leave, one that cannot.
    raw::generate(&session, "records:1", &id, std::slice::from_ref(&extractable));
    raw::generate(&session, "records:1", &id, &[extractable.clone(), Attribute::Token(false)]);
    raw::generate(&session, "records:1", &id, &[Attribute::Token(false)]);
    raw::generate(&session, "foreign", &[1, 2, 3], &[extractable]);
    raw::generate(&session, "foreign-too", &[1, 2, 4], &[]);
    let sweep = hsm.sweep(&[plan.kek_id]).unwrap();
    let mut told: Vec<_> =
        sweep.destroyed.iter().map(|one| (one.label.as_str(), one.of_token, one.extractable)).collect();
    told.sort_unstable();
    let expected = [(false, Some(false)), (false, Some(true)), (true, Some(true))];
    assert_eq!(told, expected.map(|(of_token, extractable)| ("records:1", of_token, extractable)));
    assert!(!sweep.is_clean());
    assert_eq!(sweep.extractable.len(), 1, "{sweep:?}");
    assert_eq!((sweep.extractable[0].label.as_str(), sweep.extractable[0].id.as_slice()), ("foreign", &[1, 2, 3][..]));
    // The key itself is as it was.
    assert_eq!(raw::find(&session, "records:1").len(), 1);
    assert_opens(&hsm, &hsm, &plan.name);
}

/// The files of all tokens, which are SoftHSM's only protection.
fn is_on_disk(value: &[u8]) -> bool {
    let conf = std::fs::read_to_string(std::env::var("SOFTHSM2_CONF").unwrap()).unwrap();
    let tokens = conf.lines().find_map(|line| line.strip_prefix("directories.tokendir = ")).unwrap();
    let files =
        |dir: &std::path::Path| std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    files(tokens.as_ref())
        .flat_map(|token| files(&token).collect::<Vec<_>>())
        .any(|file| std::fs::read(file).is_ok_and(|bytes| bytes.windows(value.len()).any(|window| window == value)))
}

#[test]
fn an_aes_key_of_the_security_officer_lies_in_clear() {
    // Why nothing is wrapped under an AES key: a fact about SoftHSM that the rule rests on.
    let soft = SoftToken::new();
    let import = |session: &cryptoki::session::Session, private: bool, value: &[u8; 32]| {
        session.create_object(&[
            Attribute::Class(cryptoki::object::ObjectClass::SECRET_KEY),
            Attribute::KeyType(cryptoki::object::KeyType::AES),
            Attribute::Token(true),
            Attribute::Private(private),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Value(value.to_vec()),
        ])
    };
    let session = raw::session(soft.uri().token().unwrap());
    session.login(cryptoki::session::UserType::So, Some(&cryptoki::types::AuthPin::from("test-so-pin"))).unwrap();
    let (of_officer, of_user) = (b"the security officer's AES key 1", b"a user's AES key, made as such 2");
    assert!(import(&session, true, of_officer).is_err(), "it cannot be private");
    import(&session, false, of_officer).unwrap();
    session.logout().unwrap();
    drop(session);
    import(&raw::logged_in(&soft), true, of_user).unwrap();
    assert_eq!((is_on_disk(of_officer), is_on_disk(of_user)), (true, false));
}

#[test]
fn a_public_object_of_the_same_label_is_in_the_evidence() {
    let soft = SoftToken::new();
    let hsm = soft.provider();
    let plan = plan("records", WrappingAlgorithm::AesGcm);
    hsm.create_planned(&plan).unwrap();
    let session = raw::logged_in(&soft);
    raw::generate(&session, "records:1", &[9; 16], &[Attribute::Private(false)]);
    let gone = hsm.destroy_with_proof(&plan.name, plan.version).unwrap();
    assert!(!gone.is_proven(), "{gone:?}");
    assert_eq!(gone.searches.iter().map(|search| search.found).sum::<usize>(), 1);
}

#[test]
fn a_transport_key_that_somebody_planted_is_not_used() {
    let soft = SoftToken::new();
    let token = soft.open();
    let id = new_id();
    let session = raw::logged_in(&soft);
    let public =
        [Attribute::Token(false), Attribute::ModulusBits(3072.into()), Attribute::PublicExponent(vec![1, 0, 1])];
    let private = |more: &[Attribute]| {
        let mut template = vec![
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Label(b"keyward transport".to_vec()),
            Attribute::Id(id.as_bytes().to_vec()),
            Attribute::Unwrap(true),
        ];
        template.extend_from_slice(more);
        session.generate_key_pair(&cryptoki::mechanism::Mechanism::RsaPkcsKeyPairGen, &public, &template).unwrap().1
    };
    for (more, what) in [
        ([Attribute::Extractable(true), Attribute::Decrypt(false)], "CKA_EXTRACTABLE"),
        ([Attribute::Extractable(false), Attribute::Decrypt(true)], "CKA_DECRYPT"),
    ] {
        let planted = private(&more);
        let error = assert_kind(TransportKey::create(&token, id), ErrorKind::KeyAttributes);
        assert!(error.to_string().contains(what), "{error}");
        session.destroy_object(planted).unwrap();
    }
    let one = private(&[Attribute::Extractable(false), Attribute::Decrypt(false)]);
    TransportKey::create(&token, id).unwrap();
    private(&[Attribute::Extractable(false), Attribute::Decrypt(false)]);
    assert_kind(TransportKey::create(&token, id), ErrorKind::DuplicateKey);
    session.destroy_object(one).unwrap();
}

#[test]
fn a_record_that_says_generated_does_not_make_up_for_what_the_token_says() {
    // Whoever has the PIN can write any record. The attributes of a key that came from outside stay what they are.
    let soft = SoftToken::new();
    let (backup_soft, plan) = (SoftToken::new(), plan("records", WrappingAlgorithm::AesGcm));
    let (source, backup) = (soft.provider().accept(BROUGHT), backup_soft.provider().accept(BROUGHT));
    let transport = TransportKey::create(backup.token(), new_id()).unwrap();
    let pinned = transport.public().fingerprint().unwrap();
    keyward::hsm::backup::trusted_wrap(&source, &backup, &plan, &transport, &pinned).unwrap();
    for soft in [&soft, &backup_soft] {
        let session = raw::logged_in(soft);
        let label = [Attribute::Class(cryptoki::object::ObjectClass::DATA), Attribute::Label(b"records:1".to_vec())];
        let record = session.find_objects(&label).unwrap()[0];
        let Attribute::Value(text) =
            &session.get_attributes(record, &[cryptoki::object::AttributeType::Value]).unwrap()[0]
        else {
            panic!("a record has a value");
        };
        let forged = String::from_utf8(text.clone()).unwrap().replace("trusted-wrap", "generated");
        session.destroy_object(record).unwrap();
        records::write(&session, "records:1", &forged);
        let hsm = soft.provider().accept(BROUGHT);
        let answer = hsm.generate_data_key(&plan.name, &EncryptionContext::new(), DataKeyLength::Bytes32);
        let error = assert_kind(answer, ErrorKind::KeyAttributes);
        assert!(error.to_string().contains("CKA_NEVER_EXTRACTABLE"), "{error}");
    }
}

/// SoftHSM adds a blank token while it lists, where the last one was initialized.
#[test]
fn threads_that_list_tokens_at_once_leave_the_process_alive() {
    let module = crate::tokens::module();
    for _ in 0..100 {
        let token = crate::tokens::new_token();
        let barrier = std::sync::Barrier::new(8);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    barrier.wait();
                    let tokens = module.tokens().unwrap();
                    assert_eq!(tokens.iter().filter(|other| other.serial == token.serial).count(), 1);
                });
            }
        });
    }
}
