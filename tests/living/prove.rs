//! `keyward key prove --bundle`.

use crate::command::run;
use crate::fixture::{Ceremony, forget, key, uri};
use crate::room::PIN;
use keyward::hsm::PlannedKey;
use keyward::key::VersionReuse;
use keyward::testkit::SoftToken;
use keyward::{KeyAdmin, KeyVersion, WrappingAlgorithm};
use serde_json::Value;
use std::fs;

fn prove(held: &Ceremony, token: &SoftToken, args: &[&str]) -> (i32, String, String) {
    fs::write(held.path().with_file_name("keyward.toml"), "accept = [\"trusted-wrap\", \"components\"]\n").unwrap();
    let line = [&["key", "prove"], args, &["--bundle", "bundle", "--config", "keyward.toml"]].concat();
    run(held.command(token, &line).env("KEYWARD_TOKEN", uri(token)).env("KEYWARD_PIN", PIN))
}

fn json(held: &Ceremony, token: &SoftToken, key: &str) -> (i32, Value, String) {
    let (status, told, said) = prove(held, token, &[key, "--json"]);
    (status, serde_json::from_str(&told).unwrap_or_else(|_| panic!("{told}{said}")), said)
}

/// What a line of this name says.
#[track_caller]
fn field<'a>(told: &'a str, name: &str) -> &'a str {
    told.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix("  ")).unwrap_or_else(|| panic!("{told}")).trim()
}

#[test]
fn a_key_tells_of_its_ceremony() {
    let held = Ceremony::of_all_kinds();
    let found = held.verified();
    let run = found.run.unwrap();
    let [primary, second] = [&held.primary, &held.second].map(|token| token.open().info().serial.clone());
    let (status, told, said) = prove(&held, &held.primary, &["payments"]);
    assert_eq!((status, said.as_str()), (0, ""), "{told}");
    assert_eq!(field(&told, "ceremony"), format!("2026-11-payments, run {run}"));
    let made = &held.claim("primary", "payments:1").made;
    let line = format!("generated on primary, serial number {primary}, {made}, confirmed by olga");
    assert_eq!(field(&told, "made"), line);
    assert_eq!((field(&told, "backup"), field(&told, "signed by")), ("sibling on second", "wanda"));
    assert_eq!(field(&told, "same key"), "opens what it wrapped in the ceremony");
    assert_eq!(field(&told, "plan"), found.plan.unwrap().to_string());
    // The time is that of the intent, and of the step that made it.
    let transcript = fs::read_to_string(held.path().join("transcript.jsonl")).unwrap();
    let intent =
        |step: &str| transcript.lines().find(|line| line.contains(&format!("\"intent\",\"step\":\"{step}\""))).unwrap();
    assert!(intent("key/payments/generate").contains(&format!("\"time\":\"{made}\"")));

    // A sibling is made on its own token, a copy comes there.
    let (status, told, said) = prove(&held, &held.second, &["payments"]);
    assert_eq!((status, said.as_str()), (0, ""));
    assert!(field(&told, "made").starts_with(&format!("generated on second, serial number {second}, ")), "{told}");
    assert_eq!(field(&told, "backup"), "this is the backup: sibling");
    let (status, told, said) = prove(&held, &held.second, &["archive"]);
    assert_eq!((status, said.as_str()), (0, ""));
    assert!(field(&told, "made").starts_with(&format!("generated on primary, serial number {primary}, ")), "{told}");
    assert!(field(&told, "copied").starts_with(&format!("trusted-wrap on second, serial number {second}, ")), "{told}");

    let (status, told, _) = json(&held, &held.second, "vault");
    let told = &told["ceremony"];
    assert_eq!((status, &told["bundle_ok"], &told["opens_canary"]), (0, &true.into(), &true.into()));
    assert_eq!((&told["ceremony"], &told["run"]), (&"2026-11-payments".into(), &run.to_string().into()));
    assert_eq!((&told["signed_by"][0], &told["warnings"]), (&"wanda".into(), &Value::Array(vec![])));
    let claim = &told["key"];
    assert_eq!((&claim["token"], &claim["serial"]), (&"second".into(), &second.as_str().into()));
    assert_eq!((&claim["backup"], &claim["is_backup"]), (&"imported-components".into(), &true.into()));
    let copied = held.claim("primary", "vault:1");
    assert_eq!((&claim["copy_of"]["made"], &claim["copy_of"]["confirmed_by"]), (&copied.made.into(), &"olga".into()));
    assert_eq!(claim["copy_of"]["origin"], "imported-components");
    // Without a bundle nothing is told of it.
    let mut alone = held.command(&held.primary, &["key", "prove", "payments", "--json"]);
    let (status, told, _) = run_with_token(&mut alone, &held.primary);
    assert_eq!((status, &serde_json::from_str::<Value>(&told).unwrap()["ceremony"]), (0, &Value::Null));
}

fn run_with_token(command: &mut std::process::Command, token: &SoftToken) -> (i32, String, String) {
    run(command.env("KEYWARD_TOKEN", uri(token)).env("KEYWARD_PIN", PIN))
}

#[test]
fn a_key_that_is_not_the_one_of_the_ceremony_is_warned_of() {
    let held = Ceremony::of_one_key();
    let (hsm, payments) = (held.primary.provider(), key("payments"));
    // One that is rotated or disabled is the one nevertheless.
    hsm.rotate_key(&payments, None).unwrap();
    let (status, told, said) = prove(&held, &held.primary, &["payments:1"]);
    assert_eq!((status, said.as_str()), (0, ""));
    assert_eq!(field(&told, "changed"), "'payments:1' on primary is retired: CKA_ENCRYPT was true and is false");
    hsm.disable_key(&payments, KeyVersion::FIRST).unwrap();
    let (status, told, said) = json(&held, &held.primary, "payments:1");
    assert_eq!((status, said.as_str(), &told["ceremony"]["opens_canary"]), (0, "", &Value::Null));
    // The version after it was made in no ceremony.
    let (status, told, said) = prove(&held, &held.primary, &["payments:2"]);
    assert_eq!(status, 1);
    assert!(said.starts_with("keyward: warning: the bundle tells of no key with the KEK id "), "{said}");
    assert!(!told.contains("signed by"), "{told}");

    let id = held.id("primary", "payments:1");
    hsm.destroy_key(&payments, KeyVersion::FIRST, VersionReuse::Refuse).unwrap();
    hsm.destroy_key(&payments, "2".parse().unwrap(), VersionReuse::Refuse).unwrap();
    forget(&held.primary, "payments");
    hsm.create_planned(&PlannedKey::new(payments, WrappingAlgorithm::AesGcm, id)).unwrap();
    let (status, told, said) = json(&held, &held.primary, "payments");
    assert_eq!((status, &told["canary_opens"], &told["ceremony"]["opens_canary"]), (1, &true.into(), &false.into()));
    assert!(
        said.contains("keyward: warning: 'payments:1' on primary: the canary of the ceremony does not open"),
        "{said}"
    );
    let (_, told, _) = prove(&held, &held.primary, &["payments"]);
    assert_eq!(field(&told, "same key"), "NO: it does not open what was wrapped in the ceremony");
}

#[test]
fn a_copy_on_a_token_of_which_the_bundle_does_not_tell_is_warned_of() {
    let held = Ceremony::of_one_key();
    let elsewhere = SoftToken::new();
    let id = held.id("primary", "payments:1");
    let plan = PlannedKey::new(key("payments"), WrappingAlgorithm::AesGcm, id);
    elsewhere.provider().create_planned(&plan).unwrap();
    let (status, _, said) = prove(&held, &elsewhere, &["payments"]);
    assert_eq!(status, 1);
    let serial = &elsewhere.open().info().serial.clone();
    assert!(
        said.contains(&format!("warning: serial number {serial}: the bundle tells of it on the token primary")),
        "{said}"
    );
}

#[test]
fn a_bundle_that_is_not_as_it_should_be_proves_nothing() {
    let held = Ceremony::of_one_key();
    held.forge(|line| line.replace("\"confirmed_by\":\"olga\"", "\"confirmed_by\":\"carol\""));
    let path = held.path().join("signatures/wanda.minisig");
    fs::remove_file(&path).unwrap();
    let (status, told, said) = prove(&held, &held.primary, &["payments"]);
    assert_eq!(status, 1);
    assert!(said.contains("warning: the bundle is not as it should be: signatures/wanda.minisig: "), "{said}");
    assert!(said.contains("confirmed by carol, and the plan says by olga"), "{said}");
    assert!(!told.contains("signed by") && told.contains("CKA_SENSITIVE"), "{told}");
    let (status, told, _) = json(&held, &held.primary, "payments");
    assert_eq!((status, &told["ceremony"]["bundle_ok"], &told["ceremony"]["key"]), (1, &false.into(), &Value::Null));
    fs::rename(held.path(), held.path().with_file_name("elsewhere")).unwrap();
    let (status, told, said) = prove(&held, &held.primary, &["payments"]);
    assert_eq!((status, told.as_str()), (1, ""), "{said}");
}

#[test]
fn a_key_of_a_rehearsal_is_warned_of() {
    let held = Ceremony::of_one_key();
    held.forge(|line| line.replace("\"rehearsal\":false", "\"rehearsal\":true"));
    let (status, told, said) = prove(&held, &held.primary, &["payments"]);
    assert_eq!(status, 1);
    assert_eq!(said, "keyward: warning: the bundle is of a REHEARSAL: its keys are worth nothing\n");
    assert_eq!(field(&told, "same key"), "opens what it wrapped in the ceremony");
}
