//! What went wrong once, or would have: sequences of faults that are rare and costly.

use super::*;
use cryptoki::object::{Attribute, KeyType, ObjectClass};
use keyward::token::TokenOptions;
use keyward::{AlgorithmChoice, KeyAdmin};
use std::sync::mpsc;

const CALL: Duration = Duration::from_millis(500);

fn limited(faulty: &Faulty) -> TokenOptions {
    faulty.options().call_timeout(CALL).session_timeout(3 * CALL)
}

fn made(log: &[(String, String)], function: &str) -> usize {
    log.iter().filter(|(name, code)| name == function && code == "CKR_OK").count()
}

#[test]
fn a_write_that_is_refused_for_a_call_that_hangs_comes_back_in_time() {
    let faulty = Faulty::new();
    let (hsm, key) = faulty.with_key(WrappingAlgorithm::AesGcm, limited(&faulty));
    faulty.script("C_GenerateRandom 1 hang\nC_CloseSession * hang");
    assert_kind(generate(&hsm, &key), ErrorKind::Timeout);
    let (told, tell) = mpsc::channel();
    std::thread::spawn(move || {
        let _ = told.send(hsm.disable_key(&key, keyward::KeyVersion::FIRST).map(drop));
        drop(hsm);
    });
    let answer = tell.recv_timeout(Duration::from_secs(15)).expect("it hangs");
    assert_kind(answer, ErrorKind::Timeout);
    faulty.well();
}

#[test]
fn handles_of_keys_end_with_the_initialization_of_the_module() {
    let faulty = Faulty::new();
    let (one, key) = faulty.with_key(WrappingAlgorithm::AesGcm, faulty.options());
    let other = faulty.open(faulty.options()).unwrap();
    assert_works(&other, &key);
    faulty.script("* * dead");
    assert_kind(generate(&one, &key), ErrorKind::TokenUnavailable);
    faulty.script("* * log");
    until("the first is back", || generate(&one, &key).is_ok());
    faulty.log();
    // The other has not noticed. It must search before it encrypts: its handles may be other keys now.
    generate(&other, &key).unwrap();
    let log = faulty.log();
    let at = |function: &str| log.iter().position(|(name, _)| name == function);
    assert!(at("C_FindObjectsInit") < at("C_EncryptInit") && at("C_FindObjectsInit").is_some(), "{log:?}");
}

#[test]
fn a_pin_that_is_refused_after_the_deadline_is_not_tried_again_either() {
    let faulty = Faulty::new();
    let (hsm, key) = faulty.with_key(WrappingAlgorithm::AesGcm, limited(&faulty));
    faulty.script(
        "C_GenerateRandom 1 drop-sessions\nC_Login * delay 800ms\nC_Login * answer CKR_PIN_INCORRECT\nC_Login * log",
    );
    let mut last = None;
    until("the refusal is known", || {
        last = generate(&hsm, &key).err().map(|error| error.kind());
        last == Some(ErrorKind::PinIncorrect)
    });
    for _ in 0..20 {
        assert_kind(generate(&hsm, &key), ErrorKind::PinIncorrect);
    }
    assert_eq!(faulty.log().len(), 1, "logins");
}

#[test]
fn logins_that_fail_for_no_stated_reason_end() {
    let faulty = Faulty::new();
    let (hsm, key) = faulty.with_key(WrappingAlgorithm::AesGcm, faulty.options());
    faulty.script("C_GenerateRandom 1 drop-sessions\nC_Login * answer 0x80000123\nC_Login * log");
    let mut last = String::new();
    until("no more logins are made", || {
        last = generate(&hsm, &key).unwrap_err().to_string();
        last.contains("says nothing of the PIN")
    });
    for _ in 0..20 {
        assert_kind(generate(&hsm, &key), ErrorKind::TokenUnavailable);
    }
    assert_eq!(faulty.log().len(), 3, "logins");
}

#[test]
fn a_module_that_hangs_while_it_is_loaded_keeps_no_other_waiting() {
    let (hanging, well) = (Faulty::new(), Faulty::new());
    hanging.script("C_Initialize * hang");
    assert_kind(hanging.open(limited(&hanging)), ErrorKind::Timeout);
    well.open(limited(&well)).unwrap();
    hanging.well();
}

#[test]
fn a_token_that_fails_now_and_then_keeps_no_sessions() {
    let faulty = Faulty::new();
    let (hsm, key) = faulty.with_key(WrappingAlgorithm::AesGcm, faulty.options());
    for (trouble, operations) in [("10% answer CKR_DEVICE_ERROR", 300), ("* answer CKR_FUNCTION_FAILED", 100)] {
        faulty.script(&format!("C_Encrypt {trouble}\nC_OpenSession * log\nC_CloseSession * log"));
        for _ in 0..operations {
            let _ = generate(&hsm, &key);
        }
        let log = faulty.log();
        let (opened, closed) = (made(&log, "C_OpenSession"), made(&log, "C_CloseSession"));
        assert!(opened > 0 && opened <= closed + 17, "{trouble}: {opened} opened, {closed} closed");
    }
}

#[test]
fn a_key_that_others_may_use_is_not_destroyed_by_its_maker() {
    // Its record is finished: whatever fails from then on, somebody may have wrapped under it.
    for trouble in ["C_DestroyObject 1 answer CKR_FUNCTION_FAILED", "C_DestroyObject 1 late CKR_DEVICE_ERROR"] {
        let faulty = Faulty::new();
        let maker = faulty.open(faulty.options()).unwrap();
        let key: KeyName = "a".parse().unwrap();
        faulty.script(trouble);
        let made = maker.create_key(&key, AlgorithmChoice::Exactly(WrappingAlgorithm::AesGcm)).unwrap();
        faulty.well();
        let elsewhere = faulty.open(faulty.options()).unwrap();
        assert_eq!(elsewhere.list_keys().unwrap(), [made]);
        assert_works(&elsewhere, &key);
    }
}

#[test]
fn a_call_that_hangs_keeps_nobody_from_logging_in() {
    let faulty = Faulty::new();
    let (hsm, key) = faulty.with_key(WrappingAlgorithm::AesGcm, limited(&faulty));
    faulty.script("C_GenerateRandom 1 hang\nC_GenerateRandom 2 lose-login");
    assert_kind(generate(&hsm, &key), ErrorKind::Timeout);
    until("it works beside the call that hangs", || generate(&hsm, &key).is_ok());
    faulty.well();
}

#[test]
fn a_key_without_a_canary_is_not_said_to_be_wrong_while_the_token_is_dead() {
    let faulty = Faulty::new();
    let template =
        [Attribute::Class(ObjectClass::SECRET_KEY), Attribute::KeyType(KeyType::AES), Attribute::Token(true)];
    recovery::raw::generate(&recovery::raw::logged_in(&faulty.soft), "a:1", &[9; 16], &template);
    let hsm = faulty.open(faulty.options()).unwrap();
    let key: KeyName = "a".parse().unwrap();
    let (data_key, wrapped) = generate(&hsm, &key).unwrap();
    assert_recovers(&hsm, &wrapped, &data_key);
    // Several idle sessions, all of them dead now.
    faulty.script("C_Encrypt * delay 100ms");
    std::thread::scope(|scope| (0..8).for_each(|_| drop(scope.spawn(|| generate(&hsm, &key).unwrap()))));
    faulty.script("* * dead");
    assert_kind(hsm.unwrap_data_key(&wrapped, &context()), ErrorKind::TokenUnavailable);
    faulty.well();
    until("it recovers", || hsm.unwrap_data_key(&wrapped, &context()).is_ok());
    assert_recovers(&hsm, &wrapped, &data_key);
}
