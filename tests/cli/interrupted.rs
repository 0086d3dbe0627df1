//! Rotations by several processes at once, and by one that is killed half way: what the doctor says then, and
//! that what it says to do helps.

use crate::bench::{Bench, Done};
use crate::life::{age, json};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

fn keys(bench: &Bench) -> Vec<Value> {
    json(&bench.ok("key list --json")).as_array().unwrap().clone()
}

/// Versions without gaps, none of them twice, and the newest alone may protect.
#[track_caller]
fn assert_in_order(bench: &Bench, versions: usize) {
    let keys = keys(bench);
    let found: Vec<_> =
        keys.iter().map(|key| (key["version"].as_u64().unwrap(), key["state"].as_str().unwrap())).collect();
    let expected: Vec<_> = (1..=versions as u64)
        .map(|version| (version, if version == versions as u64 { "active" } else { "retired" }))
        .collect();
    assert_eq!(found, expected);
    assert!(keys.iter().all(|key| key["problems"] == Value::Array(Vec::new())), "{keys:?}");
    assert_eq!(bench.run("doctor --json").status, 0);
}

fn at_once(bench: &Bench, line: &str, processes: usize) -> Vec<Done> {
    let children: Vec<_> = (0..processes)
        .map(|_| {
            let mut command = bench.keyward(line.split(' '));
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    children.into_iter().map(|child| Done::of(line, child.wait_with_output().unwrap())).collect()
}

#[test]
fn processes_that_rotate_a_key_which_is_due_make_one_version() {
    let bench = Bench::new();
    bench.ok("key create k");
    for round in 1..=5 {
        age(&bench, &format!("k:{round}"));
        let mut rotated = 0;
        for done in at_once(&bench, "key rotate k --if-older-than 90d", 8) {
            let told = done.ok();
            match told.starts_with(&format!("rotated; current is k:{} ", round + 1)) {
                true => rotated += 1,
                false => assert!(told.starts_with(&format!("not due: k:{} is ", round + 1)), "{told}"),
            }
        }
        assert_eq!(rotated, 1);
        assert_in_order(&bench, round + 1);
    }
}

#[test]
fn processes_that_rotate_whatever_the_age_never_make_one_version_twice() {
    let bench = Bench::new();
    bench.ok("key create k");
    let mut versions = 1;
    for _ in 0..5 {
        for done in at_once(&bench, "key rotate k", 8) {
            match done.status {
                0 => versions += 1,
                _ => {
                    let lines: Vec<_> = done.stderr.lines().collect();
                    assert!(
                        lines[0].starts_with("keyward: error: another has rotated key 'k' at the same moment: 'k:"),
                        "{lines:?}"
                    );
                    assert_eq!(
                        lines[1],
                        "keyward: hint: `keyward key list` shows it; rotate again only where two new versions are wanted"
                    );
                    assert_eq!((done.status, lines.len()), (1, 2));
                }
            }
        }
        assert_in_order(&bench, versions);
    }
}

/// Rotates through a module in which `hangs` hangs, kills the process there, and gives the bench.
fn killed(hangs: &str, after: &str) -> Bench {
    let built = std::env::current_exe().unwrap();
    let built = built.ancestors().nth(2).unwrap().join("libkeyward_fault.so");
    assert!(built.exists(), "'{}' is not built: cargo build -p keyward-fault", built.display());
    let bench = Bench::new();
    bench.write("plain", "hello");
    bench.ok("key create k");
    bench.ok("encrypt --key k plain -o sealed");
    let place: PathBuf = bench.work().parent().unwrap().to_owned();
    let module = place.join("libsofthsm2-fault.so");
    fs::copy(built, &module).unwrap();
    fs::write(place.join("libsofthsm2-fault.so.script"), format!("{hangs} hang\n* * log\n")).unwrap();
    let uri = bench.uri.replace(&bench.module.display().to_string(), &module.display().to_string());
    let mut command = bench.keyward(["--token", &uri, "key", "rotate", "k"]);
    command.env("KEYWARD_FAULT_MODULE", &bench.module).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    // What changed the token last has been answered.
    let (function, times) = after.split_once(' ').unwrap();
    let log = place.join("libsofthsm2-fault.so.log");
    let began = Instant::now();
    let answered = || {
        let text = fs::read_to_string(&log).unwrap_or_default();
        text.lines().filter(|line| *line == format!("{function} CKR_OK")).count().to_string()
    };
    while answered() != times {
        assert!(child.try_wait().unwrap().is_none() && began.elapsed() < Duration::from_secs(20), "{hangs}: {after}");
        std::thread::sleep(Duration::from_millis(2));
    }
    // SIGKILL: nothing is cleared up.
    child.kill().unwrap();
    child.wait().unwrap();
    bench
}

/// The names of what the doctor warns of, and what it says to do.
fn warnings(bench: &Bench) -> Vec<(String, String)> {
    let done = bench.run("doctor --json");
    assert_eq!(done.status, 0, "{}", done.text());
    let found = json(done.text());
    let checks = found["tokens"][0]["checks"].as_array().unwrap();
    let bad = checks.iter().filter(|check| check["status"] != "ok");
    bad.map(|check| (check["name"].as_str().unwrap().into(), check["remedy"].as_str().unwrap().into())).collect()
}

#[track_caller]
fn assert_warns_of(bench: &Bench, names: &[&str]) {
    let found = warnings(bench);
    assert_eq!(found.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), names, "{found:?}");
}

/// The doctor repairs it, and the key is as if nothing had been.
#[track_caller]
fn assert_repaired(bench: &Bench, versions: usize) {
    assert!(warnings(bench).iter().all(|(_, remedy)| remedy.contains("`keyward doctor --repair`")));
    assert!(bench.ok("doctor --repair").contains("  ok       repaired "));
    assert_warns_of(bench, &[]);
    assert_in_order(bench, versions);
    assert_eq!(bench.ok("decrypt sealed"), "hello");
    bench.ok("key rotate k");
    assert_in_order(bench, versions + 1);
}

#[test]
fn killed_before_the_key_is_made() {
    let bench = killed("C_GenerateKey 1", "C_CreateObject 1");
    assert_warns_of(&bench, &["record"]);
    assert_repaired(&bench, 1);
}

#[test]
fn killed_before_the_key_is_enabled() {
    let bench = killed("C_SetAttributeValue 1", "C_GenerateKey 1");
    assert_warns_of(&bench, &["unfinished"]);
    // Nothing stands still meanwhile.
    bench.ok("encrypt --key k plain -o other");
    assert_repaired(&bench, 1);
}

#[test]
fn killed_before_the_key_is_finished() {
    let bench = killed("C_CreateObject 2", "C_SetAttributeValue 1");
    assert_warns_of(&bench, &["unfinished"]);
    assert_repaired(&bench, 1);
}

#[test]
fn killed_before_the_old_record_is_destroyed() {
    let bench = killed("C_DestroyObject 1", "C_CreateObject 2");
    assert_warns_of(&bench, &["still-active", "record"]);
    bench.ok("encrypt --key k plain -o other");
    assert_repaired(&bench, 2);
}

#[test]
fn killed_before_the_old_version_is_retired() {
    let bench = killed("C_SetAttributeValue 2", "C_DestroyObject 1");
    assert_warns_of(&bench, &["still-active"]);
    let remedy = warnings(&bench)[0].1.clone();
    assert!(remedy.starts_with("`keyward key enable k:1` "), "{remedy}");
    bench.ok("key enable k:1");
    assert_warns_of(&bench, &[]);
    assert_in_order(&bench, 2);
    assert_eq!(bench.ok("decrypt sealed"), "hello");
}

#[test]
fn the_next_rotation_goes_past_what_was_left() {
    for (hangs, after) in [
        ("C_GenerateKey 1", "C_CreateObject 1"),
        ("C_CreateObject 2", "C_SetAttributeValue 1"),
        ("C_SetAttributeValue 2", "C_DestroyObject 1"),
    ] {
        let bench = killed(hangs, after);
        let before = keys(&bench).iter().filter(|key| key["state"] != "pending").count();
        bench.ok("key rotate k");
        let states: Vec<_> = keys(&bench).iter().map(|key| key["state"].as_str().unwrap().to_owned()).collect();
        assert_eq!((states.len(), states.last().unwrap().as_str()), (before + 1, "active"), "{hangs}");
        assert!(states[..before].iter().all(|state| state == "retired"), "{hangs}: {states:?}");
    }
}
