//! `keyward ceremony verify --token`.

use crate::fixture::{Ceremony, key, uri};
use crate::room::PIN;
use keyward::key::VersionReuse;
use keyward::testkit::SoftToken;
use keyward::{KeyAdmin, KeyVersion};
use serde_json::Value;
use std::fs;
use std::process::Command;

/// A run that has ended: its status, what it printed, and what it said.
pub(crate) fn run(command: &mut Command) -> (i32, String, String) {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

const VERIFY: [&str; 3] = ["ceremony", "verify", "bundle"];

fn ask(held: &Ceremony, token: &SoftToken, more: &[&str]) -> (i32, String, String) {
    let uri = uri(token);
    run(held.command(token, &[&VERIFY[..], &["--token", &uri], more].concat()).env("KEYWARD_PIN", PIN))
}

#[test]
fn both_tokens_are_asked_by_a_command_each() {
    let held = Ceremony::of_all_kinds();
    for (name, token) in [("primary", &held.primary), ("second", &held.second)] {
        let (status, told, said) = ask(&held, token, &[]);
        assert_eq!((status, said.as_str()), (0, ""), "{told}");
        let proven = format!("proven: 'archive:1' on {name} opened the canary of the ceremony: ");
        assert!(told.lines().any(|line| line.starts_with(&proven)), "{told}");
        assert!(told.lines().any(|line| line.starts_with(&format!("claimed: 'payments:1' on {name}: "))), "{told}");
        let gone = told.lines().any(|line| line.starts_with("claimed: 'old:1' on primary is gone: "));
        assert_eq!(gone, name == "primary");
        let serial = &token.open().info().serial.clone();
        let end = format!("signed by wanda: ok\nthe token {name} with the serial number {serial}: ok\n");
        assert!(told.ends_with(&end), "{told}");

        let (status, told, _) = ask(&held, token, &["--json"]);
        let told: Value = serde_json::from_str(&told).unwrap();
        assert_eq!((status, &told["ok"], &told["token"]["serial"]), (0, &true.into(), &serial.as_str().into()));
        assert_eq!((&told["token"]["tokens"][0], &told["token"]["findings"]), (&name.into(), &Value::Array(vec![])));
        assert_eq!(told["token"]["proven"].as_array().unwrap().len(), 4);
    }
}

#[test]
fn only_a_token_on_the_command_line_is_asked() {
    let held = Ceremony::of_one_key();
    let nowhere = "pkcs11:token=nowhere?module-path=/nowhere.so";
    fs::write(held.path().with_file_name("keyward.toml"), format!("token = \"{nowhere}\"\n")).unwrap();
    let offline = |command: &mut Command| {
        let (status, told, said) = run(command);
        assert_eq!((status, said.as_str()), (0, ""), "{told}");
        assert!(told.ends_with("signed by wanda: ok\n"), "{told}");
    };
    offline(&mut held.command(&held.primary, &VERIFY));
    offline(held.command(&held.primary, &VERIFY).env("KEYWARD_TOKEN", nowhere));
    // Nor one that is there: it would ask for the PIN, or tell more.
    offline(held.command(&held.primary, &VERIFY).env("KEYWARD_TOKEN", uri(&held.primary)).env("KEYWARD_PIN", PIN));
    offline(&mut held.command(&held.primary, &[&VERIFY[..], &["--config", "keyward.toml"]].concat()));
    let (_, told, _) =
        run(held.command(&held.primary, &[&VERIFY[..], &["--json"]].concat()).env("KEYWARD_TOKEN", nowhere));
    assert_eq!(serde_json::from_str::<Value>(&told).unwrap()["token"], Value::Null);

    // The same on the command line, before or after the command.
    let token = ["--token", nowhere];
    for line in [[&VERIFY[..], &token].concat(), [&token, &VERIFY[..]].concat()] {
        let (status, told, said) = run(&mut held.command(&held.primary, &line));
        assert_eq!((status, told.as_str()), (5, ""), "{said}");
    }
    // What was to be asked and is not named is not left out.
    for more in [&[][..], &["--config", "keyward.toml"]] {
        let (status, told, said) =
            run(&mut held.command(&held.primary, &[&VERIFY[..], &["--token", ""], more].concat()));
        assert_eq!(
            (status, told.as_str(), said.lines().next().unwrap()),
            (2, "", "keyward: error: --token names no token")
        );
    }
}

#[test]
fn trouble_with_the_token_or_the_pin_has_its_own_status() {
    let held = Ceremony::of_one_key();
    let line = |uri: &str| held.command(&held.primary, &[&VERIFY[..], &["--token", uri]].concat());
    let uri = uri(&held.primary);
    let (status, told, said) = run(line(&uri).env("KEYWARD_PIN", "not-the-pin"));
    assert_eq!((status, told.as_str()), (6, ""), "{said}");
    let (status, told, said) = run(&mut line(&uri));
    assert_eq!((status, told.as_str()), (6, ""), "{said}");
    let absent = uri.replace(held.primary.uri().token().unwrap(), "absent");
    let (status, told, said) = run(line(&absent).env("KEYWARD_PIN", PIN));
    assert_eq!((status, told.as_str()), (5, ""), "{said}");
}

#[test]
fn what_is_wrong_is_a_line_and_the_status_is_4() {
    let held = Ceremony::of_one_key();
    let other = SoftToken::new();
    let serial = &other.open().info().serial.clone();
    let (status, told, _) = ask(&held, &other, &[]);
    assert_eq!(status, 4);
    assert!(told.starts_with(&format!("serial number {serial}: it is no token of this bundle, ")), "{told}");
    assert!(!told.contains(": ok"), "{told}");

    let payments = key("payments");
    held.primary.provider().rotate_key(&payments, None).unwrap();
    held.primary.provider().disable_key(&payments, KeyVersion::FIRST).unwrap();
    let (status, told, _) = ask(&held, &held.primary, &[]);
    assert_eq!(status, 0, "{told}");
    assert!(told.contains("\nchanged: 'payments:1' on primary is disabled: "), "{told}");
    assert!(told.contains("\nnot asked: 'payments:1' on primary: it is disabled, and opens nothing\n"), "{told}");

    held.primary.provider().destroy_key(&payments, KeyVersion::FIRST, VersionReuse::Refuse).unwrap();
    let (status, told, _) = ask(&held, &held.primary, &[]);
    assert_eq!(status, 4);
    assert!(told.starts_with("'payments:1' on primary: no key on the token has its CKA_ID "), "{told}");
    let (status, told, _) = ask(&held, &held.primary, &["--json"]);
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((status, &told["ok"], &told["findings"]), (4, &false.into(), &Value::Array(vec![])));
    assert_eq!(told["token"]["findings"][0]["place"], "'payments:1' on primary");
}

#[test]
fn what_is_wrong_with_the_bundle_is_told_before_any_token_is_asked() {
    let held = Ceremony::of_one_key();
    let path = held.path().join("report.md");
    let report = fs::read_to_string(&path).unwrap();
    fs::write(&path, report.replace("olga", "mallory")).unwrap();
    let nowhere = "pkcs11:token=nowhere?module-path=/nowhere.so";
    let (status, told, said) = run(&mut held.command(&held.primary, &[&VERIFY[..], &["--token", nowhere]].concat()));
    assert_eq!((status, said.as_str()), (4, "keyward: note: no token is asked: the bundle is not as it should be\n"));
    let wrong = "signatures/wanda.minisig: it is not a signature of this transcript, plan and report\n";
    assert!(told.starts_with(wrong), "{told}");
}

#[test]
fn a_configuration_that_does_not_allow_the_keys_is_kept_to() {
    let held = Ceremony::of_one_key();
    fs::write(held.path().with_file_name("keyward.toml"), "keys = [\"other\"]\n").unwrap();
    let (status, told, said) = ask(&held, &held.primary, &["--config", "keyward.toml"]);
    assert_eq!((status, told.as_str()), (1, ""));
    assert!(said.contains("'payments' is not among the keys that the configuration file allows"), "{said}");
}

#[test]
fn policies_are_asked_before_any_key_is() {
    let held = Ceremony::of_one_key();
    let at = held.path();
    fs::write(at.with_file_name("keyward.toml"), "policy = \"policies.cedar\"\n").unwrap();
    let policy = |text| fs::write(at.with_file_name("policies.cedar"), text).unwrap();
    policy("permit(principal, action, resource);");
    let (status, told, said) = ask(&held, &held.primary, &["--config", "keyward.toml"]);
    assert_eq!((status, said.as_str()), (0, ""), "{told}");
    policy(
        "permit(principal, action, resource);\nforbid(principal, action == Keyward::Action::\"ListKeys\", resource);",
    );
    let (status, told, said) = ask(&held, &held.primary, &["--config", "keyward.toml"]);
    assert_eq!((status, told.as_str()), (3, ""), "{said}");
}
