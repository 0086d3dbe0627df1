//! Opening tokens, and sessions under load.

use super::*;
use keyward::key::VersionReuse;
use keyward::token::{Pin, Token, TokenOptions};
use keyward::{DataKeyLength, KeyProvider};
use std::time::Duration;

#[test]
fn threads_share_few_sessions() {
    let token = SoftToken::new();
    let options = TokenOptions::default().pin(token.pin()).max_sessions(2);
    let hsm = HsmProvider::new(Token::open_with(&token.uri(), options).unwrap());
    let key = name("a");
    hsm.create_key(&key, AlgorithmChoice::Exactly(WrappingAlgorithm::AesKw)).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (hsm, key) = (&hsm, &key);
            scope.spawn(move || {
                for round in 0..20 {
                    let pairs = [("thread", thread.to_string()), ("round", round.to_string())];
                    let context = EncryptionContext::from_pairs(pairs).unwrap();
                    let (data_key, wrapped) = hsm.generate_data_key(key, &context, DataKeyLength::Bytes32).unwrap();
                    let again = hsm.unwrap_data_key(&wrapped, &context).unwrap();
                    assert_eq!(again.expose_secret(), data_key.expose_secret());
                }
            });
        }
    });
}

#[test]
fn keys_come_and_go_while_others_work() {
    // On SoftHSM a token write fails a search that runs beside it, and the reverse.
    let token = SoftToken::new();
    let hsm = token.provider();
    let key = name("busy");
    hsm.create_key(&key, AlgorithmChoice::Auto).unwrap();
    std::thread::scope(|scope| {
        let (hsm, key) = (&hsm, &key);
        for thread in 0..2 {
            scope.spawn(move || {
                for round in 0..5 {
                    let other = name(&format!("k-{thread}-{round}"));
                    hsm.create_key(&other, AlgorithmChoice::Auto).unwrap();
                    hsm.rotate_key(&other, None).unwrap();
                    hsm.destroy_key(&other, keyward::KeyVersion::FIRST, VersionReuse::Refuse).unwrap();
                }
            });
            scope.spawn(move || {
                for _ in 0..50 {
                    hsm.generate_data_key(key, &context(&[]), DataKeyLength::Bytes32).unwrap();
                    hsm.list_keys().unwrap();
                }
            });
        }
    });
}

#[test]
fn the_wait_for_a_session_ends() {
    let token = SoftToken::new();
    let options = TokenOptions::default().pin(token.pin()).max_sessions(1).session_timeout(Duration::from_millis(1));
    let hsm = HsmProvider::new(Token::open_with(&token.uri(), options).unwrap());
    hsm.create_key(&name("a"), AlgorithmChoice::Exactly(WrappingAlgorithm::RsaOaepSha1)).unwrap();
    // Making an RSA key holds the only session far longer than a millisecond.
    let done = std::sync::atomic::AtomicBool::new(false);
    let seen = std::thread::scope(|scope| {
        scope.spawn(|| {
            // Until it is this one that holds the session.
            let rsa = AlgorithmChoice::Exactly(WrappingAlgorithm::RsaOaepSha1);
            let made = loop {
                match hsm.create_key(&name("b"), rsa) {
                    Err(error) if error.kind() == ErrorKind::Timeout => {}
                    made => break made,
                }
            };
            done.store(true, std::sync::atomic::Ordering::SeqCst);
            made.unwrap();
        });
        loop {
            match hsm.list_keys() {
                Err(error) if error.kind() == ErrorKind::Timeout => break Some(error),
                _ if done.load(std::sync::atomic::Ordering::SeqCst) => break None,
                _ => {}
            }
        }
    });
    let error = seen.expect("a time-out while the session was held");
    assert!(error.to_string().contains("no session became free"), "{error}");
}

#[test]
fn opening_says_what_is_wrong() {
    let token = SoftToken::new();
    let open = |uri: &str| Token::open(&uri.parse().unwrap());
    let module = SoftToken::module_path();
    let module = module.display();
    assert_kind(open("pkcs11:token=x"), ErrorKind::InvalidArgument);
    assert_kind(open("pkcs11:token=x?module-path=/nowhere.so"), ErrorKind::ModuleUnavailable);
    assert_kind(open("pkcs11:token=x?module-path=/etc/hostname"), ErrorKind::ModuleUnavailable);
    let error = assert_kind(Token::open(&token.uri()), ErrorKind::PinRequired);
    assert!(error.to_string().contains(token.uri().token().unwrap()), "{error}");
    let serial = format!("pkcs11:serial={}?module-path={module}&pin-value=test-user-pin", token.open().info().serial);
    assert_eq!(open(&serial).unwrap().info().label, token.open().info().label);
}

#[test]
fn pins_do_not_show() {
    let token = SoftToken::new();
    let shown = format!("{:?} {:?}", token.open(), TokenOptions::default().pin(Pin::new("test-user-pin")));
    assert!(!shown.contains("test-user-pin"), "{shown}");
}
