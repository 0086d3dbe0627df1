//! The worked examples of `docs/policies.md` decide what is said there.

use crate::asking::{Ask, ask, deciding};
use Operation::*;
use keyward::key::{KeyState, Operation, Provenance};
use keyward::policy::Policies;
use std::path::Path;

#[track_caller]
fn check(file: &str, cases: Vec<(Ask, bool, &[&str])>) {
    let policies = Policies::read(Path::new("docs/policies").join(file)).unwrap();
    assert!(policies.warnings().is_empty(), "{:?}", policies.warnings());
    for (ask, allowed, by) in cases {
        let decision = ask.of(&policies);
        assert_eq!(
            (decision.is_allowed(), deciding(&decision)),
            (allowed, by.iter().map(ToString::to_string).collect()),
            "{ask:?}"
        );
    }
}

#[test]
fn a_service_with_the_least_privilege() {
    check(
        "service.cedar",
        vec![
            (ask("shop", Unwrap, "shop/orders"), true, &["shop-uses-its-keys"]),
            (ask("shop", RotateKey, "shop/orders"), false, &[]),
            (ask("shop", Unwrap, "hr/salaries"), false, &[]),
            (ask("shop-importer", GenerateDataKey, "shop/orders"), true, &["importer-only-writes"]),
            (ask("shop-importer", Unwrap, "shop/orders"), false, &[]),
        ],
    );
}

#[test]
fn separation_of_duties() {
    let admin = |operation, key| ask("alice", operation, key).groups(&["key-admins"]);
    check(
        "duties.cedar",
        vec![
            (admin(CreateKey, "k"), true, &["key-admins-administer"]),
            (admin(ListKeys, ""), true, &["key-admins-administer"]),
            (admin(Unwrap, "k"), false, &["key-admins-do-not-use-keys"]),
            (admin(DestroyKey, "k"), false, &[]),
            (
                admin(DestroyKey, "k").key(|key| key.state = KeyState::Disabled),
                true,
                &["key-admins-destroy-what-is-disabled"],
            ),
            (
                ask("bob", Wrap, "k").key(|key| key.provenance = Provenance::Foreign),
                false,
                &["new-data-under-keyward-keys"],
            ),
        ],
    );
}

#[test]
fn tenants_that_share_a_key() {
    let acme = |pairs: &[(&str, &str)]| ask("w1", Unwrap, "tenants").groups(&["acme-workers"]).context(pairs);
    check(
        "tenants.cedar",
        vec![
            (acme(&[("tenant", "acme")]), true, &["acme-worker"]),
            (acme(&[("tenant", "globex")]), false, &[]),
            (acme(&[]), false, &["tenants-are-named"]),
        ],
    );
}

#[test]
fn breaking_the_glass() {
    let alice = |time| ask("alice", Unwrap, "payments/cards").at(time);
    check(
        "break-glass.cedar",
        vec![
            (alice("2026-11-02T23:00:00Z"), true, &["break-glass-2026-11-02"]),
            (alice("2026-11-03T06:00:00Z"), false, &[]),
            (alice("2026-11-02T23:00:00Z").context(&[("legal-hold", "4711")]), false, &["legal-hold"]),
            (ask("bob", Unwrap, "payments/cards").at("2026-11-02T23:00:00Z"), false, &[]),
        ],
    );
}

#[test]
fn an_auditor() {
    let auditor = |operation, key| ask("eve", operation, key).groups(&["auditors"]);
    check(
        "auditor.cedar",
        vec![
            (auditor(ListKeys, ""), true, &["auditors-look"]),
            (auditor(DescribeKey, "k"), true, &["auditors-look"]),
            (auditor(Unwrap, "k"), false, &["auditors-only-look"]),
            (auditor(DestroyKey, "k"), false, &["auditors-only-look"]),
        ],
    );
}

#[test]
fn all_of_them_together_in_one_directory() {
    let policies = Policies::read("docs/policies").unwrap();
    assert_eq!(policies.rules().len(), 13);
    assert_eq!(policies.origin(), "docs/policies");
    // Files in the order of their names, policies in the order of their lines.
    let first = &policies.rules()[0];
    assert_eq!((first.id(), first.file(), first.line()), (Some("auditors-look"), "docs/policies/auditor.cedar", 3));
    let both = ask("alice", Unwrap, "tenants").groups(&["auditors", "key-admins", "acme-workers"]);
    assert_eq!(
        deciding(&both.of(&policies)),
        ["auditors-only-look", "key-admins-do-not-use-keys", "tenants-are-named"]
    );
}
