//! Tokens with the same keys.

use super::*;
use keyward::key::VersionReuse;
use keyward::{DataKeyLength, KekId, KeyProvider, KeyRef, KeyVersion, WrappedKey, WrappedKeys};

fn calls(switches: &[Memory]) -> Vec<usize> {
    switches.iter().map(|switch| switch.calls()).collect()
}

#[test]
fn there_is_at_least_one_member() {
    assert_kind(Failover::<Memory>::replicas([]), ErrorKind::InvalidArgument);
    assert_kind(Failover::<Memory>::siblings([]), ErrorKind::InvalidArgument);
}

#[test]
fn the_first_does_everything_while_it_is_up() {
    let (switches, failover) = replicas(3);
    let (data_key, wrapped) = failover.generate_data_key(&key(), &context(), DataKeyLength::Bytes32).unwrap();
    assert_eq!(wrapped.iter().count(), 1);
    assert_same(&failover.unwrap_data_key(&wrapped, &context()).unwrap(), &data_key);
    failover.wrap_data_key(&key(), &context(), &data_key).unwrap();
    failover.rewrap_data_key(&wrapped, &context(), &key(), keyward::Origin::Unverified).unwrap();
    failover.describe_key(KeyRef::Name(&key())).unwrap();
    assert_eq!(calls(&switches), [5, 0, 0]);
}

#[test]
fn every_call_goes_to_the_next_where_one_is_unavailable() {
    let kinds = [
        ErrorKind::TokenUnavailable,
        ErrorKind::Timeout,
        ErrorKind::ModuleUnavailable,
        ErrorKind::TokenNotFound,
        ErrorKind::PinRequired,
        ErrorKind::PinIncorrect,
        ErrorKind::PinLocked,
    ];
    for kind in kinds {
        assert!(kind.is_unavailable());
        type Call = fn(&Failover<Memory>, &DataKey, &WrappedKeys) -> keyward::Result<()>;
        let all: [Call; 5] = [
            |failover, _, _| failover.describe_key(KeyRef::Name(&key())).map(drop),
            |failover, _, _| failover.generate_data_key(&key(), &context(), DataKeyLength::Bytes16).map(drop),
            |failover, data_key, _| failover.wrap_data_key(&key(), &context(), data_key).map(drop),
            |failover, _, wrapped| failover.unwrap_data_key(wrapped, &context()).map(drop),
            |failover, _, wrapped| {
                failover.rewrap_data_key(wrapped, &context(), &key(), keyward::Origin::Unverified).map(drop)
            },
        ];
        for call in all {
            let (switches, failover) = replicas(3);
            let (data_key, wrapped) =
                switches[2].inner().generate_data_key(&key(), &context(), DataKeyLength::Bytes32).unwrap();
            switches[0].say(kind);
            switches[1].off();
            call(&failover, &data_key, &wrapped).unwrap();
            assert_eq!(calls(&switches), [1, 1, 1], "{kind:?}");
        }
    }
}

#[test]
fn every_other_error_is_an_answer() {
    for kind in [
        ErrorKind::NotAuthentic,
        ErrorKind::KeyState,
        ErrorKind::KeyAttributes,
        ErrorKind::DuplicateKey,
        ErrorKind::LimitExceeded,
        ErrorKind::Unsupported,
        ErrorKind::InvalidArgument,
        ErrorKind::Internal,
    ] {
        assert!(!kind.is_unavailable());
        let (switches, failover) = replicas(2);
        let (data_key, wrapped) = failover.generate_data_key(&key(), &context(), DataKeyLength::Bytes32).unwrap();
        switches[0].say(kind);
        assert_kind(failover.unwrap_data_key(&wrapped, &context()), kind);
        assert_kind(failover.rewrap_data_key(&wrapped, &context(), &key(), keyward::Origin::Unverified), kind);
        assert_kind(failover.wrap_data_key(&key(), &context(), &data_key), kind);
        assert_kind(failover.generate_data_key(&key(), &context(), DataKeyLength::Bytes32), kind);
        assert_kind(failover.describe_key(KeyRef::Name(&key())), kind);
        assert_eq!(switches[1].calls(), 0, "{kind:?}");
        assert!(failover.health().iter().all(|member| member.available));
    }
}

#[test]
fn altered_bytes_are_refused_once() {
    let (switches, failover) = replicas(2);
    let (_, wrapped) = failover.generate_data_key(&key(), &context(), DataKeyLength::Bytes32).unwrap();
    let one = wrapped.iter().next().unwrap();
    let altered: Vec<u8> = one.ciphertext().iter().map(|byte| byte ^ 1).collect();
    let altered = WrappedKey::new(one.occasion(), one.algorithm(), one.kek_id(), one.parameters(), altered).unwrap();
    assert_kind(failover.unwrap_data_key(&altered.into(), &context()), ErrorKind::NotAuthentic);
    assert_eq!(switches[1].calls(), 0);
}

/// A replica of two keys, before a replica that has not got the second yet.
fn behind_and_ahead() -> (Vec<Memory>, Failover<Memory>, WrappedKeys) {
    let (ahead, behind) = (MemoryProvider::new(), MemoryProvider::new());
    ahead.create_key(&key(), AlgorithmChoice::Auto).unwrap();
    let (_, wrapped) = ahead.generate_data_key(&key(), &context(), DataKeyLength::Bytes32).unwrap();
    let switches = vec![Arc::new(Switch::new(Arc::new(behind))), Arc::new(Switch::new(Arc::new(ahead)))];
    let failover = Failover::replicas(members(&switches)).unwrap();
    (switches, failover, wrapped)
}

#[test]
fn a_replica_without_the_key_yet_is_not_the_last_word() {
    let (switches, failover, wrapped) = behind_and_ahead();
    let id = wrapped.iter().next().unwrap().kek_id();
    failover.unwrap_data_key(&wrapped, &context()).unwrap();
    failover.rewrap_data_key(&wrapped, &context(), &key(), keyward::Origin::Unverified).unwrap();
    failover.describe_key(KeyRef::Kek(id)).unwrap();
    assert_eq!(calls(&switches), [3, 3]);
    // By name nobody else is asked: a replica says what may be protected with.
    assert_kind(failover.describe_key(KeyRef::Name(&key())), ErrorKind::KeyNotFound);
    assert_eq!(calls(&switches), [4, 3]);

    // Nobody has it.
    switches[1].inner().destroy_key(&key(), KeyVersion::FIRST, VersionReuse::Refuse).unwrap();
    assert_kind(failover.unwrap_data_key(&wrapped, &context()), ErrorKind::KeyNotFound);
    assert!(failover.health().iter().all(|member| member.available));
}

#[test]
fn not_found_is_not_said_while_a_replica_that_may_have_it_is_down() {
    let (switches, failover, wrapped) = behind_and_ahead();
    switches[1].off();
    // The first time it is called, and then passed over: the answer is the same.
    for _ in 0..2 {
        let error = assert_kind(failover.unwrap_data_key(&wrapped, &context()), ErrorKind::TokenUnavailable);
        assert!(error.to_string().starts_with("second: "), "{error}");
        assert_kind(failover.describe_key(KeyRef::Kek(KekId::from_bytes([7; 16]))), ErrorKind::TokenUnavailable);
    }
    assert_eq!(switches[1].calls(), 1);
}
