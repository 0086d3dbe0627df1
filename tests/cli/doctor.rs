//! What the doctor says of a host, its files and a token: each line, and the exit status.

use crate::bench::{Bench, Done};
use crate::life::{age, json, rewrite, tool, write_record};
use serde_json::Value;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn pin_file(bench: &Bench) -> std::path::PathBuf {
    bench.work().parent().unwrap().join("pin")
}

/// All that is not ok: name, status and text. Whether swap is on is this machine's own affair.
fn complaints(found: &Value) -> Vec<(String, String, String)> {
    let of_tokens = found["tokens"].as_array().unwrap().iter().flat_map(|token| token["checks"].as_array().unwrap());
    let text = |check: &Value, field: &str| check[field].as_str().unwrap().to_owned();
    let all = found["host"].as_array().unwrap().iter().chain(of_tokens);
    let bad =
        all.filter(|check| check["status"] != "ok" && check["name"] != "swap" && check["name"] != "locked-memory");
    bad.map(|check| {
        assert!(!text(check, "remedy").is_empty(), "{check}");
        (text(check, "name"), text(check, "status"), text(check, "text"))
    })
    .collect()
}

/// Runs the doctor, and expects these complaints (name, status, what is in the text) and this exit status.
#[track_caller]
fn expect(done: &Done, status: i32, expected: &[(&str, &str, &str)]) {
    let found = complaints(&json(done.text()));
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for ((name, severity, text), (is_name, is_severity, part)) in found.iter().zip(expected) {
        assert_eq!((name.as_str(), severity.as_str()), (*is_name, *is_severity), "{text}");
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(done.status, status, "{found:#?}");
}

#[test]
fn a_token_in_order() {
    let bench = Bench::new();
    bench.ok("key create k");
    bench.ok("key rotate k");
    let done = bench.run("doctor");
    assert_eq!(done.status, 0, "{}", done.text());
    let lines: Vec<_> = done.text().lines().collect();
    let real = bench.module.canonicalize().unwrap().display().to_string();
    for line in [
        "this host",
        "  ok       core-dumps     off for this command; programs that link the library switch them off themselves",
        "pkcs11:token=bench",
        &format!("  ok       module-file    '{real}', which only root and this user can replace"),
        &format!("  ok       pin-file       '{}', mode 0600", pin_file(&bench).display()),
        &format!("  ok       module         '{}' loads", bench.module.display()),
        "  ok       pin            no wrong one was entered",
        "  ok       login          done",
        "  ok       algorithms     aes-gcm aes-kw rsa-oaep",
        "  ok       known-as       SoftHSM (tested)",
        "  ok       keys           2 versions, 1 active",
    ] {
        assert!(lines.contains(&line), "{line}\n{}", done.text());
    }
    assert!(lines.iter().any(|line| line.starts_with("  ok       clock          20")));
    assert!(lines.iter().any(|line| line.starts_with("  ok       token          'bench', serial ")));
    assert!(lines.last().unwrap().starts_with("0 failures, "));
    expect(&bench.run("doctor --json"), 0, &[]);
}

#[test]
fn files_that_others_may_read_or_write() {
    let bench = Bench::new();
    let pin = pin_file(&bench);
    for (bits, severity, status) in [(0o640, "warning", 0), (0o644, "failure", 1), (0o620, "failure", 1)] {
        mode(&pin, bits);
        expect(&bench.run("doctor --json"), status, &[("pin-file", severity, "")]);
    }
    mode(&pin, 0o600);

    bench.write("keyward.toml", "max_sessions = 4\n");
    let line = "--config keyward.toml doctor --json";
    mode(&bench.path("keyward.toml"), 0o644);
    expect(&bench.run(line), 0, &[]);
    mode(&bench.path("keyward.toml"), 0o664);
    expect(&bench.run(line), 1, &[("config-file", "failure", "others may write 'keyward.toml'")]);
    // Who may read it may read the PIN that stands in it.
    let uri = format!("{}&pin-value={}", bench.uri_without_pin(), crate::bench::PIN);
    bench.write("keyward.toml", format!("token = \"{uri}\"\n"));
    let run = || {
        let mut command = bench.keyward(line.split(' '));
        Done::of(line, command.env_remove("KEYWARD_TOKEN").output().unwrap())
    };
    expect(&run(), 0, &[("pin-value", "warning", "stands in the token URI")]);
    mode(&bench.path("keyward.toml"), 0o644);
    expect(
        &run(),
        1,
        &[("config-file", "failure", "in which a PIN stands: mode 0644"), ("pin-value", "warning", "pin-value")],
    );
    assert!(!run().text().contains(crate::bench::PIN));

    let line = format!("--token {} doctor --json", bench.uri_without_pin());
    let mut command = bench.keyward(line.split(' '));
    let done = Done::of(&line, command.env("KEYWARD_PIN", crate::bench::PIN).output().unwrap());
    expect(&done, 0, &[("pin-env", "warning", "KEYWARD_PIN")]);
}

#[test]
fn a_module_that_others_can_replace() {
    let bench = Bench::new();
    fs::create_dir(bench.path("lib")).unwrap();
    let module = bench.path("lib/module.so");
    fs::copy(&bench.module, &module).unwrap();
    let line = format!(
        "--token {} doctor --json",
        bench.uri.replace(&bench.module.display().to_string(), &module.display().to_string())
    );
    for (file, directory, expected) in [
        (0o755, 0o755, None),
        (0o775, 0o755, Some("lib/module.so' has mode 0775")),
        (0o757, 0o755, Some("lib/module.so' has mode 0757")),
        (0o755, 0o777, Some("lib' has mode 0777")),
        // As in /tmp: nobody can replace what is another's.
        (0o755, 0o1777, None),
    ] {
        mode(&module, file);
        mode(&bench.path("lib"), directory);
        let mut expected: Vec<_> = expected.iter().map(|part| ("module-file", "failure", *part)).collect();
        let status = i32::from(!expected.is_empty());
        // By this name it is not known as SoftHSM's.
        expected.push(("softhsm-lock", "warning", "none"));
        expect(&bench.run(&line), status, &expected);
    }
}

#[test]
fn pins_and_tokens_that_are_wrong() {
    let bench = Bench::new();
    let line = format!("--token {} doctor --json", bench.uri_without_pin());
    let mut command = bench.keyward(line.split(' '));
    let done = Done::of(&line, command.env("KEYWARD_PIN", "no-such-pin").output().unwrap());
    expect(&done, 6, &[("pin-env", "warning", ""), ("login", "failure", "CKR_PIN_INCORRECT")]);
    // The next one is told of it, and sets the count back.
    expect(&bench.run("doctor --json"), 0, &[("pin", "warning", "a wrong one was entered since the last right one")]);
    expect(&bench.run("doctor --json"), 0, &[]);

    let other = bench.uri.replace("token=bench", "token=other");
    let done = bench.run(&format!("--token {other} doctor --json"));
    expect(&done, 5, &[("token", "failure", "no token matches pkcs11:token=other")]);
    let nowhere = bench.uri.replace(&bench.module.display().to_string(), "/nowhere.so");
    let done = bench.run(&format!("--token {nowhere} doctor --json"));
    expect(&done, 5, &[("module", "failure", "cannot find the PKCS#11 module '/nowhere.so'")]);
    fs::remove_file(pin_file(&bench)).unwrap();
    let done = bench.run("doctor --json");
    expect(&done, 6, &[("pin-file", "failure", "No such file"), ("login", "failure", "")]);
}

/// Sets a boolean attribute in SoftHSM's own files, wherever it is false.
fn alter(bench: &Bench, attribute: u64) {
    let mut altered = 0;
    let tokens = bench.work().parent().unwrap().join("tokens");
    let tokens = fs::read_dir(tokens).unwrap().map(|entry| entry.unwrap().path());
    for token in tokens.filter(|path| path.is_dir()) {
        for file in fs::read_dir(token).unwrap() {
            let path = file.unwrap().path();
            let mut bytes = fs::read(&path).unwrap();
            // Its type, what kind of value it is, and the value.
            let is = [&attribute.to_be_bytes()[..], &1_u64.to_be_bytes(), &[0]].concat();
            let found = bytes.windows(is.len()).position(|window| window == is);
            if let (Some(at), Some("object")) = (found, path.extension().and_then(|ending| ending.to_str())) {
                bytes[at + is.len() - 1] = 0xff;
                fs::write(&path, bytes).unwrap();
                altered += 1;
            }
        }
    }
    assert!(altered > 0, "SoftHSM keeps its objects otherwise");
}

#[test]
fn a_key_whose_attributes_cannot_be_is_called_tampering() {
    const CKA_EXTRACTABLE: u64 = 0x162;
    let bench = Bench::new();
    bench.ok("key create k");
    alter(&bench, CKA_EXTRACTABLE);
    expect(
        &bench.run("doctor --json"),
        1,
        &[
            (
                "tampering",
                "failure",
                "key 'k:1': tampering: CKA_EXTRACTABLE is true and CKA_NEVER_EXTRACTABLE as well, which no token does by itself",
            ),
            ("key", "failure", "key 'k:1': CKA_EXTRACTABLE is true, not false"),
        ],
    );
    assert_eq!(bench.run("data-key generate --key k").status, 1);
}

#[test]
fn keys_that_are_not_as_they_should_be() {
    let bench = Bench::new();
    let generate = |label: &str, id: &str, usage: &[&str]| {
        let common = ["--keygen", "--key-type", "AES:32", "--private", "--sensitive", "--label", label, "--id", id];
        tool(&bench, &[&common[..], usage].concat());
    };
    generate("both", "b0", &["--usage-decrypt", "--usage-wrap"]);
    generate("twin", "aa01", &["--usage-decrypt"]);
    generate("twin", "aa02", &["--usage-decrypt"]);
    let done = bench.run("doctor --json");
    let found = complaints(&json(done.text()));
    assert_eq!(done.status, 1);
    let said = |name: &str, part: &str| {
        found.iter().any(|(is, severity, text)| is == name && severity == "failure" && text.contains(part))
    };
    assert!(said("key", "key 'both:1': CKA_WRAP is true on a key for aes-gcm: a key has one purpose"), "{found:#?}");
    assert_eq!(found.iter().filter(|(name, _, _)| name == "duplicate").count(), 2, "{found:#?}");
    assert!(said("duplicate", "key 'twin:1': another key has the same name and version: KEK id "), "{found:#?}");
}

#[test]
fn dates_that_have_passed() {
    let bench = Bench::new();
    for name in ["old", "due", "early"] {
        bench.ok(&format!("key create {name}"));
    }
    age(&bench, "old:1");
    bench.ok("key destroy due:1 --after 1s --yes");
    rewrite(&bench, "due:1", |text| {
        let lines = text.lines().map(|line| match line.starts_with("destroy-after") {
            true => "destroy-after 1000000000\n".to_owned(),
            false => format!("{line}\n"),
        });
        lines.collect()
    });
    rewrite(&bench, "early:1", |text| {
        let lines = text.lines().map(|line| match line.starts_with("created") {
            true => "created 9000000000\n".to_owned(),
            false => format!("{line}\n"),
        });
        lines.collect()
    });
    expect(
        &bench.run("doctor --json"),
        0,
        &[
            ("expiry", "warning", "key 'due:1' was to be destroyed after 2001-09-09T01:46:40Z"),
            ("clock", "warning", "key 'early:1' was made at 2255-03-14T16:00:00Z, which is later than now"),
            ("age", "warning", "key 'old:1' wraps with AES-GCM for "),
        ],
    );
}

#[test]
fn records_that_belong_to_nothing() {
    let bench = Bench::new();
    bench.ok("key create k");
    let id = "08".repeat(16);
    let text = format!(
        "keyward-key-record 2\nkek-id {id}\nalgorithm aes-gcm\nusage encrypt-decrypt\nprovenance generated\ncreated 1\n\
         uid {id}\npurpose envelope\nhighest-version 2\ngate enabled\n"
    );
    write_record(&bench, "k:2", &text);
    write_record(&bench, "k:3", "keyward-key-record 9\n");
    let unreadable = ("record", "warning", "a record labelled 'k:3' that was written by a newer Keyward");
    let orphan = format!("a record of key 'k:2' with KEK id {id}, which is not there");
    let mut expected = [unreadable, ("record", "warning", &orphan)];
    let first = complaints(&json(bench.run("doctor --json").text()));
    if first[0].2 == orphan {
        expected.reverse();
    }
    expect(&bench.run("doctor --json"), 0, &expected);
    let repaired = bench.ok("doctor --repair");
    assert!(repaired.contains(&format!("  ok       repaired       {orphan}\n")), "{repaired}");
    expect(&bench.run("doctor --json"), 0, &[unreadable]);
}

#[test]
fn configuration_and_policies_that_others_can_change() {
    let bench = Bench::new();
    fs::create_dir_all(bench.path("conf/policies")).unwrap();
    bench.write("conf/keyward.toml", "policy = 'policies'\n");
    bench.write("conf/policies/all.cedar", "permit(principal, action, resource);");
    let line = "--config conf/keyward.toml doctor --json";
    expect(&bench.run(line), 0, &[]);
    for (path, changed, expected) in [
        ("conf", 0o777, vec![("config-file", "failure", "conf' has mode 0777"), ("policy-files", "failure", "0777")]),
        ("conf/policies", 0o777, vec![("policy-files", "failure", "policies' has mode 0777")]),
        ("conf/policies/all.cedar", 0o666, vec![("policy-files", "failure", "all.cedar' has mode 0666")]),
    ] {
        let before = fs::metadata(bench.path(path)).unwrap().permissions();
        mode(&bench.path(path), changed);
        expect(&bench.run(line), 1, &expected);
        fs::set_permissions(bench.path(path), before).unwrap();
    }
    for name in ["x.CEDAR", ".old.cedar"] {
        bench.write(&format!("conf/policies/{name}"), "permit(principal, action, resource);");
        let refused = bench.run("--config conf/keyward.toml key list");
        assert_eq!(refused.status, 2, "{name}: {}", refused.stderr);
        assert!(refused.stderr.contains(&format!("has the file '{name}'")), "{}", refused.stderr);
        fs::remove_file(bench.path(&format!("conf/policies/{name}"))).unwrap();
    }
}
