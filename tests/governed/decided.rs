//! What policies decide, and what is asked of the provider before they have.

use super::*;
use keyward::key::VersionReuse;

fn generate(provider: &impl KeyProvider) -> Result<(keyward::DataKey, WrappedKeys)> {
    provider.generate_data_key(&key(), &context(), DataKeyLength::Bytes32)
}

#[test]
fn each_operation_needs_its_own_permission_and_no_other() {
    for allowed in Operation::ALL {
        let text = format!("permit(principal, action == Keyward::Action::\"{allowed}\", resource);");
        for operation in Operation::ALL {
            for way in ways(operation) {
                let spy = spy();
                let (_, wrapped) = generate(&spy).unwrap();
                spy.asked();
                let answer = way(&governed(&spy).policies(policies(&text)), &wrapped);
                let asked = spy.asked();
                if operation == allowed {
                    let denied = answer.is_err_and(|error| error.kind() == ErrorKind::PolicyDenied);
                    assert!(!denied && !asked.is_empty(), "{operation} is allowed");
                    continue;
                }
                let error = assert_kind(answer, ErrorKind::PolicyDenied);
                assert!(error.to_string().contains(operation.name()), "{error}");
                // What names a key only by its id is looked up; nothing is asked of the key.
                assert!(asked.iter().all(|what| *what == "describe"), "{operation}: {asked:?}");
            }
        }
    }
}

#[test]
fn a_refusal_by_name_asks_the_token_nothing() {
    let spy = spy();
    let nobody = governed(&spy).policies(policies("permit(principal == Keyward::User::\"bob\", action, resource);"));
    let error = assert_kind(generate(&nobody), ErrorKind::PolicyDenied);
    assert_eq!(error.to_string(), "no policy allows 'alice' to GenerateDataKey with key 'payments'");
    assert!(error.hint().unwrap().contains("permit(principal == Keyward::User::\"alice\""));
    assert!(spy.asked().is_empty());
    // Also with a log, which must name the key.
    let log = Log::new();
    let nobody = nobody.log(log.open());
    assert_kind(generate(&nobody), ErrorKind::PolicyDenied);
    assert!(spy.asked().is_empty());
}

#[test]
fn what_depends_on_the_key_is_decided_before_it_is_used() {
    let spy = spy();
    let text = "permit(principal, action, resource is Keyward::Key) when { resource.algorithm == \"aes-kw\" };";
    let error = assert_kind(generate(&governed(&spy).policies(policies(text))), ErrorKind::PolicyDenied);
    assert_eq!(error.to_string(), "no policy allows 'alice' to GenerateDataKey with key 'payments:1'");
    assert_eq!(spy.asked(), ["describe"]);
    let text = "permit(principal, action, resource is Keyward::Key) when { resource.algorithm == \"aes-gcm\" };";
    generate(&governed(&spy).policies(policies(text))).unwrap();
    assert_eq!(spy.asked(), ["describe", "generate"]);
}

#[test]
fn without_policies_and_log_nothing_is_asked_besides() {
    let spy = spy();
    let (_, wrapped) = generate(&governed(&spy)).unwrap();
    governed(&spy).unwrap_data_key(&wrapped, &context()).unwrap();
    assert_eq!(spy.asked(), ["generate", "unwrap"]);
}

#[test]
fn the_encryption_context_is_decided_about() {
    let spy = spy();
    let text = "permit(principal, action, resource) when {
        context.encryption_context.hasTag(\"tenant\") && context.encryption_context.getTag(\"tenant\") == \"acme\" };";
    let acme = governed(&spy).policies(policies(text));
    let (_, wrapped) = generate(&acme).unwrap();
    acme.unwrap_data_key(&wrapped, &context()).unwrap();
    for other in [EncryptionContext::new(), EncryptionContext::from_pairs([("tenant", "evil")]).unwrap()] {
        assert_kind(acme.unwrap_data_key(&wrapped, &other), ErrorKind::PolicyDenied);
        assert_kind(acme.generate_data_key(&key(), &other, DataKeyLength::Bytes32), ErrorKind::PolicyDenied);
        assert_kind(
            acme.rewrap_data_key(&wrapped, &other, &key(), keyward::Origin::Unverified),
            ErrorKind::PolicyDenied,
        );
    }
}

#[test]
fn recovering_goes_on_with_those_entries_that_are_allowed() {
    let spy = spy();
    let other: KeyName = "other".parse().unwrap();
    spy.keys.create_key(&other, AlgorithmChoice::Auto).unwrap();
    let (data_key, first) = generate(&spy).unwrap();
    let second = spy.wrap_data_key(&other, &context(), &data_key).unwrap();
    let both = WrappedKeys::new(first.iter().chain(&second).cloned().collect()).unwrap();
    let only = |name: &str| {
        governed(&spy).policies(policies(&format!("permit(principal, action, resource == Keyward::Key::\"{name}\");")))
    };
    for name in ["payments", "other"] {
        let opened = only(name).unwrap_data_key(&both, &context()).unwrap();
        assert_eq!(opened.expose_secret(), data_key.expose_secret());
    }
    // The other entry is not tried, whatever the provider could do with it.
    assert_kind(only("other").unwrap_data_key(&first, &context()), ErrorKind::PolicyDenied);
    spy.asked();
    assert_kind(only("neither").unwrap_data_key(&both, &context()), ErrorKind::PolicyDenied);
    assert_eq!(spy.asked(), ["describe", "describe"]);
    // A forged entry in front of a good one denies nothing.
    let forged = keyward::WrappedKey::new(
        keyward::WrapOccasion::Generation,
        first.iter().next().unwrap().algorithm(),
        keyward::KekId::from_bytes([9; 16]),
        vec![0; 12],
        vec![0; 48],
    );
    let entries = [forged.unwrap()].into_iter().chain(first.iter().cloned()).collect();
    only("payments").unwrap_data_key(&WrappedKeys::new(entries).unwrap(), &context()).unwrap();
}

#[test]
fn rewrapping_needs_the_key_that_opens_and_the_key_that_wraps() {
    let spy = spy();
    let other: KeyName = "other".parse().unwrap();
    spy.keys.create_key(&other, AlgorithmChoice::Auto).unwrap();
    let (_, wrapped) = generate(&spy).unwrap();
    let with = |names: &[&str]| {
        let permit = |name: &&str| {
            format!("permit(principal, action == Keyward::Action::\"Rewrap\", resource == Keyward::Key::\"{name}\");")
        };
        governed(&spy).policies(policies(&names.iter().map(permit).collect::<String>()))
    };
    for too_few in [&["payments"][..], &["other"]] {
        assert_kind(
            with(too_few).rewrap_data_key(&wrapped, &context(), &other, keyward::Origin::Unverified),
            ErrorKind::PolicyDenied,
        );
        assert!(!spy.asked().contains(&"rewrap"));
    }
    with(&["payments", "other"]).rewrap_data_key(&wrapped, &context(), &other, keyward::Origin::Unverified).unwrap();
}

#[test]
fn a_version_that_came_meanwhile_is_decided_about_before_it_is_handed_out() {
    let text = "permit(principal, action, resource is Keyward::Key) when { resource.version == 1 };";
    let spy = spy();
    let first = governed(&spy).policies(policies(text));
    generate(&first).unwrap();
    // Another host rotates the key between the decision and the wrapping.
    spy.before_generating(|keys| drop(keys.rotate_key(&key(), None).unwrap()));
    let error = assert_kind(generate(&first), ErrorKind::PolicyDenied);
    assert!(error.to_string().contains("'payments:2'"), "{error}");
    assert!(spy.asked().contains(&"generate"));
}

#[test]
fn one_version_of_a_key_is_decided_about_by_itself() {
    let spy = spy();
    spy.keys.rotate_key(&key(), None).unwrap();
    let text = "permit(principal, action, resource is Keyward::Key) when { resource.state == \"retired\" };";
    let tidy = governed(&spy).policies(policies(text));
    tidy.disable_key(&key(), KeyVersion::FIRST).unwrap();
    let second = KeyVersion::FIRST.next().unwrap();
    assert_kind(tidy.disable_key(&key(), second), ErrorKind::PolicyDenied);
    assert_kind(tidy.destroy_key(&key(), second.next().unwrap(), VersionReuse::Refuse), ErrorKind::KeyNotFound);
}

#[test]
fn another_principal_has_its_own_permissions() {
    let spy = spy();
    let text = "permit(principal in Keyward::Group::\"shop\", action, resource);";
    let outside = governed(&spy).policies(policies(text));
    assert_kind(generate(&outside), ErrorKind::PolicyDenied);
    let inside = outside.as_principal(Principal::new("bob").unwrap().in_groups(["shop"]).unwrap());
    generate(&inside).unwrap();
    assert_eq!((outside.principal().name(), inside.principal().name()), ("alice", "bob"));
}

#[test]
fn labels_that_are_no_names_are_adopted_by_nobody() {
    let spy = spy();
    let all = governed(&spy).policies(policies("permit(principal, action, resource);"));
    for label in ["no name", "payments:x", "", "payments:0"] {
        assert_kind(all.adopt_key(label), ErrorKind::InvalidArgument);
    }
    assert!(spy.asked().is_empty());
}
