//! Destructions that are scheduled, and rotations that are made only when they are due.

use super::*;
use cryptoki::object::{Attribute, AttributeType, ObjectClass};
use keyward::key::{KeyDescription, KeyState};
use keyward::{DataKeyLength, KeyProvider, KeyRef, KeyVersion};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const V1: KeyVersion = KeyVersion::FIRST;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// In whole seconds, as records have it.
fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(UNIX_EPOCH.elapsed().unwrap().as_secs())
}

fn the_first(hsm: &HsmProvider) -> KeyDescription {
    hsm.list_keys().unwrap().remove(0)
}

/// Writes the record of version 1 once more, changed; with what was there before, or in its place.
fn rewrite(token: &SoftToken, key: &KeyName, beside: bool, change: impl Fn(&str) -> String) {
    let session = raw::logged_in(token);
    let label = format!("{key}:1");
    let template = [Attribute::Class(ObjectClass::DATA), Attribute::Label(label.clone().into_bytes())];
    let before = raw::objects(&session, &template);
    let value = session.get_attributes(before[0], &[AttributeType::Value]).unwrap().remove(0);
    let Attribute::Value(value) = value else { panic!("{value:?}") };
    records::write(&session, &label, &change(&String::from_utf8(value).unwrap()));
    for old in before.into_iter().filter(|_| !beside) {
        session.destroy_object(old).unwrap();
    }
}

/// Makes a key older than it is.
fn age(token: &SoftToken, key: &KeyName, created: SystemTime) {
    let seconds = created.duration_since(UNIX_EPOCH).unwrap().as_secs();
    rewrite(token, key, false, |text| {
        let lines = text.lines().map(|line| match line.starts_with("created ") {
            true => format!("created {seconds}\n"),
            false => format!("{line}\n"),
        });
        lines.collect()
    });
}

#[test]
fn a_scheduled_version_is_disabled_now_and_destroyed_when_it_is_time() {
    for algorithm in ALGORITHMS {
        let (token, hsm, key) = with_key(algorithm);
        let (_, wrapped) = hsm.generate_data_key(&key, &context(&[]), DataKeyLength::Bytes32).unwrap();
        let date = now() + 7 * DAY;
        let scheduled = hsm.schedule_destruction(&key, V1, date).unwrap();
        assert_eq!((scheduled.state, scheduled.destroy_after), (KeyState::Disabled, Some(date)));
        assert_kind(hsm.unwrap_data_key(&wrapped, &context(&[])), ErrorKind::KeyState);
        // It is on the token: another host sees it, and finds the key as it was in everything else.
        assert_eq!(token.provider().list_keys().unwrap(), std::slice::from_ref(&scheduled));
        assert_eq!(scheduled.created, the_first(&hsm).created);

        let early = assert_kind(hsm.expire_key(&key, V1, date - Duration::from_secs(1)), ErrorKind::KeyState);
        assert!(early.to_string().contains("its time has not come"), "{early}");
        assert_eq!(hsm.list_keys().unwrap().len(), 1);
        hsm.expire_key(&key, V1, date).unwrap();
        assert_kind(hsm.expire_key(&key, V1, date), ErrorKind::KeyNotFound);
        let left = records::all(&raw::logged_in(&token)).into_iter().map(|(_, label, _)| label);
        assert_eq!(left.collect::<Vec<_>>(), ["keyward tombstone records"], "neither key nor record");
    }
}

#[test]
fn enabling_cancels_a_scheduled_destruction() {
    for algorithm in ALGORITHMS {
        let (_token, hsm, key) = with_key(algorithm);
        let (_, wrapped) = hsm.generate_data_key(&key, &context(&[]), DataKeyLength::Bytes32).unwrap();
        let before = the_first(&hsm);
        hsm.schedule_destruction(&key, V1, now()).unwrap();
        assert_eq!(hsm.enable_key(&key, V1).unwrap(), before);
        let error = assert_kind(hsm.expire_key(&key, V1, now() + DAY), ErrorKind::KeyState);
        assert!(error.to_string().contains("no destruction is scheduled"), "{error}");
        // And disabled again it has no date.
        assert_eq!(hsm.disable_key(&key, V1).unwrap().destroy_after, None);
        assert_kind(hsm.expire_key(&key, V1, now() + DAY), ErrorKind::KeyState);
        hsm.enable_key(&key, V1).unwrap();
        hsm.unwrap_data_key(&wrapped, &context(&[])).unwrap();
    }
}

#[test]
fn a_version_that_is_in_use_is_not_destroyed_whatever_its_record_says() {
    let (token, hsm, key) = with_key(WrappingAlgorithm::AesGcm);
    rewrite(&token, &key, false, |text| text.replace("canary ", "destroy-after 1\ncanary "));
    let found = the_first(&hsm);
    assert_eq!((found.state, found.destroy_after), (KeyState::Active, Some(UNIX_EPOCH + Duration::from_secs(1))));
    let error = assert_kind(hsm.expire_key(&key, V1, now()), ErrorKind::KeyState);
    assert!(error.to_string().contains("it is active"), "{error}");
    assert_eq!(hsm.list_keys().unwrap().len(), 1);
}

#[test]
fn of_two_records_the_one_without_a_date_counts() {
    // What is left where a cancellation, or a scheduling, was interrupted.
    let (token, hsm, key) = with_key(WrappingAlgorithm::AesGcm);
    hsm.disable_key(&key, V1).unwrap();
    rewrite(&token, &key, true, |text| text.replace("canary ", "destroy-after 1\ncanary "));
    assert_eq!(the_first(&hsm).destroy_after, None);
    assert_kind(hsm.expire_key(&key, V1, now()), ErrorKind::KeyState);
    // The next change leaves one record.
    let now = now();
    hsm.schedule_destruction(&key, V1, now + DAY).unwrap();
    hsm.schedule_destruction(&key, V1, now + 2 * DAY).unwrap();
    assert_eq!(the_first(&hsm).destroy_after, Some(now + 2 * DAY));
    let data = raw::objects(&raw::logged_in(&token), &[Attribute::Class(ObjectClass::DATA)]);
    assert_eq!(data.len(), 1);
}

#[test]
fn a_date_is_rounded_up() {
    let (_token, hsm, key) = with_key(WrappingAlgorithm::AesKw);
    let date = now() + DAY;
    let scheduled = hsm.schedule_destruction(&key, V1, date + Duration::from_millis(1)).unwrap();
    assert_eq!(scheduled.destroy_after, Some(date + Duration::from_secs(1)));
}

#[test]
fn without_a_record_nothing_is_scheduled_and_nothing_is_disabled() {
    let token = SoftToken::new();
    let hsm = token.provider();
    raw::generate(&raw::logged_in(&token), "a", &[7; 16], &[]);
    let error = assert_kind(hsm.schedule_destruction(&name("a"), V1, now()), ErrorKind::Unsupported);
    assert!(error.hint().unwrap().contains("`keyward key adopt a`"), "{error:?}");
    assert_eq!(the_first(&hsm).state, KeyState::Active);
    hsm.adopt_key("a").unwrap();
    hsm.schedule_destruction(&name("a"), V1, now()).unwrap();
}

#[test]
fn keys_that_are_not_there_are_not_scheduled() {
    let (_token, hsm, key) = with_key(WrappingAlgorithm::AesGcm);
    for (name, version) in [(name("other"), "1"), (key, "2")] {
        let version: KeyVersion = version.parse().unwrap();
        assert_kind(hsm.schedule_destruction(&name, version, now()), ErrorKind::KeyNotFound);
        assert_kind(hsm.expire_key(&name, version, now()), ErrorKind::KeyNotFound);
    }
    assert_kind(hsm.schedule_destruction(&name("not-allowed"), V1, now()), ErrorKind::KeyNotFound);
}

#[test]
fn a_rotation_is_made_only_when_it_is_due() {
    for algorithm in ALGORITHMS {
        let (token, hsm, key) = with_key(algorithm);
        let error = assert_kind(hsm.rotate_key(&key, Some(now() - DAY)), ErrorKind::KeyExists);
        assert!(error.to_string().contains("not old enough"), "{error}");
        age(&token, &key, now() - 2 * DAY);
        assert_eq!(hsm.rotate_key(&key, Some(now() - DAY)).unwrap().version.get(), 2);
        // Whoever comes later finds it done.
        for provider in [&hsm, &token.provider().only([key.clone()])] {
            assert_kind(provider.rotate_key(&key, Some(now() - DAY)), ErrorKind::KeyExists);
        }
        assert_eq!(hsm.list_keys().unwrap().len(), 2);
    }
}

#[test]
fn a_rotation_that_is_not_due_finishes_one_that_was_interrupted() {
    for (algorithm, protect) in
        [(WrappingAlgorithm::AesGcm, Attribute::Encrypt(true)), (WrappingAlgorithm::AesKw, Attribute::Wrap(true))]
    {
        let (token, hsm, key) = with_key(algorithm);
        hsm.rotate_key(&key, None).unwrap();
        let session = raw::logged_in(&token);
        session.update_attributes(raw::find(&session, &format!("{key}:1"))[0], &[protect]).unwrap();
        assert_eq!(the_first(&hsm).state, KeyState::Active);
        assert_kind(hsm.rotate_key(&key, Some(now() - DAY)), ErrorKind::KeyExists);
        assert_eq!(the_first(&hsm).state, KeyState::Retired);
    }
}

#[test]
fn a_key_of_unknown_age_is_not_rotated_by_age() {
    let token = SoftToken::new();
    let hsm = token.provider();
    raw::generate(&raw::logged_in(&token), "a", &[7; 16], &[]);
    let error = assert_kind(hsm.rotate_key(&name("a"), Some(now())), ErrorKind::Unsupported);
    assert!(error.to_string().contains("'a:1'"), "{error}");
    assert_eq!(hsm.list_keys().unwrap().len(), 1);
}

/// Eight threads rotate at once; what each was told.
fn rotate_at_once(hsm: &HsmProvider, key: &KeyName, due: Option<SystemTime>) -> Vec<keyward::Result<KeyDescription>> {
    let barrier = std::sync::Barrier::new(8);
    std::thread::scope(|scope| {
        let rotate = || {
            barrier.wait();
            hsm.rotate_key(key, due)
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(rotate)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn many_threads_rotating_a_key_that_is_due_make_one_version() {
    let (token, hsm, key) = with_key(WrappingAlgorithm::AesGcm);
    age(&token, &key, now() - 2 * DAY);
    let (won, lost): (Vec<_>, Vec<_>) =
        rotate_at_once(&hsm, &key, Some(now() - DAY)).into_iter().partition(Result::is_ok);
    assert_eq!(won.len(), 1, "{lost:?}");
    assert!(lost.iter().all(|error| error.as_ref().is_err_and(|error| error.kind() == ErrorKind::KeyExists)));
    let states: Vec<_> = hsm.list_keys().unwrap().iter().map(|key| (key.version.get(), key.state)).collect();
    assert_eq!(states, [(1, KeyState::Retired), (2, KeyState::Active)]);
}

#[test]
fn many_threads_rotating_whatever_the_age_make_versions_one_after_the_other() {
    let (_token, hsm, key) = with_key(WrappingAlgorithm::AesGcm);
    let (won, lost): (Vec<_>, Vec<_>) = rotate_at_once(&hsm, &key, None).into_iter().partition(Result::is_ok);
    assert!(!won.is_empty(), "{lost:?}");
    for error in lost {
        assert_kind(error, ErrorKind::KeyExists);
    }
    let keys = hsm.list_keys().unwrap();
    let found: Vec<_> = keys.iter().map(|key| (key.version.get() as usize, key.state)).collect();
    let mut expected: Vec<_> = (1..=won.len() + 1).map(|version| (version, KeyState::Retired)).collect();
    expected.last_mut().unwrap().1 = KeyState::Active;
    assert_eq!(found, expected);
    assert_eq!(hsm.describe_key(KeyRef::Name(&key)).unwrap(), *keys.last().unwrap());
}
