//! The life of master keys, and data keys on request.

use crate::bench::{Bench, Done, PIN};
use serde_json::Value;
use std::process::Stdio;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn a_key_proves_what_it_can_and_the_rest_is_told_as_claimed() {
    let bench = Bench::new();
    bench.ok("key create payments");
    bench.ok("key rotate payments");
    bench.ok("key create mailbox --algorithm rsa-oaep-sha1");
    let proof = json(&bench.ok("key prove payments --json"));
    assert_eq!((&proof["key"]["version"], &proof["key"]["provenance"]), (&2.into(), &"generated".into()));
    assert_eq!((&proof["canary_opens"], &proof["check_value_source"]), (&true.into(), &"told".into()));
    assert_eq!(proof["check_value"].as_str().unwrap().len(), 6);
    let attributes = proof["attributes"].as_array().unwrap();
    let claim = |name: &str| &attributes.iter().find(|one| one["name"] == name).unwrap()["claim"];
    assert_eq!((claim("CKA_SENSITIVE"), claim("CKA_EXTRACTABLE")), (&true.into(), &false.into()));
    assert_eq!((claim("CKA_LABEL"), claim("CKA_VALUE_LEN")), (&"payments:2".into(), &32.into()));
    assert_eq!((claim("CKA_ID"), claim("CKA_MODULUS")), (&proof["key"]["kek_id"], &Value::Null));
    let text = bench.ok("key prove payments:1");
    assert!(text.contains("opens what it wrapped when it was made"), "{text}");
    assert!(text.lines().any(|line| line.split_whitespace().eq(["CKA_NEVER_EXTRACTABLE", "true"])), "{text}");
    let proof = json(&bench.ok("key prove mailbox --json"));
    assert_eq!((&proof["check_value"], proof["fingerprint"].as_str().unwrap().len()), (&Value::Null, 64));
    // A disabled key opens nothing, and is not said to have failed.
    bench.ok("key disable payments:1");
    let proof = json(&bench.ok("key prove payments:1 --json"));
    assert_eq!((&proof["canary_opens"], &proof["canary"]), (&Value::Null, &"not asked: the key is disabled".into()));
    let hint = "keyward: hint: `keyward key list` shows those that there are";
    bench.refuses("key prove nothing", 1, &["keyward: error: there is no key 'nothing'", hint]);
}

#[test]
fn from_creation_to_destruction() {
    let bench = Bench::new();
    assert_eq!(bench.ok("key list -q"), "");
    let made = json(&bench.ok("key create payments --json"));
    assert_eq!((&made["name"], &made["version"], &made["state"]), (&"payments".into(), &1.into(), &"active".into()));
    assert_eq!(made["algorithm"], "aes-gcm");
    assert_eq!(made["provenance"], "generated");
    assert_eq!(made["enforced_by_token"], true);
    assert_eq!(made["problems"], Value::Array(Vec::new()));
    let created = made["created"].as_str().unwrap();
    assert!(created.len() >= 20 && created.ends_with('Z') && created.contains('T'), "{created}");

    bench.refuses(
        "key create payments",
        1,
        &[
            "keyward: error: key 'payments:1' exists already",
            "keyward: hint: `keyward key rotate` makes the next version",
        ],
    );
    let rotated = bench.ok("key rotate payments");
    assert!(rotated.starts_with("rotated; current is payments:2 (aes-gcm, active, KEK id "), "{rotated}");
    let states = |line: &str| -> Vec<String> {
        let keys = json(&bench.ok(line));
        keys.as_array().unwrap().iter().map(|key| key["state"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(states("key list --json"), ["retired", "active"]);
    bench.ok("key disable payments:1");
    assert_eq!(states("key show payments --json"), ["disabled", "active"]);
    assert_eq!(states("key show payments:1 --json"), ["disabled"]);
    bench.ok("key enable payments:1");
    assert_eq!(states("key list --json"), ["retired", "active"]);

    bench.refuses(
        "key destroy payments:1",
        2,
        &[
            "keyward: error: nothing is destroyed: nobody confirmed 'payments:1'",
            "keyward: hint: at a terminal you are asked; in a script, add --yes",
        ],
    );
    let destroyed = bench.ok("key destroy payments:1 --yes");
    assert!(destroyed.starts_with("destroyed payments:1 (KEK id "), "{destroyed}");
    assert_eq!(states("key list --json"), ["active"]);
    for line in ["key show payments:1", "key show nokey:1"] {
        let name = line.rsplit(' ').next().unwrap();
        bench.refuses(
            line,
            1,
            &[
                &format!("keyward: error: there is no key '{name}'"),
                "keyward: hint: `keyward key list` shows those that there are",
            ],
        );
    }
    let table = bench.ok("key list");
    assert!(table.starts_with("KEY         ALGORITHM  STATE   CREATED"), "{table}");
}

#[test]
fn keys_that_are_not_there() {
    let bench = Bench::new();
    for line in ["key rotate nokey", "data-key generate --key nokey", "key public nokey"] {
        bench.refuses(
            line,
            1,
            &[
                "keyward: error: key 'nokey' is not among the keys that may be used here",
                "keyward: hint: `keyward key list` shows the keys of the token",
            ],
        );
    }
    for line in ["key disable nokey:1", "key destroy nokey:1 --yes"] {
        bench.refuses(
            line,
            1,
            &[
                "keyward: error: there is no key 'nokey:1'",
                "keyward: hint: `keyward key list` shows the keys of the token",
            ],
        );
    }
}

/// Makes an AES key as another tool would.
fn foreign_key(bench: &Bench, label: &str, id: &str) {
    let mut command = bench.command("pkcs11-tool");
    command.arg("--module").arg(&bench.module).args(["--token-label", "bench", "--login", "--pin", PIN]);
    command.args(["--keygen", "--key-type", "AES:32", "--label", label, "--id", id, "--private", "--sensitive"]);
    let output = command.output().expect("pkcs11-tool is missing; install opensc");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_key_of_another_tool_is_adopted() {
    let bench = Bench::new();
    foreign_key(&bench, "legacy", "01020304");
    let adopted = json(&bench.ok("key adopt legacy --json"));
    assert_eq!(adopted["key"]["provenance"], "adopted");
    assert_eq!(adopted["key"]["version"], 1);
    assert!(adopted["changes"].is_array() && adopted["warnings"].is_array());
    bench.ok("data-key generate --key legacy");
    bench.refuses(
        "key adopt none",
        1,
        &[
            "keyward: error: no private AES or RSA key on the token has the label 'none'",
            "keyward: hint: `keyward key list` shows the keys of the token",
        ],
    );
}

#[test]
fn two_keys_of_one_label_protect_nothing() {
    let bench = Bench::new();
    foreign_key(&bench, "twin", "aa01");
    foreign_key(&bench, "twin", "aa02");
    let done = bench.run("data-key generate --key twin");
    let lines: Vec<_> = done.stderr.lines().collect();
    assert_eq!(done.status, 1);
    assert!(lines[0].starts_with("keyward: error: two keys claim to be 'twin:1', with the KEK ids "), "{lines:?}");
    assert_eq!(
        lines[1],
        "keyward: hint: nothing is protected until one is gone or relabelled; recovery still works with both"
    );
    assert_eq!(lines.len(), 2);
}

#[test]
fn eight_processes_make_one_key() {
    let bench = Bench::new();
    let children: Vec<_> = (0..8)
        .map(|_| {
            let mut command = bench.keyward(["key", "create", "same"]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let mut made = 0;
    for child in children {
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        match output.status.code() {
            Some(0) => made += 1,
            Some(1) => assert!(stderr.starts_with("keyward: error: key 'same:1' exists already\n"), "{stderr}"),
            status => panic!("{status:?}: {stderr}"),
        }
    }
    let keys = json(&bench.ok("key list --json"));
    assert_eq!(made, 1, "{keys}");
    assert_eq!(keys.as_array().unwrap().len(), 1, "{keys}");
    assert_eq!(keys[0]["state"], "active");
    bench.ok("data-key generate --key same");
}

#[test]
fn a_data_key_of_another_program_is_wrapped() {
    let bench = Bench::new();
    for name in ["k", "other"] {
        bench.ok(&format!("key create {name}"));
    }
    for plaintext in ["AAECAwQFBgcICQoLDA0ODw==", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="] {
        let input = serde_json::json!({ "plaintext": plaintext }).to_string();
        let wrapped = bench.pipe("data-key wrap --key k --context a=b", input.as_bytes()).ok();
        assert!(json(&wrapped).get("plaintext").is_none(), "{wrapped}");
        let unwrapped = bench.pipe("data-key unwrap --key k --context a=b", wrapped.as_bytes()).ok();
        let expected = serde_json::json!({ "plaintext": plaintext, "key": "k", "algorithm": "aes-gcm" });
        assert_eq!(json(&unwrapped), expected);
        for wrong in ["--key k", "--key k --context a=c", "--key other --context a=b"] {
            let refused = bench.pipe(&format!("data-key unwrap {wrong}"), wrapped.as_bytes());
            assert_ne!(refused.status, 0, "{wrong}");
            assert!(refused.stdout.is_empty(), "{wrong}");
        }
    }
    let input = b"{\"plaintext\":\"AAECAwQFBgcICQoLDA0ODw==\"}";
    assert_eq!(bench.pipe("data-key wrap --key none", input).status, 1);
    bench.ok("key disable k:1");
    let refused = bench.pipe("data-key wrap --key k", input);
    assert_eq!((refused.status, refused.stdout.len()), (1, 0), "{}", refused.stderr);
}

#[test]
fn data_keys() {
    let bench = Bench::new();
    bench.ok("key create k");
    for length in [16, 32] {
        let made = bench.ok(&format!("data-key generate --key k --context a=b --length {length}"));
        let plaintext = json(&made)["plaintext"].clone();
        assert_eq!(plaintext.as_str().unwrap().len(), if length == 16 { 24 } else { 44 });
        let wrapped = serde_json::json!({ "wrapped_keys": json(&made)["wrapped_keys"] }).to_string();
        for input in [made.as_str(), &wrapped] {
            let unwrapped = bench.pipe("data-key unwrap --context a=b", input.as_bytes()).ok();
            let expected = serde_json::json!({ "plaintext": plaintext, "key": "k", "algorithm": "aes-gcm" });
            assert_eq!(json(&unwrapped), expected);
        }
        bench.pipe("data-key unwrap --context a=c", wrapped.as_bytes()).is(
            4,
            &["keyward: error: cannot decrypt: wrong key, wrong encryption context, or altered or truncated data"],
        );
    }
    bench.pipe("data-key unwrap", b"{}").is(
        2,
        &[
            "keyward: error: standard input is not a wrapped data key: no such JSON at line 1, column 2",
            "keyward: hint: it is {\"wrapped_keys\": [BASE64, …]}, as `keyward data-key generate` prints it",
        ],
    );
    bench.pipe("data-key wrap --key k", b"{\"plaintext\":\"AAAA\"}").is(
        2,
        &[
            "keyward: error: standard input is not a data key: a data key is 16 or 32 bytes long",
            "keyward: hint: it is {\"plaintext\": BASE64} of 16 or 32 bytes, as `keyward data-key unwrap` prints it",
        ],
    );
    bench.refuses(
        "data-key generate --key k --length 24",
        2,
        &["keyward: error: invalid value '24' for '--length <BYTES>': a data key is 16 or 32 bytes long"],
    );
    bench.refuses(
        "data-key generate --key k --context ab",
        2,
        &[
            "keyward: error: invalid value 'ab' for '--context <KEY=VALUE>': a context pair has no '='",
            "keyward: hint: write --context KEY=VALUE, as in --context tenant=acme",
        ],
    );
}

#[test]
fn public_keys() {
    let bench = Bench::new();
    bench.ok("key create box --algorithm rsa-oaep-sha1");
    let done = bench.run("key public box");
    bench.write("box.pub", done.text());
    let fingerprint = bench.ok("key fingerprint box.pub");
    assert_eq!(done.stderr, format!("keyward: note: fingerprint {fingerprint}"));
    assert_eq!(fingerprint.trim().len(), 64);
    bench.ok("key create aes");
    bench.refuses(
        "key public aes",
        2,
        &[
            "keyward: error: key 'aes' is for aes-gcm and has no public half",
            "keyward: hint: make one with --algorithm rsa-oaep",
        ],
    );
}

#[test]
fn destroyed_keys_are_listed_and_their_numbers_are_not_used_again() {
    let bench = Bench::new();
    assert_eq!(bench.ok("key list --destroyed -q"), "");
    assert_eq!(bench.ok("key list --destroyed --json"), "[]\n");
    bench.ok("key create payments");
    bench.ok("key rotate payments");
    let ids: Vec<_> = json(&bench.ok("key list --json"))
        .as_array()
        .unwrap()
        .iter()
        .map(|key| key["kek_id"].as_str().unwrap().to_owned())
        .collect();
    bench.ok("key destroy payments:2 --yes");
    assert!(bench.ok("key rotate payments").starts_with("rotated; current is payments:3 "));
    for version in [1, 3] {
        assert_eq!(json(&bench.ok("key list --destroyed --json")), Value::Array(Vec::new()));
        bench.ok(&format!("key destroy payments:{version} --yes"));
    }
    bench.refuses(
        "key rotate payments",
        1,
        &[
            "keyward: error: key 'payments' is destroyed; its last version was 3",
            "keyward: hint: `keyward key create payments` makes version 4",
        ],
    );

    let listed = json(&bench.ok("key list --destroyed --json"));
    let key = &listed[0];
    assert_eq!(
        (listed.as_array().unwrap().len(), &key["name"], &key["state"]),
        (1, &"payments".into(), &"destroyed".into())
    );
    assert_eq!(key["highest_version"], 3);
    let versions = key["versions"].as_array().unwrap();
    assert_eq!(versions.iter().map(|gone| gone["version"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!((&versions[0]["kek_id"], &versions[1]["kek_id"]), (&ids[0].clone().into(), &ids[1].clone().into()));
    assert!(versions.iter().all(|gone| gone["destroyed"].as_str().unwrap().ends_with('Z')));
    let table = bench.ok("key list --destroyed");
    assert!(table.starts_with("KEY       HIGHEST  VERSION  DESTROYED"), "{table}");
    assert_eq!(table.lines().count(), 4);
    assert!(table.contains(&ids[1]), "{table}");
    assert_eq!(bench.ok("key list -q"), "");

    let doctor = json(bench.run("doctor --json").text());
    assert_eq!(doctor["tokens"][0]["destroyed"], serde_json::json!(["payments"]));
    let told = bench.ok("doctor");
    assert!(
        told.contains("  ok       destroyed      key 'payments': all versions up to 3 are destroyed, the last on 20"),
        "{told}"
    );

    assert!(bench.ok("key create payments").starts_with("created payments:4 "));
    assert_eq!(bench.ok("key list --destroyed --json"), "[]\n");
    assert!(!bench.ok("doctor").contains("destroyed"));
}

#[test]
fn a_record_of_a_newer_keyward_is_told_by_name() {
    let bench = Bench::new();
    bench.ok("key create k");
    crate::life::rewrite(&bench, "k:1", |text| text.replace("keyward-key-record 2", "keyward-key-record 3"));
    for line in
        ["data-key generate --key k", "key rotate k", "key disable k:1", "key destroy k:1 --yes --allow-version-reuse"]
    {
        bench.refuses(
            line,
            1,
            &[
                "keyward: error: the record of key 'k:1' was written by a newer Keyward",
                "keyward: hint: use the newer version of Keyward for this key",
            ],
        );
    }
    assert_eq!(json(&bench.ok("key list --json"))[0]["problems"][0], "its record was written by a newer Keyward");
    assert_eq!(bench.run("doctor").status, 1);
}

/// A command on the token of a bench behind the module that keeps no data objects.
fn without_data_objects(bench: &Bench) -> impl Fn(&str) -> Done {
    let built = std::env::current_exe().unwrap();
    let built = built.ancestors().nth(2).unwrap().join("libkeyward_fault.so");
    assert!(built.exists(), "'{}' is not built: cargo build -p keyward-fault", built.display());
    let module = bench.work().parent().unwrap().join("libsofthsm2-fault.so");
    std::fs::copy(built, &module).unwrap();
    std::fs::write(module.with_extension("so.script"), "C_CreateObject * no-data-objects\n").unwrap();
    let uri = bench.uri.replace(&bench.module.display().to_string(), &module.display().to_string());
    let real = bench.module.clone();
    move |line| {
        let mut command = bench.keyward(["--token", &uri].into_iter().chain(line.split(' ')));
        Done::of(line, command.env("KEYWARD_FAULT_MODULE", &real).output().unwrap())
    }
}

#[test]
fn a_token_without_data_objects_reuses_numbers_only_if_asked_to() {
    let bench = Bench::new();
    let run = without_data_objects(&bench);
    for algorithm in ["aes-kw", "rsa-oaep-sha1"] {
        let refused = run(&format!("key create k --algorithm {algorithm}"));
        assert_eq!(refused.status, 1);
        assert!(
            refused.stderr.contains(&format!("cannot make key 'k:1' for {algorithm}: the token keeps no data objects"))
        );
        assert!(
            refused.stderr.ends_with("keyward: hint: on this token, choose aes-gcm or rsa-oaep\n"),
            "{}",
            refused.stderr
        );
    }
    run("key create k").ok();
    run("key rotate k").ok();
    let refused = run("key destroy k:2 --yes");
    assert_eq!(refused.status, 1);
    let lines: Vec<_> = refused.stderr.lines().collect();
    assert!(
        lines[0].starts_with("keyward: error: cannot destroy key 'k:2': the token keeps no data objects, "),
        "{lines:?}"
    );
    assert!(lines[1].starts_with("keyward: hint: ") && lines[1].contains("--allow-version-reuse"), "{lines:?}");
    let warning =
        "keyward: warning: the token keeps no record of 'k': a later version may have a number that was used\n";
    let done = run("key destroy k:2 --yes --allow-version-reuse");
    assert_eq!((done.status, done.stderr.as_str()), (0, warning));
    // The last one needs no permission, and warns.
    let done = run("key destroy k:1 --yes");
    assert_eq!((done.status, done.stderr.as_str()), (0, warning));
    assert!(run("key create k").ok().starts_with("created k:1 "));
}
