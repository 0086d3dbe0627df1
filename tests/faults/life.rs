//! Changes in the life of a key that fail, or are crossed by others, between two steps.

use super::*;
use keyward::key::{KeyDescription, KeyState};
use keyward::{KeyAdmin, KeyVersion};
use std::time::{SystemTime, UNIX_EPOCH};

const V1: KeyVersion = KeyVersion::FIRST;
const FAR: Duration = Duration::from_secs(4_000_000_000);

fn state(faulty: &Faulty) -> (KeyState, bool) {
    let key = faulty.soft.provider().list_keys().unwrap().remove(0);
    (key.state, key.destroy_after.is_some())
}

#[test]
fn what_is_scheduled_half_way_is_disabled_and_has_no_date() {
    for (script, expected) in [
        ("C_SetAttributeValue * answer CKR_DEVICE_ERROR", (KeyState::Active, false)),
        ("C_CreateObject * answer CKR_DEVICE_ERROR", (KeyState::Disabled, false)),
        // It may have been done: the date is there, and the old record beside the new one says otherwise.
        ("C_DestroyObject * answer CKR_DEVICE_ERROR", (KeyState::Disabled, false)),
    ] {
        let faulty = Faulty::new();
        let (hsm, key) = faulty.with_key(WrappingAlgorithm::AesGcm, faulty.options());
        faulty.script(script);
        // That an old record stays is no failure; it is the next change that destroys it.
        let fails = !script.starts_with("C_DestroyObject");
        assert_eq!(hsm.schedule_destruction(&key, V1, UNIX_EPOCH + FAR).is_err(), fails, "{script}");
        assert_eq!(state(&faulty), expected, "{script}");
        faulty.well();
        until("scheduled", || hsm.schedule_destruction(&key, V1, UNIX_EPOCH + FAR).is_ok());
        assert_eq!(state(&faulty), (KeyState::Disabled, true), "{script}");
    }
}

#[test]
fn what_is_enabled_half_way_is_never_in_use_with_a_date() {
    for (script, expected) in [
        ("C_CreateObject * answer CKR_DEVICE_ERROR", (KeyState::Disabled, true)),
        ("C_SetAttributeValue * answer CKR_DEVICE_ERROR", (KeyState::Disabled, false)),
    ] {
        let faulty = Faulty::new();
        let (hsm, key) = faulty.with_key(WrappingAlgorithm::AesGcm, faulty.options());
        hsm.schedule_destruction(&key, V1, UNIX_EPOCH + FAR).unwrap();
        faulty.script(script);
        hsm.enable_key(&key, V1).unwrap_err();
        assert_eq!(state(&faulty), expected, "{script}");
        faulty.well();
        until("enabled", || hsm.enable_key(&key, V1).is_ok());
        assert_eq!(state(&faulty), (KeyState::Active, false), "{script}");
    }
}

#[test]
fn a_version_that_is_disabled_during_a_rotation_stays_so() {
    let faulty = Faulty::new();
    let (hsm, key) = faulty.with_key(WrappingAlgorithm::AesGcm, faulty.options());
    let elsewhere = faulty.soft.provider();
    let found = || -> Vec<(u32, KeyState)> {
        let pair = |key: KeyDescription| (key.version.get(), key.state);
        elsewhere.list_keys().unwrap().into_iter().map(pair).collect()
    };
    // It has found version 1 active by then, and goes on to retire it.
    faulty.script("C_SetAttributeValue 2 hang\n* * log");
    let (before, scheduled, rotated) = std::thread::scope(|scope| {
        let rotation = scope.spawn(|| hsm.rotate_key(&key, None));
        // Not by looking at the token: SoftHSM fails writes while others of the process search.
        let began = Instant::now();
        let hangs = || faulty.log().iter().any(|(function, _)| function == "C_DestroyObject");
        while !hangs() && began.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(2));
        }
        let before = found();
        let scheduled = elsewhere.schedule_destruction(&key, V1, SystemTime::now() + Duration::from_secs(3600));
        faulty.well();
        (before, scheduled, rotation.join().unwrap())
    });
    assert_eq!(before, [(1, KeyState::Active), (2, KeyState::Active)]);
    assert_eq!((scheduled.unwrap().version, rotated.unwrap().version.get()), (V1, 2));
    assert_eq!(found(), [(1, KeyState::Disabled), (2, KeyState::Active)]);
    assert_eq!(state(&faulty), (KeyState::Disabled, true));
}

#[test]
fn what_is_changed_of_a_key_during_a_rotation_wins() {
    let faulty = Faulty::new();
    let (hsm, key) = faulty.with_key(WrappingAlgorithm::AesGcm, faulty.options());
    // The new key is there and its record is not finished: what was copied into that was read before.
    faulty.script("C_CreateObject 2 hang\n* * log");
    std::thread::scope(|scope| {
        let rotation = scope.spawn(|| hsm.rotate_key(&key, None));
        let began = Instant::now();
        let mut log = Vec::new();
        // The record of the pending key was read to be replaced, after its canary was opened.
        let mut hangs = || {
            log.extend(faulty.log().into_iter().map(|(function, _)| function));
            let opened = log.iter().position(|function| function == "C_Decrypt").unwrap_or(log.len());
            log[opened..].iter().any(|function| function == "C_GetAttributeValue")
        };
        while !hangs() && began.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(2));
        }
        let session = recovery::raw::logged_in(&faulty.soft);
        recovery::records::rewrite(&session, "a:1", |text| format!("{text}description changed meanwhile\n"));
        faulty.well();
        assert_eq!(rotation.join().unwrap().unwrap().version.get(), 2);
    });
    let session = recovery::raw::logged_in(&faulty.soft);
    for (_, label, text) in recovery::records::all(&session) {
        assert_eq!(recovery::records::field(&text, "description"), Some("changed meanwhile"), "{label}: {text}");
    }
}
