//! Tokens with keys of their own under the same names.

use super::*;
use keyward::key::{KeyState, VersionReuse};
use keyward::{DataKeyLength, KekId, KeyProvider, KeyRef, KeyVersion, WrappedKeys};

fn generate(failover: &Failover<Memory>) -> keyward::Result<(DataKey, WrappedKeys)> {
    failover.generate_data_key(&key(), &context(), DataKeyLength::Bytes32)
}

/// The KEKs of the members' current versions.
fn keks(switches: &[Memory]) -> Vec<KekId> {
    switches.iter().map(|switch| switch.inner().describe_key(KeyRef::Name(&key())).unwrap().kek_id).collect()
}

fn ids(wrapped: &WrappedKeys) -> Vec<KekId> {
    wrapped.iter().map(keyward::WrappedKey::kek_id).collect()
}

#[test]
fn there_are_at_most_as_many_as_an_envelope_has_room_for() {
    let many = |count: usize| {
        let memory = |_| Member::new("m", Arc::new(Switch::new(Arc::new(MemoryProvider::new()))));
        Failover::<Memory>::siblings((0..count).map(memory))
    };
    many(16).unwrap();
    assert_kind(many(17), ErrorKind::InvalidArgument);
    // Of replicas there is no limit.
    let switch = Arc::new(Switch::new(Arc::new(MemoryProvider::new())));
    Failover::replicas((0..17).map(|_| Member::new("m", Arc::clone(&switch)))).unwrap();
}

#[test]
fn what_is_protected_is_wrapped_once_for_each_in_order_and_any_recovers_it() {
    let (switches, failover) = siblings(3);
    let (data_key, generated) = generate(&failover).unwrap();
    let wrapped = failover.wrap_data_key(&key(), &context(), &data_key).unwrap();
    for wrapped in [generated, wrapped] {
        assert_eq!(ids(&wrapped), keks(&switches));
        for switch in &switches {
            assert_same(&switch.inner().unwrap_data_key(&wrapped, &context()).unwrap(), &data_key);
        }
        for one in &wrapped {
            let one = WrappedKeys::from(one.clone());
            assert_same(&failover.unwrap_data_key(&one, &context()).unwrap(), &data_key);
        }
    }
}

#[test]
fn protecting_leaves_out_who_is_down() {
    for down in 0..3 {
        let (switches, failover) = siblings(3);
        let mut expected = keks(&switches);
        expected.remove(down);
        switches[down].off();
        for _ in 0..3 {
            let (data_key, wrapped) = generate(&failover).unwrap();
            assert_eq!(ids(&wrapped), expected);
            assert_same(&failover.unwrap_data_key(&wrapped, &context()).unwrap(), &data_key);
            let wrapped = failover.wrap_data_key(&key(), &context(), &data_key).unwrap();
            assert_eq!(ids(&wrapped), expected);
        }
        assert_eq!(switches[down].calls(), 1);
        switches[down].on();
        wait_until_all_are_up(&failover);
        assert_eq!(ids(&generate(&failover).unwrap().1), keks(&switches));
    }
}

#[test]
fn as_many_must_wrap_as_are_required() {
    let (switches, failover) = siblings(3);
    let failover = failover.require_siblings(2);
    let (data_key, wrapped) = generate(&failover).unwrap();
    switches[0].off();
    generate(&failover).unwrap();
    switches[2].say(ErrorKind::Timeout);
    for _ in 0..2 {
        let generated = generate(&failover).map(drop);
        let again = failover.wrap_data_key(&key(), &context(), &data_key).map(drop);
        let rewrapped = failover
            .rewrap_data_key(&wrapped_by(&wrapped, 1), &context(), &key(), keyward::Origin::Unverified)
            .map(drop);
        for answer in [generated, again, rewrapped] {
            let error = assert_kind(answer, ErrorKind::TokenUnavailable);
            assert_eq!(
                error.to_string(),
                "1 siblings wrapped the data key, and 2 are required; \
                 down are first: switched to TokenUnavailable; third: switched to Timeout"
            );
        }
    }
    // Recovering needs one.
    failover.unwrap_data_key(&wrapped, &context()).unwrap();
    // Nobody is refused on the word of an earlier call alone.
    switches[2].on();
    assert_eq!(ids(&generate(&failover).unwrap().1), keks(&switches)[1..]);
    wait_until("the return of the third", || failover.health()[2].available);

    // More than there are.
    switches[0].on();
    wait_until_all_are_up(&failover);
    let error = assert_kind(generate(&failover.require_siblings(4)), ErrorKind::TokenUnavailable);
    assert!(error.to_string().contains("no more"), "{error}");
}

fn wrapped_by(wrapped: &WrappedKeys, index: usize) -> WrappedKeys {
    wrapped.clone().into_vec().remove(index).into()
}

#[test]
fn none_required_is_one() {
    let (switches, failover) = siblings(2);
    let failover = failover.require_siblings(0);
    switches.iter().for_each(|switch| switch.off());
    assert_kind(generate(&failover), ErrorKind::TokenUnavailable);
}

#[test]
fn a_sibling_that_answers_and_cannot_protect_fails_the_call() {
    for failing in 0..3 {
        let (switches, failover) = siblings(3);
        let (data_key, wrapped) = generate(&failover).unwrap();
        let other = (failing + 1) % 3;
        let check = |kind| {
            let generated = generate(&failover).map(drop);
            let wrapped_again = failover.wrap_data_key(&key(), &context(), &data_key).map(drop);
            let rewrapped = failover
                .rewrap_data_key(&wrapped_by(&wrapped, other), &context(), &key(), keyward::Origin::Unverified)
                .map(drop);
            for answer in [generated, wrapped_again, rewrapped] {
                let error = assert_kind(answer, kind);
                assert!(error.to_string().starts_with(NAMES[failing]), "{error}");
            }
        };
        let token = switches[failing].inner();
        token.disable_key(&key(), KeyVersion::FIRST).unwrap();
        check(ErrorKind::KeyState);
        token.destroy_key(&key(), KeyVersion::FIRST, VersionReuse::Refuse).unwrap();
        check(ErrorKind::KeyNotFound);
        assert!(failover.health().iter().all(|member| member.available));
        // What it cannot protect, others recover.
        assert_same(&failover.unwrap_data_key(&wrapped, &context()).unwrap(), &data_key);
    }
}

#[test]
fn recovering_takes_the_first_success_and_says_the_most_telling_failure() {
    let (switches, failover) = siblings(3);
    let (data_key, wrapped) = generate(&failover).unwrap();
    let kinds = |said: [Option<ErrorKind>; 3]| {
        // A failover of its own, so that nobody is down yet.
        let failover = Failover::siblings(members(&switches)).unwrap();
        for (switch, kind) in switches.iter().zip(said) {
            kind.map_or_else(|| switch.on(), |kind| switch.say(kind));
        }
        failover.unwrap_data_key(&wrapped, &context())
    };
    use ErrorKind::{KeyNotFound, KeyState, NotAuthentic, TokenUnavailable};
    for said in [
        [Some(TokenUnavailable), None, None],
        [Some(NotAuthentic), None, None],
        [Some(KeyNotFound), Some(NotAuthentic), None],
        [None, Some(TokenUnavailable), Some(NotAuthentic)],
    ] {
        assert_same(&kinds(said).unwrap(), &data_key);
    }
    for (said, expected) in [
        ([KeyNotFound, KeyNotFound, KeyNotFound], KeyNotFound),
        ([KeyNotFound, NotAuthentic, KeyState], NotAuthentic),
        ([KeyState, NotAuthentic, KeyNotFound], KeyState),
        ([NotAuthentic, KeyNotFound, TokenUnavailable], TokenUnavailable),
        ([TokenUnavailable, NotAuthentic, KeyNotFound], TokenUnavailable),
    ] {
        assert_kind(kinds(said.map(Some)), expected);
    }
}

#[test]
fn what_only_a_sibling_that_is_down_can_recover_is_unavailable_and_not_lost() {
    let (switches, failover) = siblings(2);
    let (_, wrapped) = generate(&failover).unwrap();
    switches[0].off();
    for _ in 0..3 {
        let error =
            assert_kind(failover.unwrap_data_key(&wrapped_by(&wrapped, 0), &context()), ErrorKind::TokenUnavailable);
        assert!(error.to_string().starts_with("first: "), "{error}");
    }
    assert_eq!(switches[0].calls(), 1 + 1, "one to generate, one to find it down, none after that");
}

#[test]
fn a_key_is_described_by_the_first_by_name_and_by_its_owner_by_id() {
    let (switches, failover) = siblings(3);
    let keks = keks(&switches);
    assert_eq!(failover.describe_key(KeyRef::Name(&key())).unwrap().kek_id, keks[0]);
    for id in &keks {
        assert_eq!(failover.describe_key(KeyRef::Kek(*id)).unwrap().kek_id, *id);
    }
    let unknown = KeyRef::Kek(KekId::from_bytes([7; 16]));
    assert_kind(failover.describe_key(unknown), ErrorKind::KeyNotFound);
    assert_kind(failover.describe_key(KeyRef::Name(&name("other"))), ErrorKind::KeyNotFound);

    switches[0].off();
    for _ in 0..2 {
        assert_eq!(failover.describe_key(KeyRef::Name(&key())).unwrap().kek_id, keks[1]);
        assert_eq!(failover.describe_key(KeyRef::Kek(keks[2])).unwrap().kek_id, keks[2]);
        assert_kind(failover.describe_key(KeyRef::Kek(keks[0])), ErrorKind::TokenUnavailable);
        assert_kind(failover.describe_key(unknown), ErrorKind::TokenUnavailable);
    }
}

#[test]
fn rewrapping_gives_one_slot_for_each_in_order() {
    let (switches, failover) = siblings(3);
    let (data_key, wrapped) = generate(&failover).unwrap();
    let to = name("other");
    failover.create_key(&to, AlgorithmChoice::Auto).unwrap();
    let of_other = |wrapped: &WrappedKeys| {
        let named = |id| failover.describe_key(KeyRef::Kek(id)).unwrap().name == to;
        wrapped.iter().all(|one| named(one.kek_id()))
    };
    // From all, and from each alone: whoever can open it is the first.
    let sources: Vec<_> = std::iter::once(wrapped.clone()).chain((0..3).map(|n| wrapped_by(&wrapped, n))).collect();
    for source in sources {
        let moved = failover.rewrap_data_key(&source, &context(), &to, keyward::Origin::Unverified).unwrap();
        assert!(of_other(&moved));
        assert_eq!(moved.iter().count(), 3);
        for (one, switch) in moved.iter().zip(&switches) {
            let one = WrappedKeys::from(one.clone());
            assert_same(&switch.inner().unwrap_data_key(&one, &context()).unwrap(), &data_key);
        }
    }
    // To the next version of the same key.
    let next = failover.rotate_key(&key(), None).unwrap();
    assert_eq!((next.version.get(), next.kek_id), (2, keks(&switches)[0]));
    let moved = failover.rewrap_data_key(&wrapped, &context(), &key(), keyward::Origin::Unverified).unwrap();
    assert_eq!(ids(&moved), keks(&switches));
    // Without the first.
    switches[0].off();
    let moved = failover.rewrap_data_key(&wrapped, &context(), &key(), keyward::Origin::Unverified).unwrap();
    // Its entry stays as it was: no token that opens the data key is lost.
    assert_eq!(ids(&moved)[1..], keks(&switches)[1..]);
    assert_eq!(moved.iter().next(), wrapped.iter().next());
    assert_kind(
        failover.rewrap_data_key(&wrapped_by(&wrapped, 0), &context(), &key(), keyward::Origin::Unverified),
        ErrorKind::TokenUnavailable,
    );
}

#[test]
fn a_rewrapping_that_nobody_can_do_says_why() {
    let (_switches, failover) = siblings(2);
    let (_, wrapped) = generate(&failover).unwrap();
    let (_, of_others) = generate(&siblings(2).1).unwrap();
    assert_kind(
        failover.rewrap_data_key(&of_others, &context(), &key(), keyward::Origin::Unverified),
        ErrorKind::KeyNotFound,
    );
    let other_context = EncryptionContext::new();
    assert_kind(
        failover.rewrap_data_key(&wrapped, &other_context, &key(), keyward::Origin::Unverified),
        ErrorKind::NotAuthentic,
    );
    assert_kind(
        failover.rewrap_data_key(&wrapped, &context(), &name("other"), keyward::Origin::Unverified),
        ErrorKind::KeyNotFound,
    );
}

#[test]
fn a_disabled_key_of_one_sibling_does_not_stop_recovery() {
    let (switches, failover) = siblings(2);
    let (data_key, wrapped) = generate(&failover).unwrap();
    let disabled = switches[0].inner().disable_key(&key(), KeyVersion::FIRST).unwrap();
    assert_eq!(disabled.state, KeyState::Disabled);
    assert_same(&failover.unwrap_data_key(&wrapped, &context()).unwrap(), &data_key);
}
