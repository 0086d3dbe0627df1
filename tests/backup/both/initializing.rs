//! A token's beginning, and how one that was interrupted is gone on with.

use super::*;
use keyward::token::{Pin, Standing, TokenInit};
use keyward::{AlgorithmChoice, KeyAdmin};

fn pin(text: &str) -> Pin {
    Pin::new(text)
}

#[test]
fn a_token_begins_in_steps_and_each_can_be_told() {
    let (module, label) = (module(), new_label());
    let uri = uri(&label);
    assert!(matches!(module.standing(&uri, &pin(PIN)).unwrap(), Standing::Absent));

    let token = module.initialize(&TokenInit::new(&label, pin(SO_PIN))).unwrap();
    assert!(token.initialized && !token.user_pin_set, "{token:?}");
    assert!(!token.serial.is_empty());
    let standing = module.standing(&uri, &pin(PIN)).unwrap();
    assert!(matches!(&standing, Standing::WithoutUserPin(now) if now.serial == token.serial), "{standing:?}");

    // Its PIN can come from its own generator, before anybody can log in.
    let (mut one, mut other) = ([0; 24], [0; 24]);
    module.random(&uri, &mut one).unwrap();
    module.random(&uri, &mut other).unwrap();
    assert_ne!(one, other);

    assert_kind(module.set_user_pin(&uri, &pin("not-the-so-pin"), &pin(PIN)), ErrorKind::PinIncorrect);
    assert!(matches!(module.standing(&uri, &pin(PIN)).unwrap(), Standing::WithoutUserPin(_)));
    let token = module.set_user_pin(&uri, &pin(SO_PIN), &pin(PIN)).unwrap();
    assert!(token.user_pin_set);
    assert!(matches!(module.standing(&uri, &pin("not-the-pin")).unwrap(), Standing::PinRefused(_)));
    assert!(matches!(module.standing(&uri, &pin(PIN)).unwrap(), Standing::Ready(now) if now.serial == token.serial));

    let opened = open(&token);
    let mut buffer = [0; 24];
    opened.random(&mut buffer).unwrap();
    assert_ne!(buffer, [0; 24]);
    // Who is logged in already learns nothing of a PIN: no token compares it then.
    assert_kind(module.standing(&uri, &pin("not-the-pin")), ErrorKind::TokenUnavailable);
}

#[test]
fn an_initialized_token_is_erased_only_when_its_serial_is_named() {
    let module = module();
    let token = new_token();
    let uri = uri(&token.label);
    let hsm = accepting(&open(&token));
    hsm.create_key(&name("records"), AlgorithmChoice::Auto).unwrap();
    drop(hsm);

    // It is not blank, so it is not what a URI can name.
    let init = || TokenInit::new("another", pin(SO_PIN)).user_pin(pin(PIN));
    let error = assert_kind(module.initialize(&init().uri(uri.clone())), ErrorKind::TokenNotFound);
    assert!(error.hint().unwrap().contains("--danger-erase"), "{error:?}");
    assert_kind(module.initialize(&init().danger_erase("0123")), ErrorKind::TokenNotFound);
    let other: keyward::token::TokenUri = "pkcs11:token=other".parse().unwrap();
    assert_kind(module.initialize(&init().danger_erase(&token.serial).uri(other)), ErrorKind::TokenNotFound);
    let wrong = TokenInit::new("another", pin("not-the-so-pin")).danger_erase(&token.serial);
    assert_kind(module.initialize(&wrong), ErrorKind::PinIncorrect);
    assert_eq!(accepting(&open(&token)).list_keys().unwrap().len(), 1);

    let label = new_label();
    let erase = TokenInit::new(&label, pin(SO_PIN)).user_pin(pin(PIN)).danger_erase(&token.serial);
    let anew = module.initialize(&erase).unwrap();
    assert_eq!((anew.label.as_str(), anew.user_pin_set), (label.as_str(), true));
    assert_eq!(accepting(&open(&anew)).list_keys().unwrap(), []);
    println!("the serial number stays: {}", anew.serial == token.serial);
}

#[test]
fn labels_that_cannot_be_are_refused() {
    for label in ["", " ", &"x".repeat(33)] {
        assert_kind(module().initialize(&TokenInit::new(label, pin(SO_PIN))), ErrorKind::InvalidArgument);
    }
}
