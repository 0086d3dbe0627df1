//! A token that does not answer.

use super::*;
use keyward::KeyAdmin;

/// Long enough for a machine that is busy with other things.
const CALL: Duration = Duration::from_millis(500);
const SESSION: Duration = Duration::from_millis(1500);

fn limited(faulty: &Faulty) -> keyward::token::TokenOptions {
    faulty.options().call_timeout(CALL).session_timeout(SESSION)
}

/// The most that an operation may take: waiting for a session, then a call, then opening the token again.
const DEADLINE: Duration = Duration::from_millis(2 * (1500 + 500) + 1000);

#[test]
fn with_a_limit_all_is_as_without() {
    for algorithm in ALGORITHMS {
        let faulty = Faulty::new();
        let (hsm, key) = faulty.with_key(algorithm, faulty.options().call_timeout(Duration::from_secs(10)));
        assert_works(&hsm, &key);
        let (_, wrapped) = generate(&hsm, &key).unwrap();
        assert_kind(hsm.unwrap_data_key(&wrapped, &EncryptionContext::new()), ErrorKind::NotAuthentic);
        hsm.rotate_key(&key, None).unwrap();
        assert_works(&hsm, &key);
        hsm.unwrap_data_key(&wrapped, &context()).unwrap();
    }
}

#[test]
fn a_call_that_hangs_ends_with_a_time_out_and_others_go_on() {
    for function in ["C_GenerateRandom", "C_EncryptInit", "C_Encrypt"] {
        let faulty = Faulty::new();
        let (hsm, key) = faulty.with_key(WrappingAlgorithm::AesGcm, limited(&faulty));
        assert_works(&hsm, &key);
        faulty.script(&format!("{function} 1 hang"));
        let began = Instant::now();
        let error = assert_kind(generate(&hsm, &key), ErrorKind::Timeout);
        assert!(error.to_string().contains("did not answer in time"), "{error}");
        assert!(began.elapsed() < DEADLINE, "{:?}", began.elapsed());
        // The one call hangs on, in a thread of its own.
        assert_works(&hsm, &key);
        faulty.well();
        assert_works(&hsm, &key);
    }
}

#[test]
fn so_many_calls_without_an_answer_and_the_token_is_down() {
    let faulty = Faulty::new();
    let (hsm, key) = faulty.with_key(WrappingAlgorithm::AesGcm, limited(&faulty));
    let (data_key, wrapped) = generate(&hsm, &key).unwrap();
    faulty.script("* * hang");
    for _ in 0..3 {
        assert_kind(generate(&hsm, &key), ErrorKind::Timeout);
    }
    // One attempt to open it again hangs as well. After that callers are told at once.
    assert_kind(generate(&hsm, &key), ErrorKind::Timeout);
    let at_once = (0..20)
        .filter(|_| {
            let began = Instant::now();
            let error = assert_kind(generate(&hsm, &key), ErrorKind::Timeout);
            assert!(error.to_string().contains("is away"), "{error}");
            // But for an attempt now and then.
            began.elapsed() < CALL / 2
        })
        .count();
    assert!(at_once >= 10, "{at_once} of 20 were told at once");
    // Thawed: what hung comes back, and is a sign of life.
    faulty.well();
    let began = Instant::now();
    until("the token is back", || generate(&hsm, &key).is_ok());
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_recovers(&hsm, &wrapped, &data_key);
}

#[test]
fn opening_has_the_limit_too() {
    for function in ["C_Initialize", "C_GetSlotList", "C_OpenSession", "C_Login", "C_GetMechanismList"] {
        let faulty = Faulty::new();
        faulty.script(&format!("{function} * hang"));
        let began = Instant::now();
        assert_kind(faulty.open(limited(&faulty)), ErrorKind::Timeout);
        assert!(began.elapsed() < DEADLINE, "{function}: {:?}", began.elapsed());
        faulty.well();
        until("it opens", || faulty.open(limited(&faulty)).is_ok());
    }
}

#[test]
fn a_token_that_hangs_does_not_keep_a_program_from_ending() {
    let faulty = Faulty::new();
    let (hsm, key) = faulty.with_key(WrappingAlgorithm::AesGcm, limited(&faulty));
    assert_works(&hsm, &key);
    faulty.script("* * hang");
    let began = Instant::now();
    drop(hsm);
    assert!(began.elapsed() < DEADLINE, "{:?}", began.elapsed());
    faulty.well();
}
