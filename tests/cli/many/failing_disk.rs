//! A disk that fails: errors injected into the system calls of the real binary. Whatever fails, every original and
//! every finished output is whole, nothing half done bears a name, and another run completes the work.

use super::{bench, sealed, tree};
use crate::bench::{Bench, KEYWARD, sample};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

/// Which calls fail, and how.
const FAULTS: &[(&str, &str)] = &[
    ("write", "ENOSPC"),
    ("write", "EIO"),
    ("pwrite64", "EIO"),
    ("fsync", "EIO"),
    ("fdatasync", "EIO"),
    ("syncfs", "EIO"),
    ("rename,renameat,renameat2", "EIO"),
    ("read", "EIO"),
    ("pread64", "EIO"),
];

/// How many of the calls of one sort fail, each in a run of its own.
const MOMENTS: usize = 3;

fn plant(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for (at, len) in [100, 5000, 40_000, 3 << 20].into_iter().enumerate() {
        let name = PathBuf::from(format!("d{}/f{at}", at % 2));
        fs::create_dir_all(root.join(&name).parent().unwrap()).unwrap();
        fs::write(root.join(&name), sample(len)).unwrap();
        files.insert(name, sample(len));
    }
    files
}

/// Runs a command line under strace. What is injected into a file of the token is not what is tested here: SoftHSM
/// writes its files anew, not as a whole, and they are put back.
fn traced(bench: &Bench, options: &[&str], line: &str) -> Output {
    let place = bench.work().parent().unwrap().to_owned();
    let (tokens, saved) = (place.join("tokens"), place.join("saved"));
    assert!(bench.command("cp").arg("-r").args([&tokens, &saved]).status().unwrap().success());
    let mut command = bench.command("strace");
    command.args(["-f", "-y", "-o", "../trace"]).args(options).arg(KEYWARD).args(line.split(' '));
    let output = command.env("KEYWARD_TOKEN", &bench.uri).output();
    fs::remove_dir_all(&tokens).unwrap();
    fs::rename(&saved, &tokens).unwrap();
    output.expect("strace is missing; softhsm/install strace")
}

/// The calls in the trace that touch the working directory, each with how many of its sort its thread had made by then.
fn calls(bench: &Bench) -> Vec<(usize, String)> {
    let trace = fs::read_to_string(bench.work().parent().unwrap().join("trace")).unwrap();
    let work = bench.work().display().to_string();
    let mut made: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut found = Vec::new();
    for line in trace.lines().filter(|line| !line.contains("resumed>")) {
        let Some((thread, call)) = line.split_once(' ') else { continue };
        let Some((name, _)) = call.trim_start().split_once('(') else { continue };
        let at = made.entry((thread, name)).or_default();
        *at += 1;
        if line.contains(&work) || name.starts_with("rename") && line.contains(".keyward-tmp") {
            found.push((*at, line.to_owned()));
        }
    }
    found
}

/// Some of the numbers, from first to last.
fn spread(numbers: &BTreeSet<usize>) -> Vec<usize> {
    let all: Vec<_> = numbers.iter().copied().collect();
    let some = MOMENTS.min(all.len());
    let places: BTreeSet<_> = (0..some).map(|at| at * (all.len() - 1) / (some - 1).max(1)).collect();
    places.into_iter().map(|at| all[at]).collect()
}

/// Runs `line` with each fault at several moments. `before` makes what a run finds, `check` looks at what it leaves.
fn with_faults(bench: &Bench, line: &str, before: impl Fn(), check: impl Fn(&str)) {
    let mut hit = 0;
    for (calls_that_fail, error) in FAULTS {
        before();
        let trace = format!("trace={calls_that_fail}");
        let whole = traced(bench, &["-e", &trace], line);
        assert!(whole.status.success(), "{line}: {}", String::from_utf8_lossy(&whole.stderr));
        let numbers: BTreeSet<_> = calls(bench).into_iter().map(|(at, _)| at).collect();
        for at in spread(&numbers) {
            before();
            let inject = format!("inject={calls_that_fail}:error={error}:when={at}");
            let output = traced(bench, &["-e", &trace, "-e", &inject], line);
            let what = format!("{line}: {inject}: {}", String::from_utf8_lossy(&output.stderr));
            let struck = calls(bench).iter().filter(|(_, call)| call.contains("(INJECTED)")).count();
            // What the reports of `rewrap -r` read afterwards is no part of the work.
            if struck > 0 && !(line.starts_with("rewrap") && calls_that_fail.contains("read")) {
                assert!(!output.status.success(), "a failure is not told: {what}");
            }
            hit += struck;
            check(&what);
            bench.ok(line);
            check(&what);
        }
    }
    assert!(hit >= 8, "{line}: {hit} calls failed");
}

fn without_temporaries(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = if root.exists() { tree(root) } else { BTreeMap::new() };
    files.retain(|name, _| !name.to_str().unwrap().ends_with(".keyward-tmp"));
    files
}

fn remove(path: PathBuf) {
    let _ = fs::remove_dir_all(path);
}

/// Everything below `s` opens to what it was.
fn opens(bench: &Bench, files: &BTreeMap<PathBuf, Vec<u8>>, all: bool, what: &str) {
    let outputs = without_temporaries(&bench.path("s"));
    assert!(outputs.keys().all(|name| files.keys().any(|file| sealed(file) == *name)), "{what}");
    assert!(!all || outputs.len() == files.len(), "{what}");
    if outputs.is_empty() {
        return;
    }
    remove(bench.path("opened"));
    bench.ok("decrypt -q -r s/. --output-dir opened");
    let opened = tree(&bench.path("opened"));
    assert_eq!(opened.len(), outputs.len(), "{what}");
    assert!(opened.iter().all(|(name, content)| files[name] == *content), "{what}");
}

#[test]
fn encryption() {
    let bench = bench();
    let files = plant(&bench.path("t"));
    let line = "encrypt -q --key k -r t/. --output-dir s --jobs 2";
    let check = |what: &str| {
        assert!(tree(&bench.path("t")) == files, "an original has changed: {what}");
        opens(&bench, &files, false, what);
    };
    with_faults(&bench, line, || remove(bench.path("s")), check);
    opens(&bench, &files, true, line);
}

#[test]
fn decryption() {
    let bench = bench();
    let files = plant(&bench.path("t"));
    bench.ok("encrypt -q --key k -r t/. --output-dir s");
    let envelopes = tree(&bench.path("s"));
    let check = |what: &str| {
        assert!(tree(&bench.path("s")) == envelopes, "an original has changed: {what}");
        let outputs = without_temporaries(&bench.path("back"));
        assert!(outputs.iter().all(|(name, content)| files[name] == *content), "{what}");
    };
    with_faults(&bench, "decrypt -q -r s/. --output-dir back --jobs 2", || remove(bench.path("back")), check);
    assert!(tree(&bench.path("back")) == files);
}

/// Commands that change files where they are.
fn in_place(command: &str) {
    let bench = bench();
    let files = plant(&bench.path("t"));
    bench.ok("encrypt -q --key k -r t/. --output-dir old");
    bench.ok("key rotate k");
    let before = || {
        remove(bench.path("s"));
        assert!(bench.command("cp").args(["-a", "old", "s"]).status().unwrap().success());
    };
    let check = |what: &str| opens(&bench, &files, true, what);
    with_faults(&bench, &format!("{command} -q -r s --jobs 2"), before, check);
}

#[test]
fn rewrapping() {
    in_place("rewrap");
}

#[test]
fn rewrapping_of_copies() {
    in_place("rewrap --copy");
}

#[test]
fn reencryption() {
    in_place("reencrypt");
}

#[test]
fn single_files() {
    let bench = bench();
    bench.write("plain", sample(3 << 20));
    let remove = |name: &str| drop(fs::remove_file(bench.path(name)));
    let check = |what: &str| {
        assert!(bench.read("plain") == sample(3 << 20), "{what}");
        if bench.path("sealed").exists() {
            assert!(bench.run("decrypt sealed").bytes() == sample(3 << 20), "{what}");
        }
        // What fails by itself leaves nothing behind.
        assert!(bench.files().iter().all(|(name, _)| ["plain", "sealed", "back"].contains(&&**name)), "{what}");
    };
    with_faults(&bench, "encrypt -q --key k plain -o sealed --force", || remove("sealed"), check);
    let back = |what: &str| {
        check(what);
        if bench.path("back").exists() {
            assert!(bench.read("back") == sample(3 << 20), "{what}");
        }
    };
    with_faults(&bench, "decrypt -q sealed -o back --force", || remove("back"), back);
}
