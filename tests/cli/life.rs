//! Rotation when it is due, destruction now and later, managed keys.

use crate::bench::{Bench, Done, PIN};
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::process::Stdio;

pub(crate) fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Runs OpenSC's tool on the token, logged in.
pub(crate) fn tool(bench: &Bench, args: &[&str]) -> String {
    let mut command = bench.command("pkcs11-tool");
    command.arg("--module").arg(&bench.module).args(["--token-label", "bench", "--login", "--pin", PIN]).args(args);
    let output = command.output().expect("pkcs11-tool is missing; install opensc");
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Writes the record of a key version anew, changed.
pub(crate) fn rewrite(bench: &Bench, label: &str, change: impl Fn(&str) -> String) {
    let object = ["--type", "data", "--label", label, "--application-label", "keyward"];
    let text = tool(bench, &[&["--read-object"], &object[..]].concat());
    tool(bench, &[&["--delete-object"], &object[..]].concat());
    write_record(bench, label, &change(&text));
}

pub(crate) fn write_record(bench: &Bench, label: &str, text: &str) {
    let file = bench.work().parent().unwrap().join("record");
    fs::write(&file, text).unwrap();
    let file = file.display().to_string();
    let object = ["--type", "data", "--label", label, "--application-label", "keyward", "--private"];
    tool(bench, &[&["--write-object", &file], &object[..]].concat());
}

/// Lets a key version have been made in 2001.
pub(crate) fn age(bench: &Bench, label: &str) {
    rewrite(bench, label, |text| {
        text.lines()
            .map(|line| if line.starts_with("created ") { "created 1000000000\n".into() } else { format!("{line}\n") })
            .collect()
    });
}

fn states(bench: &Bench) -> Vec<(String, String)> {
    let keys = json(&bench.ok("key list --json"));
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
    let key = |key: &Value| (format!("{}:{}", text(&key["name"]), key["version"]), text(&key["state"]));
    keys.as_array().unwrap().iter().map(key).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(label, state)| ((*label).to_owned(), (*state).to_owned())).collect()
}

#[test]
fn a_key_is_rotated_when_it_is_due() {
    let bench = Bench::new();
    bench.ok("key create k");
    let not_yet = bench.ok("key rotate k --if-older-than 90d");
    assert!(not_yet.starts_with("not due: k:1 is ") && not_yet.ends_with(" old\n"), "{not_yet}");
    age(&bench, "k:1");
    let rotated = bench.ok("key rotate k --if-older-than 90d");
    assert!(rotated.starts_with("rotated; current is k:2 (aes-gcm, active, KEK id "), "{rotated}");
    let again = json(&bench.ok("key rotate k --if-older-than 90d --json"));
    assert_eq!((&again["rotated"], &again["version"]), (&false.into(), &2.into()));
    assert_eq!(states(&bench), pairs(&[("k:1", "retired"), ("k:2", "active")]));
    bench.refuses(
        "key rotate k --if-older-than 90",
        2,
        &[
            "keyward: error: invalid value '90' for '--if-older-than <TIME>': '90' is not a span of time",
            "keyward: hint: write a whole number and its unit, as in 90d, 12h, 30m, 45s or 2w",
        ],
    );
    tool(&bench, &["--keygen", "--key-type", "AES:32", "--label", "old", "--id", "aa", "--private", "--sensitive"]);
    bench.refuses(
        "key rotate old --if-older-than 1d",
        1,
        &[
            "keyward: error: when key 'old:1' was made is not recorded",
            "keyward: hint: rotate it whatever its age with `keyward key rotate old`; `keyward key adopt` records the keys of other tools",
        ],
    );
}

#[test]
fn a_destruction_is_scheduled_cancelled_and_done() {
    let bench = Bench::new();
    bench.ok("key create k");
    bench.write("plain", "hello");
    bench.ok("encrypt --key k plain -o sealed");
    let told = bench.ok("key destroy k:1 --after 7d --yes");
    assert!(told.starts_with("scheduled k:1 (disabled, KEK id "), "{told}");
    assert!(told.contains("); `keyward key expire` destroys it after 20"), "{told}");
    let due = json(&bench.ok("key show k:1 --json"))[0]["destroy_after"].as_str().unwrap().to_owned();
    assert!(bench.ok("key list").contains(&format!("destroy after {due}")));
    assert!(bench.ok("key show k").contains(&format!("destroy after  {due}")));
    assert_eq!(bench.ok("key expire"), format!("nothing is due; next is k:1 after {due}\n"));
    assert_eq!(bench.run("decrypt sealed").status, 1);
    bench.ok("key enable k:1");
    assert_eq!(bench.ok("decrypt sealed"), "hello");
    assert_eq!(bench.ok("key expire"), "nothing is due\n");

    bench.ok("key rotate k");
    bench.ok("key destroy k:1 --after 1s --yes");
    rewrite(&bench, "k:1", due_long_ago);
    let would = bench.ok("key expire --dry-run");
    assert!(would.starts_with("would destroy k:1 (KEK id ") && would.ends_with("), due since 2001-09-09T01:46:40Z\n"));
    assert_eq!(states(&bench), pairs(&[("k:1", "disabled"), ("k:2", "active")]));
    let done = bench.ok("key expire");
    assert!(done.starts_with("destroyed k:1 (KEK id "), "{done}");
    assert_eq!(states(&bench), pairs(&[("k:2", "active")]));
    assert_eq!(bench.ok("key expire --json"), "[]\n");
    bench.refuses(
        "key destroy k:1 --after 1d --yes",
        1,
        &["keyward: error: there is no key 'k:1'", "keyward: hint: `keyward key list` shows the keys of the token"],
    );
}

fn due_long_ago(text: &str) -> String {
    text.lines()
        .map(|line| match line.split_once(' ') {
            Some(("created", _)) => "created 999999999\n".to_owned(),
            Some(("destroy-after", _)) => "destroy-after 1000000000\n".to_owned(),
            _ => format!("{line}\n"),
        })
        .collect()
}

/// Runs a command line at a terminal of its own, and types a line.
fn at_a_terminal(bench: &Bench, line: &str, typed: &str) -> (bool, String) {
    let mut command = bench.command("script");
    command.args(["-qec", &format!("{} {line}", crate::bench::KEYWARD), "/dev/null"]).env("KEYWARD_TOKEN", &bench.uri);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("script, of util-linux");
    child.stdin.take().unwrap().write_all(format!("{typed}\n").as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.success(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn the_name_is_asked_for_again() {
    let bench = Bench::new();
    bench.ok("key create k");
    for typed in ["", "k", "k:2", "yes"] {
        let (done, told) = at_a_terminal(&bench, "key destroy k:1", typed);
        assert!(!done && told.contains(&format!("nothing is destroyed: '{typed}' is not 'k:1'")), "{told}");
    }
    assert_eq!(states(&bench), pairs(&[("k:1", "active")]));
    let (done, told) = at_a_terminal(&bench, "key destroy k:1 --after 7d", "k:1");
    assert!(done && told.contains("Type k:1 to destroy it: "), "{told}");
    assert_eq!(states(&bench), pairs(&[("k:1", "disabled")]));
    let (done, told) = at_a_terminal(&bench, "key destroy k:1", "k:1");
    assert!(done && told.contains("files that 'k:1' alone protects can never be read again"), "{told}");
    assert_eq!(states(&bench), []);
}

#[test]
fn expiry_goes_on_past_what_is_in_use_and_says_so() {
    let bench = Bench::new();
    for name in ["a", "b"] {
        bench.ok(&format!("key create {name}"));
        bench.ok(&format!("key destroy {name}:1 --after 1s --yes"));
        rewrite(&bench, &format!("{name}:1"), due_long_ago);
    }
    // Enabled past Keyward: the date is there still.
    let id = json(&bench.ok("key show a:1 --json"))[0]["kek_id"].as_str().unwrap().to_owned();
    bench.ok("key enable a:1");
    rewrite(&bench, "a:1", |text| text.replace("canary ", "destroy-after 1000000000\ncanary "));
    for line in ["key expire --dry-run", "key expire"] {
        let done = bench.run(line);
        assert_eq!(done.status, 1);
        let error = format!("keyward: error: key 'a:1' is not destroyed: that with KEK id {id} is active\n");
        assert_eq!(done.stderr, error);
        let word = if line.ends_with("run") { "would destroy" } else { "destroyed" };
        assert!(done.text().starts_with(&format!("{word} b:1 ")), "{}", done.text());
    }
    assert_eq!(states(&bench), pairs(&[("a:1", "active")]));
    let found = bench.run("key expire --json");
    assert_eq!(found.status, 1);
    let found = json(found.text());
    assert_eq!((&found[0]["key"], &found[0]["outcome"]), (&"a:1".into(), &"failed".into()));
}

#[test]
fn expiry_does_not_believe_a_clock_that_is_behind_the_records() {
    let bench = Bench::new();
    bench.ok("key create k");
    bench.ok("key destroy k:1 --after 1s --yes");
    rewrite(&bench, "k:1", due_long_ago);
    bench.ok("key create later");
    rewrite(&bench, "later:1", |text| {
        text.lines()
            .map(|line| if line.starts_with("created ") { "created 9000000000\n".into() } else { format!("{line}\n") })
            .collect()
    });
    let done = bench.run("key expire");
    assert_eq!(done.status, 1);
    assert!(done.stderr.starts_with("keyward: error: nothing is destroyed: by the clock of this host it is 20"));
    assert!(done.stderr.contains("and key 'later:1' was made later, 2255-03-14T16:00:00Z\n"), "{}", done.stderr);
    assert!(done.stderr.ends_with("keyward: hint: set the clock, and try again\n"));
    assert_eq!(states(&bench).len(), 2);
}

#[test]
fn what_is_used_in_a_directory_is_not_destroyed() {
    let bench = Bench::new();
    bench.ok("key create k");
    bench.ok("key create other");
    fs::create_dir_all(bench.path("store/deep")).unwrap();
    bench.write("plain", "hello");
    bench.write("store/not-an-envelope", "hello");
    bench.write("store/short", "\u{89}");
    for name in ["a", "b", "c", "deep/d"] {
        bench.ok(&format!("encrypt --key k,other plain -o store/{name}.kw"));
    }
    bench.ok("encrypt --key other plain -o store/other.kw");
    std::os::unix::fs::symlink("a.kw", bench.path("store/link")).unwrap();
    let refused = |line: &str, error: &str, hint: &str| {
        let (error, hint) =
            (format!("keyward: error: nothing is destroyed: {error}"), format!("keyward: hint: {hint}"));
        bench.refuses(line, 1, &["keyward: note: not followed: 1 symbolic link", &error, &hint]);
    };
    refused(
        "key destroy k:1 --yes --used-in store",
        "4 files are under 'k:1': store/a.kw, store/b.kw, store/c.kw and 1 more",
        "`keyward key rotate k`, then `keyward rewrap --key k FILE…` moves them to the current version",
    );
    bench.ok("key rotate k");
    bench.ok("rewrap --key k store/a.kw store/b.kw store/c.kw");
    for after in ["", " --after 1d"] {
        refused(
            &format!("key destroy k:1 --yes --used-in store{after}"),
            "1 file is under 'k:1': store/deep/d.kw",
            "`keyward rewrap --key k FILE…` moves them to the current version",
        );
    }
    bench.ok("rewrap --key k store/deep/d.kw");

    // What cannot be told counts as found.
    let sealed = bench.read("store/a.kw");
    bench.write("store/deep/cut.kw", &sealed[..40]);
    refused(
        "key destroy k:1 --yes --used-in store --used-in nowhere",
        "of 2 paths it cannot be told whether 'k:1' is needed: \
         store/deep/cut.kw (truncated: the file ends within the envelope's header), \
         nowhere (No such file or directory (os error 2))",
        "make them readable, or move them away, and try again",
    );
    assert_eq!(states(&bench).len(), 3);
    fs::remove_file(bench.path("store/deep/cut.kw")).unwrap();
    // A link that is named is followed, and a file may be named as well.
    std::os::unix::fs::symlink("store", bench.path("way")).unwrap();
    assert_eq!(bench.run("key destroy k:2 --yes --used-in way").status, 1);
    assert_eq!(bench.run("key destroy k:2 --yes --used-in store/a.kw").status, 1);
    let destroyed = bench.ok("key destroy k:1 --yes --used-in store -q");
    assert!(destroyed.ends_with("; a search for it finds nothing\n"), "{destroyed}");
}

#[test]
fn managed_keys_are_left_alone_unless_they_are_meant() {
    let bench = Bench::new();
    bench.write("plain", "hello");
    let made = bench.run("encrypt plain -o sealed");
    assert_eq!(made.stderr, "keyward: note: made the managed default key keyward/default:1 (aes-gcm)\n");
    assert_eq!(bench.run("encrypt plain -o again").stderr, "");
    assert_eq!(bench.ok("decrypt sealed"), "hello");
    let hint = "keyward: hint: it protects what was encrypted without --key; add --managed where you mean it";
    for (line, what) in [
        ("key disable keyward/default:1", "disabled"),
        ("key destroy keyward/default:1 --yes", "destroyed"),
        ("key destroy keyward/default:1 --yes --after 7d", "destroyed"),
        ("key public keyward/default", "exported"),
    ] {
        let error = format!("keyward: error: 'keyward/default' is a managed key and is not {what}");
        bench.refuses(line, 2, &[&error, hint]);
    }
    for line in ["key create keyward/mine", "key adopt keyward/mine", "key adopt keyward/mine:1"] {
        bench.refuses(
            line,
            2,
            &[
                "keyward: error: 'keyward/mine' is the name of a managed key, which is made on first use",
                "keyward: hint: choose a name that does not begin with keyward/, or add --managed where you mean it",
            ],
        );
    }
    bench.ok("key rotate keyward/default");
    assert_eq!(bench.ok("decrypt sealed"), "hello");
    bench.ok("key disable keyward/default:1 --managed");
    bench.ok("key enable keyward/default:1");
    bench.ok("key destroy keyward/default:1 --managed --yes");
    bench.ok("key create keyward/mine --managed");
    assert_eq!(states(&bench), pairs(&[("keyward/default:2", "active"), ("keyward/mine:1", "active")]));

    bench.write("keyward.toml", "keys = ['k']\n");
    bench.refuses(
        "--config keyward.toml encrypt plain -o third",
        1,
        &[
            "keyward: error: key 'keyward/default' is not among the keys that the configuration file allows",
            "keyward: hint: name a key with --key, or add \"keyward/default\" to the file's list of keys",
        ],
    );
}

#[test]
fn eight_processes_share_one_managed_key() {
    let bench = Bench::new();
    bench.write("plain", "hello");
    let children: Vec<_> = (0..8)
        .map(|at| {
            let mut command = bench.keyward(["encrypt", "plain", "-o", &format!("sealed-{at}")]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let told: Vec<_> =
        children.into_iter().map(|child| Done::of("encrypt", child.wait_with_output().unwrap())).collect();
    assert_eq!(told.iter().filter(|done| done.stderr.contains("made the managed default key")).count(), 1);
    for done in told {
        done.ok();
    }
    assert_eq!(states(&bench), pairs(&[("keyward/default:1", "active")]));
    for at in 0..8 {
        assert_eq!(bench.ok(&format!("decrypt sealed-{at}")), "hello");
    }
}
