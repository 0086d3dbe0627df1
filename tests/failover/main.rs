//! What a failover must do while its members come and go.
//! Run under `softhsm/with`.
mod admin;
mod log;
mod managed;
mod outages;
mod pins;
mod replicas;
mod siblings;
mod switch;
mod tokens;
mod under_load;

use keyward::provider::{Failover, Member};
use keyward::testkit::MemoryProvider;
use keyward::{AlgorithmChoice, DataKey, EncryptionContext, ErrorKind, KeyAdmin, KeyName};
use std::sync::Arc;
use std::time::{Duration, Instant};
use switch::Switch;

/// A provider in memory behind a switch.
type Memory = Arc<Switch<Arc<MemoryProvider>>>;

const NAMES: [&str; 3] = ["first", "second", "third"];

fn name(text: &str) -> KeyName {
    text.parse().unwrap()
}

fn key() -> KeyName {
    name("records")
}

fn context() -> EncryptionContext {
    EncryptionContext::from_pairs([("table", "customers")]).unwrap()
}

fn members<P>(providers: &[Arc<P>]) -> Vec<Member<Arc<P>>> {
    NAMES.iter().zip(providers).map(|(name, provider)| Member::new(*name, Arc::clone(provider))).collect()
}

/// Replicas of one token with one key, and their switches.
fn replicas(count: usize) -> (Vec<Memory>, Failover<Memory>) {
    let token = Arc::new(MemoryProvider::new());
    token.create_key(&key(), AlgorithmChoice::Auto).unwrap();
    let switches: Vec<_> = (0..count).map(|_| Arc::new(Switch::new(Arc::clone(&token)))).collect();
    let failover = Failover::replicas(members(&switches)).unwrap();
    (switches, failover)
}

/// Siblings with a key of their own each, and their switches.
fn siblings(count: usize) -> (Vec<Memory>, Failover<Memory>) {
    let switches: Vec<_> = (0..count)
        .map(|_| {
            let token = MemoryProvider::new();
            token.create_key(&key(), AlgorithmChoice::Auto).unwrap();
            Arc::new(Switch::new(Arc::new(token)))
        })
        .collect();
    let failover = Failover::siblings(members(&switches)).unwrap();
    (switches, failover)
}

#[track_caller]
fn assert_kind<T: std::fmt::Debug>(answer: keyward::Result<T>, kind: ErrorKind) -> keyward::Error {
    let error = answer.expect_err("an error was expected");
    assert_eq!(error.kind(), kind, "{error}");
    error
}

#[track_caller]
fn assert_same(one: &keyward::UnwrappedKey, other: &DataKey) {
    assert_eq!(one.expose_secret(), other.expose_secret());
}

/// Waits until `is_so`, and fails where that takes too long.
#[track_caller]
fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[track_caller]
fn wait_until_all_are_up<P: keyward::KeyProvider>(failover: &Failover<P>) {
    wait_until("all members up", || failover.health().iter().all(|member| member.available));
}
