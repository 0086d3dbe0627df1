//! What a decision takes, with few policies and with many, and what loading them takes.
//! Run: `cargo bench --features governed,testkit --bench policy`.
#![allow(missing_docs, reason = "a benchmark")]

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use keyward::key::{KeyDescription, KeyState, Operation, Principal};
use keyward::policy::{Decision, Policies, Request, Resource};
use keyward::{EncryptionContext, KekId, KeyName, KeyVersion, WrappingAlgorithm};
use std::fmt::Write;
use std::hint::black_box;
use std::time::Duration;

/// Policies of services that each use a key of their own, and a few for everybody: every tenth of each
/// kind. All those of services are bound to a tenant.
fn text(policies: usize) -> String {
    let mut text = String::new();
    for n in 0..policies {
        let written = match n % 10 {
            0 => writeln!(
                text,
                r#"@id("{n}") forbid(principal, action in [Keyward::Action::"Wrap", Keyward::Action::"Unwrap"], resource == Keyward::Key::"other-{n}") when {{ resource.state != "active" }};"#
            ),
            1 => writeln!(
                text,
                r#"@id("{n}") permit(principal in Keyward::Group::"group-{n}", action == Keyward::Action::"Unwrap", resource in Keyward::Folder::"shop") when {{ context.time < datetime("2999-01-01") }};"#
            ),
            _ => writeln!(
                text,
                r#"@id("{n}") permit(principal == Keyward::User::"service-{n}", action in [Keyward::Action::"GenerateDataKey", Keyward::Action::"Unwrap"], resource == Keyward::Key::"shop/key-{n}") when {{ context.encryption_context.hasTag("tenant") && context.encryption_context.getTag("tenant") == "tenant-{n}" }};"#
            ),
        };
        written.unwrap();
    }
    text
}

/// Policies that all say "anybody" and "any key", so that each of them has to be evaluated.
fn sweeping(policies: usize) -> String {
    let policy = |n| {
        format!("forbid(principal, action, resource) when {{ context.encryption_context.hasTag(\"banned-{n}\") }};\n")
    };
    (1..policies).map(policy).collect::<String>() + "permit(principal, action, resource);"
}

fn benches(criterion: &mut Criterion) {
    let principal = Principal::new("service-7").unwrap().in_groups(["group-11", "staff", "berlin"]).unwrap();
    let context =
        EncryptionContext::from_pairs([("tenant", "tenant-7"), ("object", "4711"), ("purpose", "backup")]).unwrap();
    let name: KeyName = "shop/key-7".parse().unwrap();
    let key = KeyDescription::new(
        name.clone(),
        KeyVersion::FIRST,
        KekId::from_bytes([7; 16]),
        WrappingAlgorithm::AesGcm,
        KeyState::Active,
    );
    for (what, text) in
        [("20", text(20)), ("1000", text(1000)), ("20 sweeping", sweeping(20)), ("1000 sweeping", sweeping(1000))]
    {
        let policies = Policies::parse("bench", &text).unwrap();
        let mut group = criterion.benchmark_group(format!("{what} policies"));
        let mut decide = |how: &str, operation, resource, allowed: bool| {
            let request = Request::new(&principal, operation, resource).context(&context);
            assert_eq!(policies.decide(&request).is_allowed(), allowed);
            assert_ne!(policies.decide(&request), Decision::NeedsKey);
            group.bench_function(how, |b| b.iter(|| policies.decide(black_box(&request))));
        };
        decide("allowed by name", Operation::Unwrap, Resource::Named(&name), true);
        decide("allowed by key", Operation::Unwrap, Resource::Key(&key), true);
        decide("another action", Operation::DestroyKey, Resource::Key(&key), what.ends_with("sweeping"));
        group.finish();
    }

    let mut group = criterion.benchmark_group("load");
    for policies in [20, 1000] {
        let text = text(policies);
        group.sample_size(10).bench_function(format!("{policies} policies"), |b| {
            b.iter_batched(|| (), |()| Policies::parse("bench", &text).unwrap(), BatchSize::PerIteration);
        });
    }
}

criterion_group! {
    name = policy;
    config = Criterion::default().sample_size(50).measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_secs(1));
    targets = benches
}
criterion_main!(policy);
