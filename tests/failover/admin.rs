//! Administering several tokens at once.

use super::*;
use keyward::key::{KeyDescription, KeyState, VersionReuse};
use keyward::{KeyProvider, KeyRef, KeyVersion};
use std::time::{SystemTime, UNIX_EPOCH};

const V1: KeyVersion = KeyVersion::FIRST;

/// Everything that changes keys.
type Change = fn(&Failover<Memory>) -> keyward::Result<()>;
const CHANGES: [Change; 7] = [
    |failover| failover.create_key(&name("new"), AlgorithmChoice::Auto).map(drop),
    |failover| failover.rotate_key(&key(), None).map(drop),
    |failover| failover.disable_key(&key(), V1).map(drop),
    |failover| failover.enable_key(&key(), V1).map(drop),
    |failover| failover.destroy_key(&key(), V1, VersionReuse::Refuse).map(drop),
    |failover| failover.schedule_destruction(&key(), V1, UNIX_EPOCH).map(drop),
    |failover| failover.expire_key(&key(), V1, SystemTime::now()),
];

fn keys(switch: &Memory) -> Vec<KeyDescription> {
    switch.inner().list_keys().unwrap()
}

fn states(switch: &Memory) -> Vec<(u32, KeyState)> {
    keys(switch).iter().map(|key| (key.version.get(), key.state)).collect()
}

#[test]
fn the_keys_of_replicas_are_not_changed() {
    let (switches, failover) = replicas(2);
    let before = keys(&switches[0]);
    for change in CHANGES {
        let error = assert_kind(change(&failover), ErrorKind::Unsupported);
        assert!(error.hint().unwrap().contains("cloned by the vendor's means; name one token with --token"));
    }
    assert_kind(failover.adopt_key("x"), ErrorKind::Unsupported);
    assert_eq!((keys(&switches[0]), switches[0].calls()), (before.clone(), 0));
    // Looking is another thing.
    switches[0].off();
    assert_eq!(failover.list_keys().unwrap(), before);
    // The provider in memory has no RSA: the refusal is an answer, and the answer of the second.
    let error = assert_kind(failover.public_key(&key()), ErrorKind::Unsupported);
    assert!(error.to_string().contains("RSA"), "{error}");
    assert_eq!((switches[0].calls(), switches[1].calls()), (1, 2));
}

#[test]
fn the_keys_of_siblings_are_changed_on_all_of_them() {
    let (switches, failover) = siblings(3);
    let of_first = |made: KeyDescription| assert!(keys(&switches[0]).contains(&made), "{made:?}");
    let all = |expected: &[(u32, KeyState)]| {
        for switch in &switches {
            assert_eq!(states(switch), expected);
        }
    };
    of_first(failover.rotate_key(&key(), None).unwrap());
    all(&[(1, KeyState::Retired), (2, KeyState::Active)]);
    of_first(failover.disable_key(&key(), V1).unwrap());
    all(&[(1, KeyState::Disabled), (2, KeyState::Active)]);
    of_first(failover.enable_key(&key(), V1).unwrap());
    all(&[(1, KeyState::Retired), (2, KeyState::Active)]);
    failover.destroy_key(&key(), V1, VersionReuse::Refuse).unwrap();
    all(&[(2, KeyState::Active)]);
    assert_kind(failover.destroy_key(&key(), V1, VersionReuse::Refuse), ErrorKind::KeyNotFound);
    assert_kind(failover.disable_key(&key(), V1), ErrorKind::KeyNotFound);
    assert_kind(failover.enable_key(&key(), V1), ErrorKind::KeyNotFound);
    let error = assert_kind(failover.adopt_key("x"), ErrorKind::Unsupported);
    assert!(error.hint().unwrap().contains("--token"));
}

#[test]
fn siblings_with_other_histories_use_no_number_twice() {
    let (switches, failover) = siblings(2);
    switches[0].inner().rotate_key(&key(), None).unwrap();
    for number in ["1", "2"] {
        // The second has no version 2.
        failover.destroy_key(&key(), number.parse().unwrap(), VersionReuse::Refuse).unwrap();
    }
    let destroyed = failover.list_destroyed_keys().unwrap();
    let highest: Vec<_> = destroyed.iter().map(|key| key.highest_version.get()).collect();
    assert_eq!(highest, [2, 1], "each token remembers its own");
    assert_eq!(failover.create_key(&key(), AlgorithmChoice::Auto).unwrap().version.get(), 3);
    assert_eq!([&switches[0], &switches[1]].map(|switch| states(switch)[0].0), [3, 2]);
    assert_eq!(failover.list_destroyed_keys().unwrap(), []);
    // What one of them cannot say is not left out.
    switches[1].say(ErrorKind::TokenUnavailable);
    assert_kind(failover.list_destroyed_keys(), ErrorKind::TokenUnavailable);
}

#[test]
fn nothing_is_changed_unless_all_siblings_answer() {
    for down in 0..3 {
        for kind in [ErrorKind::TokenUnavailable, ErrorKind::PinLocked] {
            for change in CHANGES {
                let (switches, failover) = siblings(3);
                let before: Vec<_> = switches.iter().map(keys).collect();
                switches[down].say(kind);
                let error = assert_kind(change(&failover), ErrorKind::TokenUnavailable);
                assert!(error.to_string().contains(NAMES[down]), "{error}");
                assert_eq!(switches.iter().map(keys).collect::<Vec<_>>(), before);
                assert!(switches.iter().all(|switch| switch.calls() == 0), "only probes");
            }
        }
    }
}

#[test]
fn a_sibling_that_is_back_is_noticed_before_a_change() {
    let (switches, failover) = siblings(2);
    switches[1].off();
    failover.probe();
    switches[1].on();
    failover.rotate_key(&key(), None).unwrap();
}

#[test]
fn creating_completes_what_is_missing() {
    let (switches, failover) = siblings(3);
    let made = failover.create_key(&name("a"), AlgorithmChoice::Auto).unwrap();
    assert_eq!(switches[0].inner().describe_key(KeyRef::Name(&name("a"))).unwrap(), made);
    assert_kind(failover.create_key(&name("a"), AlgorithmChoice::Auto), ErrorKind::KeyExists);

    for with in 0..3 {
        let new = name(&format!("new-{with}"));
        let had = switches[with].inner().create_key(&new, AlgorithmChoice::Auto).unwrap();
        let made = failover.create_key(&new, AlgorithmChoice::Auto).unwrap();
        let described: Vec<_> =
            switches.iter().map(|switch| switch.inner().describe_key(KeyRef::Name(&new)).unwrap()).collect();
        assert_eq!(made, described[0]);
        assert_eq!(had, described[with], "what was there is left as it is");
    }
}

#[test]
fn a_change_that_fails_half_way_says_where_it_was_made() {
    let (switches, failover) = siblings(3);
    switches[1].inner().destroy_key(&key(), V1, VersionReuse::Refuse).unwrap();
    let error = assert_kind(failover.enable_key(&key(), V1), ErrorKind::KeyNotFound);
    assert!(error.to_string().starts_with("second: "), "{error}");
    assert!(error.to_string().ends_with("the change was made on first already"), "{error}");
    assert!(error.hint().unwrap().contains("--token"));
    // Disabling and destroying do not stop at who has it no longer.
    failover.disable_key(&key(), V1).unwrap();
    assert_eq!(states(&switches[2]), [(1, KeyState::Disabled)]);
    failover.destroy_key(&key(), V1, VersionReuse::Refuse).unwrap();
    assert_eq!(keys(&switches[2]), []);
}

#[test]
fn a_destruction_is_scheduled_on_all_siblings() {
    let (switches, failover) = siblings(2);
    let date = SystemTime::now() + Duration::from_secs(60);
    assert_eq!(failover.schedule_destruction(&key(), V1, date).unwrap().destroy_after, Some(date));
    for switch in &switches {
        assert_eq!((keys(switch)[0].state, keys(switch)[0].destroy_after), (KeyState::Disabled, Some(date)));
    }
    assert_kind(failover.expire_key(&key(), V1, SystemTime::now()), ErrorKind::KeyState);
    failover.enable_key(&key(), V1).unwrap();
    assert!(switches.iter().all(|switch| keys(switch)[0].destroy_after.is_none()));

    // What one of them has no longer is done there.
    failover.schedule_destruction(&key(), V1, date).unwrap();
    switches[0].inner().destroy_key(&key(), V1, VersionReuse::Refuse).unwrap();
    failover.expire_key(&key(), V1, date).unwrap();
    assert_eq!(keys(&switches[1]), []);
    assert_kind(failover.expire_key(&key(), V1, date), ErrorKind::KeyNotFound);
}

#[test]
fn a_rotation_that_is_due_is_made_where_it_was_not_made_yet() {
    let (switches, failover) = siblings(2);
    let due = Some(SystemTime::now() + Duration::from_secs(60));
    let long_ago = Some(UNIX_EPOCH);
    assert_kind(failover.rotate_key(&key(), long_ago), ErrorKind::KeyExists);
    // An earlier attempt ended after the first.
    let between = SystemTime::now();
    let first = switches[0].inner().rotate_key(&key(), due).unwrap();
    let second = failover.rotate_key(&key(), Some(between)).unwrap();
    assert_ne!(first.kek_id, second.kek_id);
    for switch in &switches {
        assert_eq!(states(switch), [(1, KeyState::Retired), (2, KeyState::Active)]);
    }
    assert_kind(failover.rotate_key(&key(), Some(between)), ErrorKind::KeyExists);
}

#[test]
fn nobody_is_rotated_where_one_has_no_such_key() {
    let (switches, failover) = siblings(2);
    switches[1].inner().destroy_key(&key(), V1, VersionReuse::Refuse).unwrap();
    let error = assert_kind(failover.rotate_key(&key(), None), ErrorKind::KeyNotFound);
    assert!(error.to_string().starts_with("second: "), "{error}");
    assert_eq!(states(&switches[0]), [(1, KeyState::Active)]);
}

#[test]
fn a_listing_has_the_keys_of_all_siblings() {
    let (switches, failover) = siblings(2);
    failover.create_key(&name("a"), AlgorithmChoice::Auto).unwrap();
    failover.rotate_key(&key(), None).unwrap();
    let listed = failover.list_keys().unwrap();
    let labels: Vec<_> = listed.iter().map(KeyDescription::label).collect();
    assert_eq!(labels, ["a:1", "a:1", "records:1", "records:1", "records:2", "records:2"]);
    for (index, key) in listed.iter().enumerate() {
        assert!(keys(&switches[index % 2]).contains(key), "{key:?}");
    }
    // A listing that lacks some would be taken for the whole.
    switches[1].off();
    let error = assert_kind(failover.list_keys(), ErrorKind::TokenUnavailable);
    assert!(error.to_string().starts_with("second: "), "{error}");
}
