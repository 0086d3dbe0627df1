//! Keys that change: through this provider, elsewhere, and while the token answers.

use super::*;
use keyward::key::VersionReuse;
use keyward::{KeyRef, KeyVersion};
use std::time::SystemTime;

type Change = fn(&dyn KeyAdmin) -> keyward::Result<()>;

const CHANGES: [(&str, Change); 8] = [
    ("create", |p| p.create_key(&name("new"), AlgorithmChoice::Auto).map(drop)),
    ("rotate", |p| p.rotate_key(&key(), None).map(drop)),
    ("disable", |p| p.disable_key(&key(), KeyVersion::FIRST).map(drop)),
    ("enable", |p| p.enable_key(&key(), KeyVersion::FIRST).map(drop)),
    ("schedule", |p| p.schedule_destruction(&key(), KeyVersion::FIRST, SystemTime::UNIX_EPOCH).map(drop)),
    // The last three do nothing here, and might have.
    ("expire", |p| p.expire_key(&key(), KeyVersion::FIRST, SystemTime::now())),
    ("destroy", |p| p.destroy_key(&name("another"), KeyVersion::FIRST, VersionReuse::Refuse).map(drop)),
    ("adopt", |p| p.adopt_key("records").map(drop)),
];

#[test]
fn whatever_changes_a_key_forgets_everything() {
    for (what, change) in CHANGES {
        let (spy, cached, _) = cached(MESSAGES, KEYS);
        let (_, wrapped) = message(&cached, &context("a")).unwrap();
        cached.unwrap_data_key(&wrapped, &context("a")).unwrap();
        spy.asked();
        let _ = change(&cached);
        assert_eq!(spy.asked(), [what]);
        assert_eq!(cached.stats().kept, 0, "{what}");
        // As the provider inside has it now.
        let bare = spy.keys.unwrap_data_key(&wrapped, &context("a")).map(drop).map_err(|error| error.kind());
        let kept = cached.unwrap_data_key(&wrapped, &context("a")).map(drop).map_err(|error| error.kind());
        assert_eq!(bare, kept, "{what}");
    }
}

#[test]
fn what_only_looks_forgets_nothing() {
    let (_, cached, _) = cached(MESSAGES, KEYS);
    message(&cached, &context("a")).unwrap();
    cached.list_keys().unwrap();
    assert_kind(cached.public_key(&key()), ErrorKind::Unsupported);
    assert_eq!(cached.stats().kept, 1);
}

#[test]
fn a_change_that_panics_forgets_everything() {
    let (spy, cached, _) = cached(MESSAGES, KEYS);
    message(&cached, &context("a")).unwrap();
    spy.before_answering(|_| panic!("a panic that is part of the test"));
    let change = std::panic::AssertUnwindSafe(|| cached.disable_key(&key(), KeyVersion::FIRST));
    assert!(std::panic::catch_unwind(change).is_err());
    assert_eq!(cached.stats().kept, 0);
}

#[test]
fn clearing_forgets_everything() {
    let (spy, cached, _) = cached(MESSAGES, KEYS);
    let (_, wrapped) = message(&cached, &context("a")).unwrap();
    cached.unwrap_data_key(&wrapped, &context("a")).unwrap();
    cached.clear();
    assert_eq!((cached.stats().kept, cached.stats().evicted), (0, 2));
    spy.asked();
    assert_ne!(message(&cached, &context("a")).unwrap().1, wrapped);
    cached.unwrap_data_key(&wrapped, &context("a")).unwrap();
    assert_eq!(spy.asked(), ["generate", "unwrap"]);
}

#[test]
fn an_answer_from_before_a_change_is_not_kept() {
    let (spy, cached, _) = cached(MESSAGES, KEYS);
    let cached = Arc::new(cached);
    let wrapped = wrapped(&*cached, &context("a"));
    // The token has answered, and before the answer is here the key is disabled.
    let other = Arc::clone(&cached);
    spy.before_answering(move |keys| {
        keys.disable_key(&key(), KeyVersion::FIRST)?;
        other.clear();
        Ok(())
    });
    cached.unwrap_data_key(&wrapped, &context("a")).unwrap();
    spy.answer_at_once();
    assert_eq!(cached.stats().kept, 0);
    assert_kind(cached.unwrap_data_key(&wrapped, &context("a")), ErrorKind::KeyState);
}

#[test]
fn a_change_elsewhere_is_noticed_when_the_key_is_described_and_by_age_at_last() {
    type Change = fn(&Spy);
    let changes: [(Change, ErrorKind); 2] = [
        (|spy| drop(spy.keys.disable_key(&key(), KeyVersion::FIRST).unwrap()), ErrorKind::KeyState),
        (
            |spy| assert!(spy.keys.destroy_key(&key(), KeyVersion::FIRST, VersionReuse::Refuse).is_ok()),
            ErrorKind::KeyNotFound,
        ),
    ];
    for (change, refusal) in changes {
        for by_id in [false, true] {
            let (spy, cached, clock) = cached(MESSAGES, KEYS);
            let (_, wrapped) = message(&cached, &context("a")).unwrap();
            let id = wrapped.iter().next().unwrap().kek_id();
            let name = key();
            let described = if by_id { KeyRef::Kek(id) } else { KeyRef::Name(&name) };
            cached.describe_key(described).unwrap();
            message(&cached, &context("a")).unwrap();
            cached.unwrap_data_key(&wrapped, &context("a")).unwrap();
            cached.describe_key(described).unwrap();
            assert_eq!(cached.stats().kept, 2, "nothing has changed");

            change(&spy);
            message(&cached, &context("a")).unwrap();
            cached.unwrap_data_key(&wrapped, &context("a")).unwrap();
            let _ = cached.describe_key(described);
            assert_kind(message(&cached, &context("a")), refusal);
            assert_kind(cached.unwrap_data_key(&wrapped, &context("a")), refusal);

            clock.pass(AGE);
            assert_kind(message(&cached, &context("a")), refusal);
        }
    }
}

#[test]
fn a_rotation_elsewhere_is_noticed_when_the_key_is_described() {
    let (spy, cached, _) = cached(MESSAGES, KEYS);
    let (_, old) = message(&cached, &context("a")).unwrap();
    spy.keys.rotate_key(&key(), None).unwrap();
    assert_eq!(message(&cached, &context("a")).unwrap().1, old, "the price");
    let current = cached.describe_key(KeyRef::Name(&key())).unwrap().kek_id;
    let (_, new) = message(&cached, &context("a")).unwrap();
    assert_eq!(new.iter().next().unwrap().kek_id(), current);
    cached.unwrap_data_key(&old, &context("a")).unwrap();
}

#[test]
fn without_being_described_a_key_serves_until_it_is_too_old() {
    let (spy, cached, clock) = cached(MESSAGES, KEYS);
    let (_, wrapped) = message(&cached, &context("a")).unwrap();
    cached.unwrap_data_key(&wrapped, &context("a")).unwrap();
    spy.keys.destroy_key(&key(), KeyVersion::FIRST, VersionReuse::Refuse).unwrap();
    clock.pass(AGE - Duration::from_nanos(1));
    message(&cached, &context("a")).unwrap();
    cached.unwrap_data_key(&wrapped, &context("a")).unwrap();
    clock.pass(Duration::from_nanos(1));
    assert_kind(message(&cached, &context("a")), ErrorKind::KeyNotFound);
    assert_kind(cached.unwrap_data_key(&wrapped, &context("a")), ErrorKind::KeyNotFound);
}
