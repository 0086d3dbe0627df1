//! Around a provider that keeps data keys: what is answered from memory is decided and recorded, too.

use super::*;
use keyward::audit::{Filter, history};
use keyward::provider::{CacheLimits, Cached};

fn cached(spy: &Spy) -> Cached<&Spy> {
    Cached::new(spy, CacheLimits::new(Duration::from_secs(3600), 100, 100).unwrap())
}

fn message(provider: &impl KeyProvider) -> Result<WrappedKeys> {
    provider.data_key_for_message(&key(), &context(), DataKeyLength::Bytes32, 1).map(|(_, wrapped)| wrapped)
}

#[test]
fn what_is_answered_from_memory_is_recorded() {
    let (spy, log) = (spy(), Log::new());
    let opened = log.open();
    let governed = Governed::new(cached(&spy), alice()).log(opened.clone());
    let wrapped = message(&governed).unwrap();
    assert_eq!(message(&governed).unwrap(), wrapped);
    for _ in 0..2 {
        governed.unwrap_data_key(&wrapped, &context()).unwrap();
    }
    let asked = spy.asked();
    let count = |what: &str| asked.iter().filter(|asked| **asked == what).count();
    assert_eq!((count("generate"), count("message"), count("unwrap")), (1, 0, 1), "{asked:?}");
    // An upper bound: what came from memory was no wrap, and is counted as one.
    assert_eq!(opened.wraps(wrapped.iter().next().unwrap().kek_id()), 2);
    opened.close().unwrap();
    let told = history(&log.path, &Filter::default()).unwrap().operations;
    let told: Vec<_> =
        told.iter().map(|record| (&*record.operation, record.result.name(), &*record.principal)).collect();
    let [generate, unwrap] = [Operation::GenerateDataKey, Operation::Unwrap].map(|operation| operation.name());
    let expected = [generate, generate, unwrap, unwrap].map(|operation| (operation, "ok", "alice"));
    assert_eq!(told, expected);
}

#[test]
fn what_is_kept_for_one_is_not_given_to_another_who_may_not_have_it() {
    let spy = spy();
    let alone = "permit(principal == Keyward::User::\"alice\", action, resource);";
    let governed = Governed::new(cached(&spy), alice()).policies(policies(alone));
    // The first time that a key is heard of forgets everything.
    governed.unwrap_data_key(&message(&governed).unwrap(), &context()).unwrap();
    let wrapped = message(&governed).unwrap();
    governed.unwrap_data_key(&wrapped, &context()).unwrap();
    spy.asked();
    let mallory = governed.as_principal(Principal::new("mallory").unwrap());
    assert_kind(message(&mallory), ErrorKind::PolicyDenied);
    assert_kind(mallory.unwrap_data_key(&wrapped, &context()), ErrorKind::PolicyDenied);
    governed.unwrap_data_key(&wrapped, &context()).unwrap();
    assert_eq!(message(&governed).unwrap(), wrapped);
    assert!(!spy.asked().iter().any(|what| matches!(*what, "generate" | "unwrap")));
}

#[test]
fn a_key_that_is_disabled_elsewhere_serves_no_longer_than_it_would_without_memory() {
    let (spy, log) = (spy(), Log::new());
    let governed = Governed::new(cached(&spy), alice()).log(log.open());
    let wrapped = message(&governed).unwrap();
    governed.unwrap_data_key(&wrapped, &context()).unwrap();
    spy.keys.disable_key(&key(), KeyVersion::FIRST).unwrap();
    assert_kind(message(&governed), ErrorKind::KeyState);
    assert_kind(governed.unwrap_data_key(&wrapped, &context()), ErrorKind::KeyState);
    spy.keys.enable_key(&key(), KeyVersion::FIRST).unwrap();
    let old = message(&governed).unwrap();
    spy.keys.rotate_key(&key(), None).unwrap();
    assert_ne!(message(&governed).unwrap().iter().next().unwrap().kek_id(), old.iter().next().unwrap().kek_id());
}

#[test]
fn changes_through_both_forget_what_was_kept() {
    let spy = spy();
    let governed = Governed::new(cached(&spy), alice());
    let wrapped = message(&governed).unwrap();
    governed.unwrap_data_key(&wrapped, &context()).unwrap();
    governed.disable_key(&key(), KeyVersion::FIRST).unwrap();
    assert_kind(message(&governed), ErrorKind::KeyState);
    assert_kind(governed.unwrap_data_key(&wrapped, &context()), ErrorKind::KeyState);
}
