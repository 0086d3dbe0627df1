//! `keyward audit`: the log that the library wrote, told, verified and anchored.

use crate::bench::Bench;
use keyward::audit::{AuditLog, AuditOptions, Event, Outcome};
use keyward::key::{Operation, Principal};
use keyward::{EncryptionContext, Error, ErrorKind, KeyName};
use serde_json::Value;

/// A log of three operations, and nobody who signs it.
fn write_log(bench: &Bench) {
    let log = AuditLog::open(&bench.path("audit.log"), AuditOptions::default()).unwrap();
    let (alice, bob) = (Principal::new("alice").unwrap(), Principal::new("bob\u{202e}").unwrap());
    let (payments, other): (KeyName, KeyName) = ("payments".parse().unwrap(), "other".parse().unwrap());
    let context = EncryptionContext::from_pairs([("tenant", "acme")]).unwrap();
    let wrap = Event::new(Operation::GenerateDataKey, &alice).key(&payments).context(&context);
    log.begin(wrap).unwrap().finish(Outcome::of(&Ok(())));
    let denied = Error::new(ErrorKind::PolicyDenied, "no");
    log.refused(Event::new(Operation::DestroyKey, &bob).key(&payments), &denied);
    let gone = Error::new(ErrorKind::KeyNotFound, "no");
    log.begin(Event::new(Operation::Unwrap, &bob).key(&other)).unwrap().finish(Outcome::of::<()>(&Err(gone)));
    log.close().unwrap();
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// The rows of a table without their first column, which is a time.
fn rows(table: &str) -> Vec<String> {
    table.lines().skip(1).map(|row| row.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn the_key_is_made_once_and_its_public_half_printed() {
    let bench = Bench::new();
    let pem = bench.ok("audit init");
    assert!(
        pem.starts_with("-----BEGIN PUBLIC KEY-----\nMFkw") && pem.ends_with("-----END PUBLIC KEY-----\n"),
        "{pem}"
    );
    bench.refuses(
        "audit init",
        1,
        &["keyward: error: the token has an audit key already", "keyward: hint: --rotate replaces it"],
    );
    assert_eq!(json(&bench.ok("key list --json")), Value::Array(vec![]));

    let bench = Bench::new();
    bench.write("taken", "");
    bench.refuses(
        "audit init --public taken",
        1,
        &["keyward: error: 'taken' exists already", "keyward: hint: use --force to replace it"],
    );
    let told = bench.ok("audit init --public audit.pem");
    assert!(told.starts_with("made the audit key ") && told.ends_with("; its public half is in audit.pem\n"), "{told}");
    assert!(bench.read("audit.pem").starts_with(b"-----BEGIN PUBLIC KEY-----\n"));
}

#[test]
fn operations_are_shown_with_their_outcomes() {
    let bench = Bench::new();
    write_log(&bench);
    let all = [
        "alice GenerateDataKey payments tenant=acme ok",
        "bob\\u{202e} DestroyKey payments - refused: PolicyDenied",
        "bob\\u{202e} Unwrap other - failed: KeyNotFound",
    ];
    let table = bench.ok("audit show audit.log");
    assert!(table.starts_with("TIME "), "{table}");
    assert_eq!(rows(&table), all);
    for (filter, wanted) in [
        ("--key payments", &all[..2]),
        ("--principal alice", &all[..1]),
        ("--operation Unwrap", &all[2..]),
        ("--outcome refused", &all[1..2]),
        ("--outcome failed", &all[2..]),
        ("--outcome unknown", &[]),
        ("--since 2020-01-31", &all[..]),
        ("--until 2020-01-31T00:00:00Z", &[]),
    ] {
        assert_eq!(rows(&bench.ok(&format!("audit show audit.log {filter}"))), wanted, "{filter}");
    }
    let shown = json(&bench.ok("audit show audit.log --json --principal alice"));
    assert_eq!(shown["in_order"], true);
    let operation = &shown["operations"][0];
    assert_eq!((&operation["keys"][0]["name"], &operation["context"]["tenant"]), (&"payments".into(), &"acme".into()));
    bench.refuses(
        "audit show audit.log --since yesterday",
        2,
        &[
            "keyward: error: invalid value 'yesterday' for '--since <TIME>': 'yesterday' is not a time",
            "keyward: hint: as in 2026-01-31 or 2026-01-31T08:15:00Z",
        ],
    );
    bench.refuses(
        "audit show",
        2,
        &[
            "keyward: error: no audit log is named",
            "keyward: hint: give its path, or set 'log' in the table [audit] of the configuration file",
        ],
    );
}

#[test]
fn a_log_is_anchored_and_verified_with_the_token_and_without() {
    let bench = Bench::new();
    write_log(&bench);
    bench.refuses(
        "audit anchor audit.log",
        1,
        &["keyward: error: the token has no audit key", "keyward: hint: `keyward audit init` makes it"],
    );
    let made = bench.ok("audit init --public audit.pem");
    let key = made.split_whitespace().nth(4).unwrap().trim_end_matches(';').to_owned();
    bench.refuses("audit anchor missing", 1, &["keyward: error: there is no audit log 'missing'"]);
    let anchored = bench.ok("audit anchor audit.log");
    // A log without an anchor gets one when it is opened, and then that which was asked for.
    assert!(anchored.starts_with("anchored the log ") && anchored.ends_with(" at entry 7\n"), "{anchored}");

    let verified = bench.run("audit verify audit.log");
    let ok = format!("8 entries in 1 file, 2 heads signed by {key}, signed up to entry 7, anchored at entry 7 on ");
    assert!(verified.text().starts_with(&ok) && verified.text().ends_with("Z: ok\n"), "{}", verified.text());
    assert_eq!(verified.status, 0);
    assert_eq!(
        verified.stderr.lines().collect::<Vec<_>>(),
        [
            "keyward: note: 1 entry after the last signed head could have been changed",
            "keyward: note: what came after entry 7 could have been cut off",
        ]
    );

    let mut command = bench.command(crate::bench::KEYWARD);
    command.args(["audit", "verify", "--public-key", "audit.pem", "audit.log"]);
    let offline = crate::bench::Done::of("offline", command.output().unwrap());
    let ok = format!("8 entries in 1 file, 2 heads signed by {key}, signed up to entry 7: ok\n");
    assert_eq!((offline.text(), offline.status), (ok.as_str(), 0));
    assert!(
        offline.stderr.starts_with("keyward: note: no token is named: whether the end was cut off is not checked\n"),
        "{}",
        offline.stderr
    );
    let mut command = bench.command(crate::bench::KEYWARD);
    command.args(["audit", "verify", "audit.log"]);
    let bare = crate::bench::Done::of("bare", command.output().unwrap());
    assert_eq!((bare.text(), bare.status), ("8 entries in 1 file: ok\n", 0));
    assert_eq!(
        bare.stderr.lines().collect::<Vec<_>>(),
        [
            "keyward: note: no key is given: signatures are not checked, and anyone could have written the log anew",
            "keyward: note: no token is named: whether the end was cut off is not checked",
        ]
    );
}

#[test]
fn what_is_wrong_is_named_with_its_line() {
    let bench = Bench::new();
    write_log(&bench);
    bench.ok("audit init");
    bench.ok("audit anchor audit.log");
    let good = String::from_utf8(bench.read("audit.log")).unwrap();
    let lines: Vec<_> = good.lines().collect();
    let is = |lines: &[&str], told: &str| {
        bench.write("audit.log", lines.iter().map(|line| format!("{line}\n")).collect::<String>());
        let done = bench.run("audit verify audit.log");
        assert_eq!((done.text(), done.status), (format!("audit.log, {told}\n").as_str(), 4));
        let report = json(bench.run("audit verify --json audit.log").text());
        assert_eq!((&report["ok"], report["finding"]["line"].is_u64()), (&Value::Bool(false), true));
    };
    let changed = lines[2].replace("\"pid\":", "\"pid\":9");
    is(
        &[&lines[..2], &[&changed], &lines[3..]].concat(),
        "line 3 (entry 3): changed: its hash is not that of its bytes",
    );
    is(&[&lines[..2], &lines[3..]].concat(), "line 3 (entry 4): removed: entry 3 should be before it and is nowhere");
    is(&[&lines[..3], &lines[2..]].concat(), "line 4 (entry 3): inserted: it is a copy of line 3");
    is(
        &[&lines[..2], &[lines[3], lines[2]], &lines[4..]].concat(),
        "line 3 (entry 4): reordered: entry 3 should be before it and comes later",
    );
    is(&lines[..4], "line 5 (entry 5): cut: the token has seen 7 entries; the last 3 are gone");
    bench.write("audit.log", [&lines[..2], &lines[3..]].concat().join("\n"));
    let shown = bench.run("audit show audit.log");
    assert_eq!(
        shown.stderr,
        "keyward: warning: the chain is broken at audit.log, line 3: nothing from there on can be relied on\n"
    );
    assert_eq!((rows(shown.text()).len(), shown.status), (3, 0));
}

#[test]
fn the_configuration_file_names_the_log() {
    let bench = Bench::new();
    write_log(&bench);
    bench.ok("audit init");
    bench.write("conf", "[audit]\nlog = 'audit.log'\nsign_every = 10\nrotate_bytes = 1500\n");
    assert!(bench.ok("--config conf audit anchor").starts_with("anchored the log "));
    assert_eq!(rows(&bench.ok("--config conf audit show")).len(), 3);
    // The log is longer than a file may be, so what is written next goes into another.
    let report = json(bench.run("--config conf audit verify --json").text());
    assert_eq!((&report["ok"], report["files"].as_array().unwrap().len()), (&Value::Bool(true), 2));
    bench.write("unsigned", "[audit]\nlog = 'audit.log'\nsign = false\n");
    bench.refuses(
        "--config unsigned audit anchor",
        2,
        &["keyward: error: the configuration file says that the audit log is not signed"],
    );
    bench.write("wrong", "[audit]\nsign = true\n");
    bench.refuses(
        "--config wrong audit show",
        2,
        &["keyward: error: configuration file 'wrong', line 1: missing field `log`"],
    );
}

/// A bench with a key, and a configuration whose log is signed and called `db1`.
fn signed_bench() -> Bench {
    let bench = Bench::new();
    bench.ok("key create payments");
    bench.ok("audit init --public audit.pem");
    bench.write("plain", "hello");
    bench.write("keyward.toml", "[audit]\nlog = 'audit.log'\nname = 'db1'\n");
    bench.ok("--config keyward.toml encrypt -k payments plain -o sealed");
    bench.ok("--config keyward.toml decrypt sealed");
    bench.ok("--config keyward.toml audit anchor");
    bench
}

const ENCRYPT: &str = "--config keyward.toml encrypt -k payments plain -o other";

/// What comes after a manipulation: everything is refused with the exit status of evidence.
#[track_caller]
fn assert_refused(bench: &Bench, what: &str) {
    for line in [ENCRYPT, "--config keyward.toml audit anchor", "--config keyward.toml audit verify"] {
        let done = bench.run(line);
        assert_eq!(done.status, 4, "{line}: {} {}", done.text(), done.stderr);
        assert!(done.stderr.contains(what) || done.text().contains(what), "{line}: {} {}", done.text(), done.stderr);
    }
    assert!(!bench.path("other").exists());
}

#[test]
fn a_log_that_is_deleted_or_emptied_is_not_begun_again() {
    let bench = signed_bench();
    let log = bench.read("audit.log");
    bench.write("audit.log", "");
    assert_refused(&bench, "");
    std::fs::remove_file(bench.path("audit.log")).unwrap();
    assert_refused(&bench, "entries");
    bench.write("audit.log", log);
    bench.ok(ENCRYPT);
}

#[test]
fn an_old_copy_is_neither_signed_nor_anchored() {
    let bench = signed_bench();
    let old = bench.read("audit.log");
    bench.ok("--config keyward.toml decrypt sealed");
    bench.ok("--config keyward.toml audit anchor");
    bench.write("audit.log", old);
    assert_refused(&bench, "the token has seen");
}

#[test]
fn a_retired_log_makes_room_for_another() {
    let bench = signed_bench();
    std::fs::remove_file(bench.path("audit.log")).unwrap();
    bench.refuses(
        "audit retire db1",
        2,
        &[
            "keyward: error: nothing is retired: 'db1' was not confirmed",
            "keyward: hint: at a terminal you are asked; in a script, add --yes",
        ],
    );
    let retired = bench.ok("audit retire db1 --yes");
    assert!(retired.starts_with("retired the log 'db1' ("), "{retired}");
    bench.refuses(
        "audit retire db2 --yes",
        2,
        &["keyward: error: cannot retire the audit log 'db2': no token has an anchor of it"],
    );
    bench.ok(ENCRYPT);
    assert!(bench.ok("--config keyward.toml audit verify").ends_with(": ok\n"));
    let first = String::from_utf8(bench.read("audit.log")).unwrap();
    assert!(first.lines().next().unwrap().contains("state retired"), "{first}");
}

#[test]
fn heads_of_a_replaced_key_verify_with_the_token() {
    let bench = signed_bench();
    let made = bench.ok("audit init --rotate --public second.pem");
    assert!(made.starts_with("made the audit key "), "{made}");
    bench.ok(ENCRYPT);
    assert!(bench.ok("--config keyward.toml audit verify").ends_with(": ok\n"));
    let mut command = bench.command(crate::bench::KEYWARD);
    command.args(["audit", "verify", "--public-key", "audit.pem", "--public-key", "second.pem", "audit.log"]);
    let both = crate::bench::Done::of("both", command.output().unwrap());
    assert_eq!(both.status, 0, "{}", both.stderr);
    assert!(!both.stderr.contains("signed by another key"), "{}", both.stderr);
}

#[test]
fn a_log_that_is_not_signed_is_said_to_be_worth_little() {
    let bench = Bench::new();
    bench.ok("key create payments");
    bench.write("keyward.toml", "[audit]\nlog = 'audit.log'\nsign = false\n");
    bench.ok("--config keyward.toml data-key generate --key payments");
    let verified = bench.run("--config keyward.toml audit verify");
    assert_eq!(verified.status, 0, "{}", verified.stderr);
    assert!(verified.stderr.contains("the chain shows accidents alone"), "{}", verified.stderr);
    let doctor = bench.ok("--config keyward.toml doctor");
    assert!(doctor.contains("'audit.log' is not signed"), "{doctor}");
}

#[test]
fn every_sibling_signs_and_keeps_the_anchor() {
    let bench = Bench::new();
    bench.init_token("second");
    let uris = [bench.uri.clone(), bench.uri.replace("token=bench", "token=second")];
    let conf = format!("tokens = {uris:?}\nfailover = 'siblings'\n[audit]\nlog = 'audit.log'\nname = 'db1'\n");
    bench.write("keyward.toml", conf);
    bench.write("plain", "hello");
    let run = |line: &str| {
        let mut command = bench.command(crate::bench::KEYWARD);
        command.args(["--config", "keyward.toml"]).args(line.split(' '));
        crate::bench::Done::of(line, command.output().unwrap())
    };
    let made = run("audit init --public audit.pem").ok();
    assert!(made.starts_with("made the audit keys ") && made.contains(" and "), "{made}");
    run("key create payments").ok();
    run("encrypt -k payments plain -o sealed").ok();
    let verified = run("audit verify");
    assert!(verified.status == 0 && verified.text().contains("anchored at entry"), "{}", verified.stderr);
    // The second token alone knows the first one's key, and has the anchor.
    let mut command = bench.command(crate::bench::KEYWARD);
    command.env("KEYWARD_TOKEN", &uris[1]).args(["audit", "verify", "audit.log", "--name", "db1"]);
    let second = crate::bench::Done::of("second", command.output().unwrap());
    assert_eq!(second.status, 0, "{}{}", second.text(), second.stderr);
    assert!(second.text().contains("anchored at entry"), "{}", second.text());
}
