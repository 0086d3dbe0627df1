//! Policies and questions, with what has to be decided by which policies.

use crate::asking::{Ask, ask, deciding};
use Operation::*;
use keyward::WrappingAlgorithm;
use keyward::key::{AlgorithmChoice, KeyState, Operation, Provenance};
use keyward::policy::{Decision, DenialReason, Policies};

/// Allowed by these.
const fn allow(by: &'static [&'static str]) -> Expected {
    (true, by)
}

/// Forbidden by these, or permitted by none.
const fn deny(by: &'static [&'static str]) -> Expected {
    (false, by)
}

type Expected = (bool, &'static [&'static str]);

#[track_caller]
fn check(policies: &str, cases: Vec<(Ask, Expected)>) {
    let policies = Policies::parse("test.cedar", policies).unwrap();
    for (ask, (allowed, by)) in cases {
        let decision = ask.of(&policies);
        assert_eq!(
            (decision.is_allowed(), deciding(&decision)),
            (allowed, by.iter().map(ToString::to_string).collect()),
            "{ask:?}"
        );
        if let Decision::Denied(denial) = &decision {
            let reason = if by.is_empty() { DenialReason::NotPermitted } else { DenialReason::Forbidden };
            assert_eq!(denial.reason(), reason);
        }
        let by_name = ask.by_name(&policies);
        assert!(by_name == Decision::NeedsKey || by_name.is_allowed() == allowed, "{ask:?} by name: {by_name:?}");
    }
}

#[test]
fn without_policies_all_is_denied() {
    let cases = Operation::ALL.map(|operation| {
        let key = if operation == ListKeys { "" } else { "k" };
        (ask("alice", operation, key), deny(&[]))
    });
    check("", cases.into());
}

#[test]
fn one_policy_for_one_principal_action_and_key() {
    check(
        r#"@id("p") permit(principal == Keyward::User::"alice", action == Keyward::Action::"Unwrap", resource == Keyward::Key::"k");"#,
        vec![
            (ask("alice", Unwrap, "k"), allow(&["p"])),
            (ask("alice", Unwrap, "k:7"), allow(&["p"])),
            (ask("bob", Unwrap, "k"), deny(&[])),
            (ask("Alice", Unwrap, "k"), deny(&[])),
            (ask("alice", Wrap, "k"), deny(&[])),
            (ask("alice", Unwrap, "k2"), deny(&[])),
            (ask("alice", ListKeys, ""), deny(&[])),
            // A group of that name is somebody else.
            (ask("bob", Unwrap, "k").groups(&["alice"]), deny(&[])),
        ],
    );
}

#[test]
fn what_is_forbidden_stays_forbidden() {
    check(
        r#"
        @id("all") permit(principal, action, resource);
        @id("alice") permit(principal == Keyward::User::"alice", action, resource);
        @id("no-export") forbid(principal, action == Keyward::Action::"Unwrap", resource in Keyward::Folder::"sealed");
        @id("not-bob") forbid(principal == Keyward::User::"bob", action, resource);
        "#,
        vec![
            (ask("carol", Unwrap, "open"), allow(&["all"])),
            (ask("alice", Unwrap, "open"), allow(&["all", "alice"])),
            (ask("alice", Unwrap, "sealed/k"), deny(&["no-export"])),
            (ask("alice", Wrap, "sealed/k"), allow(&["all", "alice"])),
            (ask("bob", Wrap, "open"), deny(&["not-bob"])),
            (ask("bob", Unwrap, "sealed/k"), deny(&["no-export", "not-bob"])),
            (ask("bob", ListKeys, ""), deny(&["not-bob"])),
        ],
    );
}

#[test]
fn every_action_is_one_that_policies_can_name() {
    for operation in Operation::ALL {
        let policy = format!("@id(\"p\") permit(principal, action == Keyward::Action::\"{operation}\", resource);");
        let cases = Operation::ALL.map(|asked| {
            let key = if asked == ListKeys { "" } else { "k" };
            (ask("alice", asked, key), if asked == operation { allow(&["p"]) } else { deny(&[]) })
        });
        check(&policy, cases.into());
    }
}

#[test]
fn groups() {
    check(
        r#"
        @id("ops") permit(principal in Keyward::Group::"ops", action == Keyward::Action::"RotateKey", resource);
        @id("typed") permit(principal is Keyward::User in Keyward::Group::"typed", action == Keyward::Action::"Wrap", resource);
        @id("both") permit(principal, action == Keyward::Action::"DestroyKey", resource)
            when { principal in Keyward::Group::"ops" && principal in Keyward::Group::"security" };
        @id("any") permit(principal, action == Keyward::Action::"DescribeKey", resource)
            when { principal in [Keyward::Group::"ops", Keyward::Group::"security"] };
        @id("interns") forbid(principal in Keyward::Group::"interns", action, resource);
        "#,
        vec![
            (ask("a", RotateKey, "k").groups(&["ops"]), allow(&["ops"])),
            (ask("a", RotateKey, "k").groups(&["x", "ops", "y"]), allow(&["ops"])),
            (ask("a", RotateKey, "k").groups(&["opsx"]), deny(&[])),
            (ask("ops", RotateKey, "k"), deny(&[])),
            (ask("a", RotateKey, "k").groups(&["ops", "interns"]), deny(&["interns"])),
            (ask("a", Wrap, "k").groups(&["typed"]), allow(&["typed"])),
            (ask("a", DestroyKey, "k").groups(&["ops"]), deny(&[])),
            (ask("a", DestroyKey, "k").groups(&["security", "ops"]), allow(&["both"])),
            (ask("a", DescribeKey, "k").groups(&["security"]), allow(&["any"])),
            (ask("a", DescribeKey, "k").groups(&["others"]), deny(&[])),
        ],
    );
}

#[test]
fn names_are_data() {
    let odd = r#"x" || true || "\u{1f511}"#;
    let policy = format!(
        "@id(\"p\") permit(principal == Keyward::User::\"{0}\", action, resource) when {{ \
         context.encryption_context.hasTag(\"{0}\") && context.encryption_context.getTag(\"{0}\") like \"*\\**\" }};",
        odd.escape_debug()
    );
    let policy = policy.replace("action,", "action == Keyward::Action::\"Unwrap\",");
    check(
        &policy,
        vec![
            (ask(odd, Unwrap, "k").context(&[(odd, "a*b")]), allow(&["p"])),
            (ask(odd, Unwrap, "k").context(&[(odd, "a")]), deny(&[])),
            (ask("x", Unwrap, "k").context(&[(odd, "a*b")]), deny(&[])),
        ],
    );
}

#[test]
fn encryption_contexts() {
    check(
        r#"
        @id("acme") permit(principal, action == Keyward::Action::"Unwrap", resource)
            when { context.encryption_context.hasTag("tenant") && context.encryption_context.getTag("tenant") == "acme" };
        @id("prefix") permit(principal, action == Keyward::Action::"Wrap", resource)
            when { context.encryption_context.hasTag("path") && context.encryption_context.getTag("path") like "backup/*" };
        @id("named") forbid(principal, action, resource) unless { context.encryption_context.hasTag("tenant") };
        @id("same") permit(principal, action == Keyward::Action::"Rewrap", resource)
            when { context.encryption_context.hasTag("tenant") && context.encryption_context.hasTag("owner")
                   && context.encryption_context.getTag("tenant") == context.encryption_context.getTag("owner") };
        "#,
        vec![
            (ask("a", Unwrap, "k").context(&[("tenant", "acme")]), allow(&["acme"])),
            (ask("a", Unwrap, "k").context(&[("tenant", "acme"), ("more", "x")]), allow(&["acme"])),
            (ask("a", Unwrap, "k").context(&[("tenant", "Acme")]), deny(&[])),
            (ask("a", Unwrap, "k").context(&[("tenant", "")]), deny(&[])),
            (ask("a", Unwrap, "k").context(&[("tenants", "acme")]), deny(&["named"])),
            (ask("a", Unwrap, "k"), deny(&["named"])),
            (ask("a", Wrap, "k").context(&[("tenant", "t"), ("path", "backup/x")]), allow(&["prefix"])),
            (ask("a", Wrap, "k").context(&[("tenant", "t"), ("path", "x/backup/")]), deny(&[])),
            (ask("a", Rewrap, "k").context(&[("tenant", "t"), ("owner", "t")]), allow(&["same"])),
            (ask("a", Rewrap, "k").context(&[("tenant", "t"), ("owner", "u")]), deny(&[])),
        ],
    );
}

#[test]
fn time() {
    check(
        r#"
        @id("night") permit(principal, action == Keyward::Action::"Unwrap", resource)
            when { context.time >= datetime("2026-11-02T20:00:00Z") && context.time < datetime("2026-11-03T06:00:00+0100") };
        @id("office-hours") permit(principal, action == Keyward::Action::"Wrap", resource)
            when { context.time.toTime() >= duration("8h") && context.time.toTime() < duration("18h") };
        @id("old") permit(principal, action == Keyward::Action::"Rewrap", resource)
            when { context.time < datetime("1970-01-01") };
        "#,
        vec![
            (ask("a", Unwrap, "k").at("2026-11-02T19:59:59.999Z"), deny(&[])),
            (ask("a", Unwrap, "k").at("2026-11-02T20:00:00Z"), allow(&["night"])),
            (ask("a", Unwrap, "k").at("2026-11-03T04:59:59.999Z"), allow(&["night"])),
            (ask("a", Unwrap, "k").at("2026-11-03T05:00:00Z"), deny(&[])),
            (ask("a", Wrap, "k").at("2026-11-03T17:59:59Z"), allow(&["office-hours"])),
            (ask("a", Wrap, "k").at("2026-11-03T18:00:00Z"), deny(&[])),
            (ask("a", Rewrap, "k").at("1969-12-31T23:59:59.999999Z"), allow(&["old"])),
            (ask("a", Rewrap, "k").at("1970-01-01T00:00:00Z"), deny(&[])),
        ],
    );
}

#[test]
fn folders() {
    check(
        r#"
        @id("payments") permit(principal, action == Keyward::Action::"Wrap", resource in Keyward::Folder::"payments");
        @id("cards") permit(principal, action == Keyward::Action::"Wrap", resource in Keyward::Folder::"payments/cards");
        @id("root") permit(principal, action == Keyward::Action::"DescribeKey", resource in Keyward::Folder::"/");
        @id("typed") permit(principal, action == Keyward::Action::"Unwrap", resource is Keyward::Key in Keyward::Folder::"a");
        @id("list") permit(principal, action == Keyward::Action::"ListKeys", resource == Keyward::Folder::"/");
        "#,
        vec![
            (ask("a", Wrap, "payments/cards/2026"), allow(&["payments", "cards"])),
            (ask("a", Wrap, "payments/cards"), allow(&["payments"])),
            (ask("a", Wrap, "payments/cards2/x"), allow(&["payments"])),
            (ask("a", Wrap, "payments"), deny(&[])),
            (ask("a", Wrap, "paymentsx/y"), deny(&[])),
            (ask("a", Wrap, "x/payments/y"), deny(&[])),
            (ask("a", DescribeKey, "k"), allow(&["root"])),
            (ask("a", DescribeKey, "a/b/c"), allow(&["root"])),
            (ask("a", Unwrap, "a/b"), allow(&["typed"])),
            (ask("a", ListKeys, ""), allow(&["list"])),
        ],
    );
}

#[test]
fn attributes_of_keys() {
    check(
        r#"
        @id("name") permit(principal, action == Keyward::Action::"GetPublicKey", resource) when { resource.name like "*-mail" };
        @id("managed") permit(principal, action == Keyward::Action::"GenerateDataKey", resource) when { resource.managed };
        @id("version") permit(principal, action == Keyward::Action::"Unwrap", resource) when { resource.version >= 3 };
        @id("state") permit(principal, action == Keyward::Action::"DestroyKey", resource) when { resource.state == "disabled" };
        @id("gcm") permit(principal, action == Keyward::Action::"Wrap", resource) when { resource.algorithm == "aes-gcm" };
        @id("foreign") forbid(principal, action == Keyward::Action::"Wrap", resource) when { resource.provenance == "foreign" };
        "#,
        vec![
            (ask("a", GetPublicKey, "hr-mail"), allow(&["name"])),
            (ask("a", GetPublicKey, "hr"), deny(&[])),
            (ask("a", GenerateDataKey, "keyward/default"), allow(&["managed"])),
            (ask("a", GenerateDataKey, "keyward"), deny(&[])),
            (ask("a", GenerateDataKey, "x/keyward/default"), deny(&[])),
            (ask("a", Unwrap, "k:2"), deny(&[])),
            (ask("a", Unwrap, "k:3"), allow(&["version"])),
            (ask("a", Unwrap, "k:4294967295"), allow(&["version"])),
            (ask("a", DestroyKey, "k"), deny(&[])),
            (ask("a", DestroyKey, "k").key(|key| key.state = KeyState::Disabled), allow(&["state"])),
            (ask("a", DestroyKey, "k").key(|key| key.state = KeyState::Retired), deny(&[])),
            (ask("a", Wrap, "k"), allow(&["gcm"])),
            (ask("a", Wrap, "k").key(|key| key.algorithm = WrappingAlgorithm::AesKw), deny(&[])),
            (ask("a", Wrap, "k").key(|key| key.provenance = Provenance::Adopted), allow(&["gcm"])),
            (ask("a", Wrap, "k").key(|key| key.provenance = Provenance::Foreign), deny(&["foreign"])),
        ],
    );
}

#[test]
fn keys_that_are_to_be_made() {
    let policies = Policies::parse(
        "test.cedar",
        r#"
        @id("new") permit(principal, action == Keyward::Action::"CreateKey", resource in Keyward::Folder::"app")
            when { resource.version == 1 && resource.state == "pending" && resource.provenance == "generated" };
        @id("no-rsa") forbid(principal, action == Keyward::Action::"CreateKey", resource)
            when { resource.algorithm like "rsa-*" };
        @id("auto") forbid(principal, action == Keyward::Action::"CreateKey", resource == Keyward::Key::"app/exact")
            when { resource.algorithm == "auto" };
        "#,
    )
    .unwrap();
    let exactly = AlgorithmChoice::Exactly;
    for (key, algorithm, by) in [
        ("app/k", AlgorithmChoice::Auto, "new"),
        ("app/k", exactly(WrappingAlgorithm::AesKw), "new"),
        ("app/k", exactly(WrappingAlgorithm::RsaOaep), "no-rsa"),
        ("app/exact", AlgorithmChoice::Auto, "auto"),
        ("app/exact", exactly(WrappingAlgorithm::AesGcm), "new"),
    ] {
        let decision = ask("a", CreateKey, key).new_key(&policies, algorithm);
        assert_eq!((deciding(&decision), decision.is_allowed()), (vec![by.to_owned()], by == "new"), "{key}");
    }
    assert!(!ask("a", CreateKey, "k").new_key(&policies, AlgorithmChoice::Auto).is_allowed());
}

#[test]
fn an_action_is_asked_of_what_it_is_for() {
    let policies = Policies::parse("test.cedar", "permit(principal, action, resource);").unwrap();
    for (operation, key) in [(ListKeys, "k"), (Unwrap, ""), (CreateKey, "")] {
        let Decision::Denied(denial) = ask("a", operation, key).of(&policies) else { panic!("{operation}") };
        assert_eq!(denial.reason(), DenialReason::Failed);
    }
    // A time that Cedar has no form for.
    let mut late = ask("a", Unwrap, "k");
    late.time += std::time::Duration::from_secs(400_000_000_000);
    let Decision::Denied(denial) = late.of(&policies) else { panic!("allowed at the end of time") };
    assert_eq!(denial.reason(), DenialReason::Failed);
}
