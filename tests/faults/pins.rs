//! The PIN of a token that this process is logged in to.

use super::*;
use keyward::token::{Pin, Token, TokenOptions};

fn open(faulty: &Faulty, pin: &str) -> keyward::Result<Token> {
    Token::open_with(&faulty.uri(), TokenOptions::default().pin(Pin::new(pin)).softhsm_directory(faulty.directory()))
}

fn logins(faulty: &Faulty) -> usize {
    faulty.log().iter().filter(|(function, _)| function == "C_Login").count()
}

const RIGHT: &str = "test-user-pin";

#[test]
fn second_token_with_another_pin_is_refused() {
    let faulty = Faulty::new();
    let first = open(&faulty, RIGHT).unwrap();
    faulty.script("* * log");
    for wrong in ["", "test-user-pi", "test-user-pin ", "no-such-pin"] {
        let error = assert_kind(open(&faulty, wrong), ErrorKind::PinIncorrect);
        assert!(error.hint().unwrap().contains("not sent"), "{error:?}");
    }
    assert_kind(Token::open_with(&faulty.uri(), TokenOptions::default()), ErrorKind::PinRequired);
    open(&faulty, RIGHT).unwrap();
    assert_eq!(logins(&faulty), 0);
    assert!(!first.info().pin_count_low);
    // With the last one the login ends, and the token compares again.
    drop(first);
    assert_kind(open(&faulty, "no-such-pin"), ErrorKind::PinIncorrect);
    assert_eq!(logins(&faulty), 1);
    open(&faulty, RIGHT).unwrap();
}

#[test]
fn lost_login_sends_no_other_pin() {
    let faulty = Faulty::new();
    let (hsm, key) = faulty.with_key(WrappingAlgorithm::AesGcm, faulty.options());
    faulty.script("C_GenerateRandom 1 lose-login\n* * log");
    hsm.token().random(&mut [0; 8]).unwrap();
    assert_kind(open(&faulty, "no-such-pin"), ErrorKind::PinIncorrect);
    let pins = faulty.log().into_iter().filter(|(function, _)| function == "C_Login");
    assert!(pins.into_iter().all(|(_, code)| code == "CKR_OK"), "a wrong PIN was sent");
    faulty.well();
    assert_works(&hsm, &key);
}

#[test]
fn pin_that_the_token_refuses_is_forgotten() {
    let faulty = Faulty::new();
    let (hsm, key) = faulty.with_key(WrappingAlgorithm::AesGcm, faulty.options());
    assert_kind(open(&faulty, "new-pin"), ErrorKind::PinIncorrect);
    // As if another process had set a new PIN while the token was away.
    faulty.script("C_GenerateRandom 1 drop-sessions\nC_Login * answer CKR_PIN_INCORRECT");
    assert_kind(generate(&hsm, &key), ErrorKind::PinIncorrect);
    faulty.script("* * log");
    assert_kind(open(&faulty, "new-pin"), ErrorKind::PinIncorrect);
    assert_eq!(logins(&faulty), 1, "it is the token that compares");
    open(&faulty, RIGHT).unwrap();
}

#[test]
fn login_of_another_library_opens_nothing() {
    let faulty = Faulty::new();
    let other = recovery::raw::logged_in(&faulty.soft);
    faulty.script("* * log");
    let error = assert_kind(open(&faulty, RIGHT), ErrorKind::TokenUnavailable);
    assert!(error.to_string().contains("another part of this process is logged in"), "{error}");
    assert_eq!(logins(&faulty), 0);
    // For a caller who knows what that means any PIN does.
    let any = TokenOptions::default().pin(Pin::new("any")).danger_accept_other_login();
    Token::open_with(&faulty.uri(), any).unwrap();
    drop(other);
    open(&faulty, RIGHT).unwrap();
}

#[test]
fn threads_with_a_wrong_pin_get_nothing_beside_the_right_one() {
    let faulty = Faulty::new();
    faulty.script("* * log");
    let barrier = std::sync::Barrier::new(8);
    std::thread::scope(|scope| {
        for number in 0..8 {
            let (faulty, barrier) = (&faulty, &barrier);
            scope.spawn(move || {
                barrier.wait();
                for _ in 0..20 {
                    match open(faulty, if number == 0 { "no-such-pin" } else { RIGHT }) {
                        Ok(_) => assert_ne!(number, 0),
                        Err(error) => assert_eq!((number, error.kind()), (0, ErrorKind::PinIncorrect), "{error}"),
                    }
                }
            });
        }
    });
}
