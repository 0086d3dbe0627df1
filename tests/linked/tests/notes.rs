//! The tests that a program which links Keyward has: without a token, without a working one, and on SoftHSM.

use keyward::testkit::{Failing, MemoryProvider, SoftToken};
use keyward::{AlgorithmChoice, ErrorKind, KeyAdmin, KeyName, KeyProvider, KeyVersion};
use keyward_linked::Notes;
use std::process::Command;

fn notes<P: KeyProvider + KeyAdmin>(keys: P) -> Notes<P> {
    let key: KeyName = "notes".parse().unwrap();
    keys.create_key(&key, AlgorithmChoice::Auto).unwrap();
    Notes::new(keys, key)
}

#[test]
fn a_note_comes_back() {
    let mut notes = notes(MemoryProvider::new());
    notes.put("a", "alpha").unwrap();
    assert_eq!(notes.get("a").unwrap().as_deref(), Some("alpha"));
    assert_eq!(notes.get("b").unwrap(), None);
}

#[test]
fn a_note_under_another_title_is_refused() {
    let mut notes = notes(MemoryProvider::new());
    notes.put("a", "alpha").unwrap();
    let sealed = notes.sealed().remove("a").unwrap();
    notes.sealed().insert("b".into(), sealed);
    assert_eq!(notes.get("b").unwrap_err().kind(), ErrorKind::ContextMismatch);
}

#[test]
fn while_the_token_is_away_nothing_is_lost() {
    let keys = Failing::new(MemoryProvider::new());
    let mut notes = notes(&keys);
    notes.put("a", "alpha").unwrap();
    keys.fail(ErrorKind::TokenUnavailable);
    assert_eq!(notes.put("a", "beta").unwrap_err().kind(), ErrorKind::TokenUnavailable);
    assert!(notes.get("a").unwrap_err().kind().is_unavailable());
    keys.recover();
    assert_eq!(notes.get("a").unwrap().as_deref(), Some("alpha"));
}

#[test]
fn a_note_outlives_the_rotation_of_its_key() {
    let token = SoftToken::new();
    let mut notes = notes(token.provider());
    notes.put("a", "alpha").unwrap();
    let admin = token.provider();
    let key = "notes".parse().unwrap();
    admin.rotate_key(&key, None).unwrap();
    assert_eq!(notes.get("a").unwrap().as_deref(), Some("alpha"));
    admin.disable_key(&key, KeyVersion::FIRST).unwrap();
    assert_eq!(notes.get("a").unwrap_err().kind(), ErrorKind::KeyState);
}

#[test]
fn the_program_uses_the_token_it_is_given() {
    let token = SoftToken::new();
    for _ in 0..2 {
        let ran =
            Command::new(env!("CARGO_BIN_EXE_notes")).env("KEYWARD_TOKEN", token.uri_with_pin()).output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        assert_eq!(ran.stdout, b"hello from the token\n");
    }
    let keys = token.provider().list_keys().unwrap();
    assert_eq!(keys.len(), 1);
}
