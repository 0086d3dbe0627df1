//! What the name of a key decides, what needs the key; and that the two never differ.

use crate::asking::{ask, description};
use Operation::*;
use cedar_policy::{Authorizer, Context, Entities, EntityUid, PolicySet, Schema};
use keyward::key::{KeyDescription, KeyState, Operation, Principal, Provenance};
use keyward::policy::{Decision, Policies, Request, Resource, SCHEMA};
use keyward::{EncryptionContext, Error, ErrorKind, WrappingAlgorithm};
use proptest::prelude::*;
use std::cell::Cell;

#[test]
fn the_name_alone_decides_where_it_can() {
    let policies = Policies::parse(
        "test.cedar",
        r#"
        permit(principal == Keyward::User::"alice", action, resource);
        permit(principal == Keyward::User::"bob", action == Keyward::Action::"Unwrap", resource) when { resource.state == "active" };
        forbid(principal, action, resource) when { context.encryption_context.hasTag("banned") };
        forbid(principal, action == Keyward::Action::"Wrap", resource in Keyward::Folder::"old") when { resource.version == 1 };
        permit(principal == Keyward::User::"carol", action == Keyward::Action::"Unwrap", resource) when { resource.managed || resource.name == "k" };
        "#,
    )
    .unwrap();
    let by_name = |question: crate::asking::Ask| question.by_name(&policies);
    assert!(by_name(ask("alice", Unwrap, "k")).is_allowed());
    assert_eq!(by_name(ask("bob", Unwrap, "k")), Decision::NeedsKey);
    // Forbidden is forbidden, whatever the state.
    assert!(matches!(by_name(ask("bob", Unwrap, "k").context(&[("banned", "")])), Decision::Denied(_)));
    // Neither that action nor that folder has policies that need more.
    assert!(matches!(by_name(ask("bob", Wrap, "k")), Decision::Denied(_)));
    assert!(by_name(ask("alice", Wrap, "k")).is_allowed());
    assert_eq!(by_name(ask("alice", Wrap, "old/k")), Decision::NeedsKey);
    assert!(by_name(ask("carol", Unwrap, "k")).is_allowed());
    assert!(by_name(ask("carol", Unwrap, "keyward/default")).is_allowed());
    assert!(by_name(ask("alice", ListKeys, "")).is_allowed());
}

#[test]
fn the_key_is_asked_for_only_where_it_is_needed() {
    let policies = Policies::parse(
        "test.cedar",
        r#"permit(principal, action == Keyward::Action::"Unwrap", resource) when { resource.state == "active" };
           permit(principal, action == Keyward::Action::"Wrap", resource);"#,
    )
    .unwrap();
    let alice = Principal::new("alice").unwrap();
    let key = description("k:3");
    let decide = |operation, found: Result<KeyDescription, Error>| {
        let asked = Cell::new(false);
        let request = Request::new(&alice, operation, Resource::Named(&key.name));
        let decision = policies.decide_with(&request, || {
            asked.set(true);
            found
        });
        (decision, asked.get())
    };
    let (decision, asked) = decide(Wrap, Ok(key.clone()));
    assert!(decision.unwrap().is_allowed() && !asked);
    let (decision, asked) = decide(DestroyKey, Ok(key.clone()));
    assert!(!decision.unwrap().is_allowed() && !asked);
    let (decision, asked) = decide(Unwrap, Ok(key.clone()));
    assert!(decision.unwrap().is_allowed() && asked);
    let mut disabled = key.clone();
    disabled.state = KeyState::Disabled;
    let (decision, _) = decide(Unwrap, Ok(disabled));
    let Decision::Denied(denial) = decision.unwrap() else { panic!("allowed") };
    assert_eq!(denial.to_string(), "no policy allows 'alice' to Unwrap with key 'k:3'");
    let (decision, _) = decide(Unwrap, Err(Error::new(ErrorKind::KeyNotFound, "none")));
    assert_eq!(decision.unwrap_err().kind(), ErrorKind::KeyNotFound);
}

const NAMES: [&str; 5] = ["k", "a/k", "a/b/k", "keyward/k", "k2"];
const STATES: [KeyState; 4] = [KeyState::Pending, KeyState::Active, KeyState::Retired, KeyState::Disabled];
const ALGORITHMS: [WrappingAlgorithm; 2] = [WrappingAlgorithm::AesGcm, WrappingAlgorithm::RsaOaep];
const PROVENANCES: [Provenance; 5] = Provenance::ALL;

/// Conditions, some of which cannot be evaluated.
fn condition() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "true",
        "resource.state == \"active\"",
        "resource.state != \"disabled\"",
        "resource.version > 1",
        "resource.version + 9223372036854775806 > 0",
        "resource.algorithm like \"aes-*\"",
        "resource.provenance == \"foreign\"",
        "resource.managed",
        "resource.name == \"a/k\"",
        "[resource.state, resource.name].contains(\"active\")",
        "{s: resource.state}.s == \"active\"",
        "{s: resource.state} == {s: \"active\"}",
        "resource == Keyward::Key::\"k\"",
        "resource in Keyward::Folder::\"a\"",
        "principal in Keyward::Group::\"g\"",
        "context.encryption_context.hasTag(\"t\")",
        "(context.encryption_context.hasTag(\"t\") && context.encryption_context.getTag(\"t\") == resource.name)",
        "(context.encryption_context.hasTag(\"t\") && context.encryption_context.getTag(\"t\") == \"k\")",
        "context.time < datetime(\"2026-01-01\")",
    ])
    .prop_map(|leaf| format!("({leaf})"));
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} && {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} || {b})")),
            (inner.clone(), inner.clone(), inner.clone()).prop_map(|(a, b, c)| format!("(if {a} then {b} else {c})")),
            inner.prop_map(|a| format!("(!{a})")),
        ]
    })
}

fn policy() -> impl Strategy<Value = String> {
    let pick = |from: &'static [&'static str]| prop::sample::select(from);
    (
        pick(&["permit", "permit", "forbid"]),
        pick(&[
            "principal",
            "principal == Keyward::User::\"u\"",
            "principal in Keyward::Group::\"g\"",
            "principal in Keyward::User::\"u\"",
            "principal is Keyward::User in Keyward::Group::\"h\"",
            "principal is Keyward::User",
        ]),
        pick(&[
            "action == Keyward::Action::\"Unwrap\"",
            "action in [Keyward::Action::\"Unwrap\", Keyward::Action::\"Wrap\"]",
            "action in Keyward::Action::\"Unwrap\"",
            "action == Keyward::Action::\"Wrap\"",
        ]),
        pick(&[
            "resource",
            "resource == Keyward::Key::\"k\"",
            "resource in Keyward::Folder::\"a\"",
            "resource in Keyward::Key::\"a/k\"",
            "resource is Keyward::Key in Keyward::Folder::\"a/b\"",
            "resource in Keyward::Folder::\"/\"",
            "resource is Keyward::Key",
        ]),
        condition(),
        pick(&["when", "when", "unless"]),
    )
        .prop_map(|(effect, principal, action, resource, condition, when)| {
            format!("{effect}({principal}, {action}, {resource}) {when} {{ {condition} }};\n")
        })
}

/// What Cedar says of all policies at once, of entities written down as JSON and checked against the
/// schema: whether any policy fails, and whether it is allowed.
fn cedar(
    text: &str,
    principal: &Principal,
    operation: Operation,
    key: &KeyDescription,
    tag: Option<&str>,
) -> (bool, bool) {
    let (schema, _) = Schema::from_cedarschema_str(SCHEMA).unwrap();
    let uid = |of: &str, id: &str| serde_json::json!({"type": format!("Keyward::{of}"), "id": id});
    let name = key.name.as_str();
    let folders: Vec<_> = ["/", "a", "a/b", "keyward"]
        .into_iter()
        .filter(|folder| *folder == "/" || name.starts_with(&format!("{folder}/")))
        .map(|folder| uid("Folder", folder))
        .collect();
    let groups: Vec<_> = principal.groups().map(|group| uid("Group", group)).collect();
    let entities = serde_json::json!([
        {"uid": uid("User", principal.name()), "attrs": {}, "parents": groups},
        {"uid": uid("Key", name), "parents": folders, "attrs": {
            "name": name, "managed": name.starts_with("keyward/"), "version": key.version.get(),
            "state": key.state.name(), "algorithm": key.algorithm.name(), "provenance": key.provenance.name(),
        }},
        {"uid": uid("EncryptionContext", "e"), "attrs": {}, "parents": [],
         "tags": tag.map_or(serde_json::json!({}), |tag| serde_json::json!({"t": tag}))},
    ]);
    let action: EntityUid = format!("Keyward::Action::\"{operation}\"").parse().unwrap();
    let context = serde_json::json!({
        "encryption_context": {"__entity": uid("EncryptionContext", "e")},
        "time": {"__extn": {"fn": "datetime", "arg": "2026-06-15T12:00:00Z"}},
    });
    let request = cedar_policy::Request::new(
        EntityUid::from_json(uid("User", principal.name())).unwrap(),
        action.clone(),
        EntityUid::from_json(uid("Key", name)).unwrap(),
        Context::from_json_value(context, Some((&schema, &action))).unwrap(),
        Some(&schema),
    )
    .unwrap();
    let entities = Entities::from_json_value(entities, Some(&schema)).unwrap();
    let response = Authorizer::new().is_authorized(&request, &text.parse::<PolicySet>().unwrap(), &entities);
    let fails = response.diagnostics().errors().next().is_some();
    (fails, response.decision() == cedar_policy::Decision::Allow)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// A decision by the name alone is the one that every key of that name gets, and that one is what
    /// Cedar says of all policies at once, but for policies that fail.
    #[test]
    fn a_decision_by_name_is_that_of_every_key(
        texts in prop::collection::vec(policy(), 1..6),
        user in prop::sample::select(&["u", "v"][..]),
        groups in prop::sample::subsequence(&["g", "h", "i"][..], 0..=3),
        name in prop::sample::select(&NAMES[..]),
        operation in prop::sample::select(&[Unwrap, Wrap][..]),
        tag in prop::option::of(prop::sample::select(&["k", "a/k", "x"][..])),
    ) {
        let text = texts.concat();
        let policies = Policies::parse("p", &text).unwrap();
        let principal = Principal::new(user).unwrap().in_groups(groups).unwrap();
        let context = EncryptionContext::from_pairs(tag.map(|tag| ("t", tag))).unwrap();
        let ask = |resource: Resource<'_>| {
            let request = Request::new(&principal, operation, resource).context(&context);
            policies.decide(&request.at(crate::asking::at("2026-06-15T12:00:00Z")))
        };
        let mut key = description(name);
        let by_name = ask(Resource::Named(&key.name.clone()));
        let mut seen = Vec::new();
        for version in ["1", "2"] {
            for state in STATES {
                for algorithm in ALGORITHMS {
                    for provenance in PROVENANCES {
                        key.version = version.parse().unwrap();
                        (key.state, key.algorithm, key.provenance) = (state, algorithm, provenance);
                        let decision = ask(Resource::Key(&key));
                        prop_assert_ne!(&decision, &Decision::NeedsKey);
                        if by_name != Decision::NeedsKey {
                            prop_assert_eq!(decision.is_allowed(), by_name.is_allowed(), "{}\n{:?}\n{:?}", text, key, decision);
                        }
                        seen.push(decision);
                    }
                }
            }
        }
        // Of the last of them.
        let (fails, allows) = cedar(&text, &principal, operation, &key, tag);
        let decision = seen.pop().unwrap();
        prop_assert_eq!(decision.is_allowed(), allows && !fails, "{}\n{:?}\n{:?}", text, key, decision);
    }
}
