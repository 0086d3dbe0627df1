//! A token that goes away and comes back.

use super::*;
use keyward::token::Pin;
use keyward::{AlgorithmChoice, KeyAdmin};

#[test]
fn sessions_that_end_are_opened_again() {
    for algorithm in ALGORITHMS {
        let faulty = Faulty::new();
        let (hsm, key) = faulty.with_key(algorithm, faulty.options());
        let (data_key, wrapped) = generate(&hsm, &key).unwrap();
        // Before each call of an operation in turn: at the first, in the middle, at the end.
        for at in 1..=8 {
            faulty.script(&format!("* {at} drop-sessions"));
            assert_recovers(&hsm, &wrapped, &data_key);
            assert_works(&hsm, &key);
        }
    }
}

#[test]
fn a_login_that_is_lost_is_repeated() {
    for algorithm in ALGORITHMS {
        let faulty = Faulty::new();
        let (hsm, key) = faulty.with_key(algorithm, faulty.options());
        let (data_key, wrapped) = generate(&hsm, &key).unwrap();
        for at in 1..=8 {
            faulty.script(&format!("* {at} lose-login"));
            assert_recovers(&hsm, &wrapped, &data_key);
            assert_works(&hsm, &key);
        }
    }
}

#[test]
fn without_a_login_a_key_is_not_said_to_be_missing() {
    let faulty = Faulty::new();
    let (hsm, key) = faulty.with_key(WrappingAlgorithm::AesGcm, faulty.options());
    // Lost again and again: private objects are hidden, and nothing is found.
    faulty.script("C_FindObjectsInit * lose-login\n* * log");
    assert_kind(hsm.list_keys(), ErrorKind::TokenUnavailable);
    assert_kind(hsm.create_key(&"b".parse().unwrap(), AlgorithmChoice::Auto), ErrorKind::TokenUnavailable);
    assert!(!faulty.log().iter().any(|(function, _)| function == "C_GenerateKey"), "made beside one that was hidden");
    faulty.well();
    assert_works(&hsm, &key);
}

#[test]
fn a_module_that_must_be_started_anew_is() {
    let faulty = Faulty::new();
    let (hsm, key) = faulty.with_key(WrappingAlgorithm::AesGcm, faulty.options());
    let (data_key, wrapped) = generate(&hsm, &key).unwrap();
    faulty.script("* * dead\n* * log");
    let error = assert_kind(generate(&hsm, &key), ErrorKind::TokenUnavailable);
    assert!(error.to_string().contains("is away"), "{error}");
    let log = faulty.log();
    assert!(log.iter().any(|(function, _)| function == "C_Finalize"), "{log:?}");
    // Down: refused without a call, but for an attempt now and then.
    assert_kind(hsm.unwrap_data_key(&wrapped, &context()), ErrorKind::TokenUnavailable);
    faulty.well();
    until("the token is back", || generate(&hsm, &key).is_ok());
    assert_recovers(&hsm, &wrapped, &data_key);
}

#[test]
fn a_token_that_was_down_when_the_module_was_loaded_is_found_later() {
    let faulty = Faulty::new();
    faulty.script("* * dead");
    assert_kind(faulty.open(faulty.options()), ErrorKind::TokenUnavailable);
    faulty.well();
    faulty.with_key(WrappingAlgorithm::AesGcm, faulty.options());
}

#[test]
fn a_module_is_not_started_anew_under_others() {
    let faulty = Faulty::new();
    let (hsm, key) = faulty.with_key(WrappingAlgorithm::AesGcm, faulty.options());
    let other = faulty.open(faulty.options()).unwrap();
    assert_works(&other, &key);
    // For one of them the token cannot be opened again, and the other is well.
    faulty.script("C_Encrypt 1 drop-sessions\nC_Login * answer CKR_DEVICE_ERROR\n* * log");
    assert_kind(generate(&hsm, &key), ErrorKind::TokenUnavailable);
    // Both lost their sessions here; whoever asks first finds the other not served.
    faulty.well();
    until("both are back", || generate(&hsm, &key).is_ok() && generate(&other, &key).is_ok());
    faulty.log();
    // One cannot open the token again, because it does not find it, and the other needs no finding.
    faulty.script("C_GetTokenInfo * answer CKR_DEVICE_ERROR\nC_Encrypt 1-2 answer CKR_SESSION_HANDLE_INVALID\n* * log");
    assert_kind(generate(&hsm, &key), ErrorKind::TokenUnavailable);
    assert_kind(generate(&hsm, &key), ErrorKind::TokenUnavailable);
    let log = faulty.log();
    assert!(!log.iter().any(|(function, _)| function == "C_Finalize"), "{log:?}");
    assert_works(&other, &key);
}

#[test]
fn a_refused_pin_is_never_tried_again() {
    for code in ["CKR_PIN_INCORRECT", "CKR_PIN_LOCKED", "CKR_PIN_EXPIRED"] {
        let faulty = Faulty::new();
        let (hsm, key) = faulty.with_key(WrappingAlgorithm::AesGcm, faulty.options());
        let kind = if code == "CKR_PIN_INCORRECT" { ErrorKind::PinIncorrect } else { ErrorKind::PinLocked };
        // The PIN was changed while the token was away.
        faulty.script(&format!("* 1 drop-sessions\nC_Login * answer {code}\nC_Login * log"));
        for _ in 0..5 {
            assert_kind(generate(&hsm, &key), kind);
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(faulty.log(), [("C_Login".to_owned(), code.to_owned())]);
        faulty.well();
        assert_kind(generate(&hsm, &key), kind);
    }
    let faulty = Faulty::new();
    faulty.script("C_Login * log");
    assert_kind(faulty.open(faulty.options().pin(Pin::new("wrong-pin"))), ErrorKind::PinIncorrect);
    assert_eq!(faulty.log().len(), 1);
}

#[test]
fn one_thread_opens_the_token_and_the_others_wait() {
    let faulty = Faulty::new();
    let (hsm, key) = faulty.with_key(WrappingAlgorithm::AesGcm, faulty.options());
    assert_works(&hsm, &key);
    faulty.script("C_Encrypt 5 drop-sessions\nC_Login * delay 50ms\nC_Login * log");
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| (0..10).for_each(|_| assert_works(&hsm, &key)));
        }
    });
    assert_eq!(faulty.log().len(), 1, "logins");
}

#[test]
fn one_session_that_ends_is_not_the_token() {
    let faulty = Faulty::new();
    let (hsm, key) = faulty.with_key(WrappingAlgorithm::AesGcm, faulty.options());
    faulty.script("C_Encrypt 1 answer CKR_SESSION_HANDLE_INVALID\nC_Login * log");
    assert_works(&hsm, &key);
    assert!(faulty.log().is_empty(), "logged in again for one session");
}

#[test]
fn what_changes_keys_is_not_repeated() {
    let faulty = Faulty::new();
    let (hsm, _) = faulty.with_key(WrappingAlgorithm::AesGcm, faulty.options());
    faulty.script("C_GenerateKey 1 late CKR_DEVICE_ERROR\nC_GenerateKey * log");
    let other: KeyName = "b".parse().unwrap();
    assert_kind(hsm.create_key(&other, AlgorithmChoice::Auto), ErrorKind::TokenUnavailable);
    assert_eq!(faulty.log().len(), 1);
    // What came of it is not in the way.
    faulty.well();
    hsm.create_key(&other, AlgorithmChoice::Auto).unwrap();
    assert_works(&hsm, &other);
}

#[test]
fn a_key_that_took_anothers_place_protects_nothing() {
    use cryptoki::object::Attribute;
    for algorithm in [WrappingAlgorithm::AesGcm, WrappingAlgorithm::AesKw] {
        let faulty = Faulty::new();
        let (hsm, key) = faulty.with_key(algorithm, faulty.options());
        let (_, wrapped) = generate(&hsm, &key).unwrap();
        // While the token is away somebody puts another key in place of the first, under its label and id.
        let raw = raw::logged_in(&faulty.soft);
        let old = raw::find(&raw, "a:1");
        let [Attribute::Id(id)] = &raw.get_attributes(old[0], &[cryptoki::object::AttributeType::Id]).unwrap()[..]
        else {
            panic!("the key has an id");
        };
        raw.destroy_object(old[0]).unwrap();
        let gcm = algorithm == WrappingAlgorithm::AesGcm;
        let usage = [Attribute::Encrypt(gcm), Attribute::Decrypt(gcm), Attribute::Wrap(!gcm), Attribute::Unwrap(!gcm)];
        raw::generate(&raw, "a:1", id, &usage);
        faulty.script("* 1 drop-sessions");
        let error = assert_kind(generate(&hsm, &key), ErrorKind::KeyAttributes);
        assert!(error.to_string().contains("is not the key that it was"), "{error}");
        // And in a process that has never seen the first.
        faulty.well();
        assert_kind(generate(&faulty.open(faulty.options()).unwrap(), &key), ErrorKind::KeyAttributes);
        let gone = hsm.unwrap_data_key(&wrapped, &context());
        assert!(gone.is_err(), "recovered with another key");
    }
}

#[path = "../provider/records.rs"]
#[allow(dead_code, reason = "shared with the suite of providers")]
pub(crate) mod records;

#[path = "../provider/raw.rs"]
pub(crate) mod raw;
