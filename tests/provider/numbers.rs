//! The number of a version is never used twice, whatever was destroyed, by whom, and when.

use super::*;
use cryptoki::object::Attribute;
use keyward::hsm::{Leftover, PlannedKey, backup};
use keyward::key::{DestroyedKey, KeyDescription, KeyState, UsedNumbers, VersionReuse};
use keyward::{DataKeyLength, KekId, KeyProvider, KeyVersion};
use std::collections::BTreeMap;
use std::time::SystemTime;

fn version(number: u32) -> KeyVersion {
    number.to_string().parse().unwrap()
}

fn destroy(hsm: &HsmProvider, key: &KeyName, number: u32) {
    let numbers = hsm.destroy_key(key, version(number), VersionReuse::Refuse).unwrap();
    assert_eq!(numbers, UsedNumbers::Remembered);
}

fn numbers(hsm: &HsmProvider) -> Vec<u32> {
    hsm.list_keys().unwrap().iter().map(|key| key.version.get()).collect()
}

fn labels(token: &SoftToken) -> Vec<String> {
    records::all(&raw::logged_in(token)).into_iter().map(|(_, label, _)| label).collect()
}

/// The text of the data object with this label.
fn text(token: &SoftToken, label: &str) -> String {
    let mut all = records::all(&raw::logged_in(token));
    all.retain(|(_, own, _)| own == label);
    let [(_, _, text)] = &all[..] else { panic!("{all:?}") };
    text.clone()
}

#[test]
fn the_highest_version_destroyed_is_not_made_again() {
    for algorithm in ALGORITHMS {
        let (token, hsm, key) = with_key(algorithm);
        hsm.rotate_key(&key, None).unwrap();
        destroy(&hsm, &key, 2);
        assert_eq!(records::field(&text(&token, "records:1"), "highest-version"), Some("2"));
        // On this host and on any other.
        let other = token.provider().only([key.clone()]);
        assert_eq!(other.rotate_key(&key, None).unwrap().version.get(), 3, "{algorithm}");
        assert_eq!(numbers(&hsm), [1, 3]);
        assert_eq!(labels(&token), ["records:1", "records:3"]);
        assert_eq!(hsm.leftovers().unwrap(), []);
    }
}

#[test]
fn a_key_of_a_destroyed_name_goes_on_after_the_highest_number() {
    for algorithm in ALGORITHMS {
        let (token, hsm, key) = with_key(algorithm);
        hsm.rotate_key(&key, None).unwrap();
        let uid = records::field(&text(&token, "records:2"), "uid").unwrap().to_owned();
        let ids: Vec<_> = hsm.list_keys().unwrap().iter().map(|key| key.kek_id).collect();
        destroy(&hsm, &key, 1);
        destroy(&hsm, &key, 2);
        assert_eq!(labels(&token), ["keyward tombstone records"]);
        let listed = token.provider().list_destroyed_keys().unwrap();
        let [DestroyedKey { name, highest_version, versions, .. }] = &listed[..] else { panic!("{listed:?}") };
        assert_eq!((name, highest_version.get()), (&key, 2));
        let told: Vec<_> = versions.iter().map(|gone| (gone.version.get(), gone.kek_id)).collect();
        assert_eq!(told, [(1, ids[0]), (2, ids[1])]);
        assert!(versions.iter().all(|gone| SystemTime::now().duration_since(gone.destroyed).unwrap().as_secs() < 60));

        let made = token.provider().create_key(&key, AlgorithmChoice::Exactly(algorithm)).unwrap();
        assert_eq!((made.version.get(), made.state), (3, KeyState::Active), "{algorithm}");
        assert_eq!(labels(&token), ["records:3"], "the tombstone is removed");
        assert_eq!(hsm.list_destroyed_keys().unwrap(), []);
        let record = text(&token, "records:3");
        assert_eq!(records::field(&record, "highest-version"), Some("3"));
        assert_ne!(records::field(&record, "uid"), Some(uid.as_str()), "it is another key");
        // What was destroyed is still known.
        let history = records::field(&record, "destroyed").unwrap();
        assert!(ids.iter().all(|id| history.contains(&id.to_string())), "{history}");
        hsm.generate_data_key(&key, &context(&[]), DataKeyLength::Bytes32).unwrap();
    }
}

#[test]
fn what_expires_is_remembered() {
    let (token, hsm, key) = with_key(WrappingAlgorithm::AesGcm);
    let now = SystemTime::now() + std::time::Duration::from_secs(5);
    hsm.schedule_destruction(&key, KeyVersion::FIRST, SystemTime::now()).unwrap();
    hsm.expire_key(&key, KeyVersion::FIRST, now).unwrap();
    assert_eq!(labels(&token), ["keyward tombstone records"]);
    assert_eq!(hsm.create_key(&key, AlgorithmChoice::Auto).unwrap().version.get(), 2);
}

#[test]
fn a_managed_key_goes_on_after_its_highest_number() {
    let token = SoftToken::new();
    let hsm = token.provider();
    let default = KeyName::managed_default();
    for number in 1..=2 {
        let made = keyward::provider::managed_key(&hsm, "default").unwrap().made.unwrap();
        assert_eq!(made.version.get(), number);
        destroy(&hsm, &default, number);
    }
}

#[test]
fn planned_keys_take_no_number_that_was_used() {
    let (token, hsm, key) = with_key(WrappingAlgorithm::AesGcm);
    hsm.rotate_key(&key, None).unwrap();
    destroy(&hsm, &key, 1);
    destroy(&hsm, &key, 2);
    let plan = |number| {
        let id = KekId::from_bytes([number as u8; 16]);
        PlannedKey::new(key.clone(), WrappingAlgorithm::AesGcm, id).version(version(number))
    };
    let import = |number| {
        let component = |byte| {
            let value = zeroize::Zeroizing::new([byte; 32]);
            backup::Component::new(value.clone(), backup::check_value(&value)).unwrap()
        };
        let whole = backup::check_value(&[3; 32]);
        backup::import_components(&hsm, &plan(number), &[component(1), component(2)], whole)
    };
    for number in 1..=2 {
        let error = assert_kind(hsm.create_planned(&plan(number)), ErrorKind::VersionReuse);
        assert_eq!(error.hint(), Some("the next version of 'records' is 3"));
        assert_kind(import(number), ErrorKind::VersionReuse);
    }
    assert_eq!(labels(&token), ["keyward tombstone records"], "nothing was made");
    let made = hsm.create_planned(&plan(3)).unwrap();
    assert_eq!((labels(&token), hsm.create_planned(&plan(3)).unwrap()), (vec!["records:3".to_owned()], made));
    destroy(&hsm, &key, 3);
    assert_kind(import(3), ErrorKind::VersionReuse);
    assert_eq!(import(4).unwrap().version.get(), 4);
    assert_eq!(labels(&token), ["records:4"]);
}

#[test]
fn a_trusted_wrap_takes_no_number_that_either_token_used() {
    for on_backup in [false, true] {
        let (source, backup) = (SoftToken::new(), SoftToken::new());
        let (source, backup) = (source.provider(), backup.provider());
        let used = if on_backup { &backup } else { &source };
        used.create_key(&name("records"), AlgorithmChoice::Auto).unwrap();
        destroy(used, &name("records"), 1);
        let transport = backup::TransportKey::create(backup.token(), KekId::from_bytes([9; 16])).unwrap();
        let pinned = transport.public().fingerprint().unwrap();
        let plan = PlannedKey::new(name("records"), WrappingAlgorithm::AesGcm, KekId::from_bytes([7; 16]));
        let wrap = |plan: &PlannedKey| backup::trusted_wrap(&source, &backup, plan, &transport, &pinned);
        assert_kind(wrap(&plan), ErrorKind::VersionReuse);
        assert_eq!((numbers(&source), numbers(&backup)), (vec![], vec![]));
        assert_eq!(wrap(&plan.version(version(2))).unwrap().backup.version.get(), 2);
    }
}

#[test]
fn a_key_of_another_tool_with_a_used_number_is_not_adopted() {
    let (token, hsm, key) = with_key(WrappingAlgorithm::AesGcm);
    destroy(&hsm, &key, 1);
    let session = raw::logged_in(&token);
    raw::generate(&session, "records", &[7; 16], &[]);
    let error = assert_kind(hsm.adopt_key("records"), ErrorKind::VersionReuse);
    assert_eq!(error.hint(), Some("the next version of 'records' is 2"));
    let relabelled = [Attribute::Label(b"records:2".to_vec())];
    session.update_attributes(raw::find(&session, "records")[0], &relabelled).unwrap();
    assert_eq!(hsm.adopt_key("records:2").unwrap().key.version.get(), 2);
    assert_eq!(hsm.rotate_key(&key, None).unwrap().version.get(), 3);
    assert_eq!(labels(&token), ["records:2", "records:3"]);
}

#[test]
fn older_keys_of_another_tool_are_adopted_in_any_order() {
    let token = SoftToken::new();
    let hsm = token.provider();
    let session = raw::logged_in(&token);
    for (label, id) in [("vendor:2", [2; 16]), ("vendor", [1; 16])] {
        raw::generate(&session, label, &id, &[]);
        hsm.adopt_key(label).unwrap();
    }
    let uids = ["vendor:1", "vendor:2"].map(|label| records::field(&text(&token, label), "uid").unwrap().to_owned());
    assert_eq!(uids[0], uids[1], "they are versions of one key");
}

#[test]
fn a_version_that_another_tool_destroyed_is_remembered_by_its_record() {
    for repaired in [false, true] {
        let (token, hsm, key) = with_key(WrappingAlgorithm::AesGcm);
        hsm.rotate_key(&key, None).unwrap();
        let session = raw::logged_in(&token);
        for label in ["records:1", "records:2"] {
            session.destroy_object(raw::find(&session, label)[0]).unwrap();
        }
        let hsm = token.provider();
        if repaired {
            assert_eq!(repair_all(&hsm).len(), 2);
            assert_eq!(labels(&token), ["keyward tombstone records"]);
            assert_eq!(hsm.list_destroyed_keys().unwrap()[0].highest_version.get(), 2);
        }
        assert_eq!(hsm.create_key(&key, AlgorithmChoice::Auto).unwrap().version.get(), 3, "{repaired}");
    }
}

#[test]
fn a_tombstone_that_a_dead_maker_left_is_removed_by_a_repair() {
    let (token, hsm, key) = with_key(WrappingAlgorithm::AesGcm);
    destroy(&hsm, &key, 1);
    let left = text(&token, "keyward tombstone records");
    hsm.create_key(&key, AlgorithmChoice::Auto).unwrap();
    records::write(&raw::logged_in(&token), "keyward tombstone records", &left);
    let found = hsm.leftovers().unwrap();
    assert_eq!(found, [Leftover::Tombstone { name: key.clone() }]);
    assert_eq!(hsm.list_destroyed_keys().unwrap(), [], "the key is there");
    assert_eq!(repair_all(&hsm), found);
    assert_eq!((labels(&token), hsm.leftovers().unwrap()), (vec!["records:2".to_owned()], vec![]));
}

#[test]
fn a_tombstone_that_cannot_be_read_is_not_passed_over() {
    for (change, newer) in [(("tombstone 1", "tombstone 2"), true), (("highest-version 1", "highest-version x"), false)]
    {
        let (token, hsm, key) = with_key(WrappingAlgorithm::AesGcm);
        destroy(&hsm, &key, 1);
        let session = raw::logged_in(&token);
        records::rewrite(&session, "keyward tombstone records", |text| text.replace(change.0, change.1));
        let error = assert_kind(hsm.create_key(&key, AlgorithmChoice::Auto), ErrorKind::KeyAttributes);
        assert_eq!(error.to_string().contains("was written by a newer Keyward"), newer, "{error}");
        let label = "keyward tombstone records".to_owned();
        assert_eq!(hsm.leftovers().unwrap(), [Leftover::Unreadable { label, newer }]);
        assert_eq!((repair_all(&hsm), labels(&token).len()), (vec![], 1));
        // Another name has nothing to do with it.
        hsm.create_key(&name("other"), AlgorithmChoice::Auto).unwrap();
    }
}

#[test]
fn the_last_number_ends_a_name() {
    let (token, hsm, key) = with_key(WrappingAlgorithm::AesGcm);
    records::rewrite(&raw::logged_in(&token), "records:1", |text| {
        text.replace("highest-version 1\n", "highest-version 4294967295\n")
    });
    assert_kind(hsm.rotate_key(&key, None), ErrorKind::LimitExceeded);
    destroy(&hsm, &key, 1);
    assert_kind(hsm.create_key(&key, AlgorithmChoice::Auto), ErrorKind::LimitExceeded);
    assert_eq!(labels(&token), ["keyward tombstone records"]);
}

#[test]
fn a_missing_key_that_was_destroyed_is_said_to_be() {
    let (_token, hsm, key) = with_key(WrappingAlgorithm::AesGcm);
    destroy(&hsm, &key, 1);
    let error = assert_kind(hsm.rotate_key(&key, None), ErrorKind::KeyNotFound);
    assert_eq!(error.to_string(), "key 'records' is destroyed; its last version was 1");
}

/// What every version that was ever made has: its number, and the id of its key.
#[derive(Default)]
struct Made(BTreeMap<u32, KekId>);

impl Made {
    fn add(&mut self, key: &KeyDescription) {
        let known = self.0.insert(key.version.get(), key.kek_id);
        assert_eq!(known, None, "{} was made twice", key.label());
    }
}

#[test]
fn hosts_that_make_and_destroy_at_once_use_no_number_twice() {
    const VERSIONS: usize = 16;
    let token = SoftToken::new();
    let key = name("busy");
    let made = std::sync::Mutex::new(Made::default());
    let began = std::time::Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let (token, key, made) = (&token, &key, &made);
            scope.spawn(move || {
                let hsm = token.provider();
                for round in thread.. {
                    let new = match round % 3 {
                        0 => hsm.rotate_key(key, None),
                        _ => hsm.create_key(key, AlgorithmChoice::Auto),
                    };
                    if let Ok(new) = &new {
                        made.lock().unwrap().add(new);
                    }
                    if made.lock().unwrap().0.len() >= VERSIONS {
                        break;
                    }
                    assert!(began.elapsed().as_secs() < 120, "too few versions are made");
                    // Whatever is there; others may have been faster.
                    for key in hsm.list_keys().unwrap().iter().rev().filter(|key| key.state != KeyState::Pending) {
                        let _ = hsm.destroy_key(&key.name, key.version, VersionReuse::Refuse);
                    }
                }
            });
        }
    });
    let hsm = token.provider();
    for key in hsm.list_keys().unwrap() {
        destroy(&hsm, &key.name, key.version.get());
    }
    // One more may have been made by a host that did not find it any more.
    let highest = *made.lock().unwrap().0.keys().next_back().unwrap();
    let remembered = hsm.list_destroyed_keys().unwrap()[0].highest_version.get();
    assert!(remembered >= highest, "{remembered} {highest}");
    assert_eq!(hsm.create_key(&key, AlgorithmChoice::Auto).unwrap().version.get(), remembered + 1);
    assert_eq!(labels(&token), [format!("busy:{}", remembered + 1)]);
}
