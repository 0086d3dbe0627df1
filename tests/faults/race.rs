//! Two hosts that make one key: a key that its maker reported stays, however slow the other one is.

use super::*;
use keyward::hsm::PlannedKey;
use keyward::key::{KeyDescription, KeyState};
use keyward::{AlgorithmChoice, KekId, KeyAdmin};
use std::thread;

/// The lowest id: whoever competes with it gives up at once.
const ID: KekId = KekId::from_bytes([0; 16]);

/// Waits until a call of this function hangs.
fn until_hangs(faulty: &Faulty, function: &str) {
    let mut log = Vec::new();
    until(&format!("{function} hangs"), || {
        log.extend(faulty.log());
        log.iter().any(|(called, what)| called == function && what == "HANGS")
    });
}

/// Lets a maker stop before it enables its key, and another host take the key for abandoned, after the time that it waits.
/// The other one stops at `stops`, the maker goes on, and what the maker answers is returned, and what the other one does.
fn race(stops: &str) -> (keyward::Result<KeyDescription>, keyward::Result<KeyDescription>, Faulty) {
    let function = stops.split(' ').next().unwrap().to_owned();
    let maker = Faulty::new();
    let other = maker.twin();
    let (making, competing) = (maker.open(maker.options()).unwrap(), other.open(other.options()).unwrap());
    let key: KeyName = "a".parse().unwrap();
    maker.script("* * log\nC_SetAttributeValue 1 hang");
    let plan = PlannedKey::new(key.clone(), WrappingAlgorithm::AesGcm, ID);
    let made = thread::spawn(move || making.create_planned(&plan));
    until_hangs(&maker, "C_SetAttributeValue");
    other.script(&format!("* * log\n{stops} hang"));
    let competed =
        thread::spawn(move || competing.create_key(&key, AlgorithmChoice::Exactly(WrappingAlgorithm::AesGcm)));
    until_hangs(&other, &function);
    // The maker finishes its record now, and may report.
    maker.script("* * log");
    let mut log = Vec::new();
    until("the record is finished", || {
        log.extend(maker.log());
        made.is_finished() || log.iter().any(|(called, code)| called == "C_CreateObject" && code == "CKR_OK")
    });
    if stops.starts_with("C_CreateObject") {
        // Nothing speaks against it yet.
        until("the maker reports", || made.is_finished());
    }
    other.well();
    (made.join().unwrap(), competed.join().unwrap(), maker)
}

#[track_caller]
fn assert_stays(maker: &Faulty, reported: &keyward::Result<KeyDescription>) {
    let hsm = maker.soft.provider();
    let keys = hsm.list_keys().unwrap();
    let Ok(reported) = reported else {
        assert!(keys.iter().all(|key| key.kek_id != ID), "{keys:?}");
        return;
    };
    assert!(keys.iter().any(|key| key.kek_id == reported.kek_id && key.state == KeyState::Active), "{keys:?}");
    assert_works(&hsm, &reported.name);
}

#[test]
fn loser_that_is_slow_to_destroy_hits_no_reported_key() {
    // After it gave up its own: two objects. Each of these waits as long as the other host does.
    thread::scope(|scope| {
        for stops in ["C_DestroyObject 3", "C_DestroyObject 4"] {
            scope.spawn(move || {
                let (made, competed, maker) = race(stops);
                assert_stays(&maker, &made);
                made.unwrap_err();
                let won = competed.unwrap();
                assert_eq!((won.version.get(), won.state), (1, KeyState::Active));
                assert_eq!(maker.soft.provider().leftovers().unwrap(), []);
            });
        }
    });
}

#[test]
fn loser_that_is_slow_to_claim_finds_the_finished_key() {
    // Its own record comes first.
    let (made, competed, maker) = race("C_CreateObject 2");
    assert_stays(&maker, &made);
    assert_eq!(made.unwrap().kek_id, ID);
    assert_kind(competed, ErrorKind::KeyExists);
    assert_eq!(maker.soft.provider().leftovers().unwrap(), []);
}
