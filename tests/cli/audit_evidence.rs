//! Every way to manipulate the files of a log on a token, alone and in pairs: each honest command that comes after it
//! exits with the status of evidence, vouches for nothing, and `audit verify` finds it.

use crate::bench::Bench;
use crate::forged_chain::chained;
use keyward::audit::{AuditLog, AuditOptions, Event, Outcome};
use keyward::key::{Operation, Principal};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The files of a log by name.
type Files = BTreeMap<String, Vec<u8>>;

struct Original {
    bench: Bench,
    files: Files,
    /// As they were when the log was anchored before.
    old: Files,
}

fn files(directory: &Path) -> Files {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap())).collect()
}

fn replace(directory: &Path, with: &Files) {
    files(directory).keys().for_each(|name| fs::remove_file(directory.join(name)).unwrap());
    with.iter().for_each(|(name, bytes)| fs::write(directory.join(name), bytes).unwrap());
}

/// All lines, in order.
fn all_lines(directory: &Path) -> Vec<String> {
    let all = files(directory);
    let (current, older): (Vec<_>, Vec<_>) = all.iter().partition(|(name, _)| *name == "audit.log");
    let texts = older.into_iter().chain(current).map(|(_, bytes)| String::from_utf8(bytes.clone()).unwrap());
    texts.flat_map(|text| text.lines().map(ToOwned::to_owned).collect::<Vec<_>>()).collect()
}

fn write_lines(directory: &Path, lines: &[String]) {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    replace(directory, &BTreeMap::from([("audit.log".to_owned(), text.into_bytes())]));
}

impl Original {
    fn new() -> Self {
        let bench = Bench::new();
        bench.ok("key create payments");
        bench.ok("audit init");
        bench.write("plain", "hello");
        fs::create_dir(bench.path("log")).unwrap();
        bench.write(
            "keyward.toml",
            "[audit]\nlog = 'log/audit.log'\nname = 'db1'\nsign_every = 4\nrotate_bytes = 4000\n",
        );
        let run = |line: &str| bench.ok(&format!("--config keyward.toml {line}"));
        run("encrypt -k payments plain -o sealed");
        let mut old = Files::new();
        for round in 0..3 {
            (0..3).for_each(|_| drop(run("decrypt sealed")));
            run("audit anchor");
            if round == 1 {
                old = files(&bench.path("log"));
            }
        }
        run("decrypt sealed");
        let files = files(&bench.path("log"));
        assert!(files.len() > 2, "the log was rotated");
        Self { bench, files, old }
    }

    fn directory(&self) -> std::path::PathBuf {
        self.bench.path("log")
    }

    fn assert_found(&self, case: &str, manipulate: impl Fn(&Path)) {
        replace(&self.directory(), &self.files);
        manipulate(&self.directory());
        let manipulated = files(&self.directory());
        for line in ["encrypt -f -k payments plain -o other", "decrypt sealed", "audit anchor", "audit verify"] {
            let done = self.bench.run(&format!("--config keyward.toml {line}"));
            assert_eq!(done.status, 4, "{case}: {line}: {}{}", done.text(), done.stderr);
            assert!(!done.stderr.is_empty() || !done.text().is_empty(), "{case}: {line} says nothing");
            assert!(files(&self.directory()) == manipulated, "{case}: {line} wrote to it");
        }
        assert!(!self.bench.path("other").exists(), "{case}");
    }
}

type Manipulation = (&'static str, fn(&Original, &Path));

const MANIPULATIONS: [Manipulation; 10] = [
    ("replayed", |original, directory| replace(directory, &original.old)),
    ("cut", |_, directory| {
        let lines = all_lines(directory);
        write_lines(directory, &lines[..lines.len() / 2]);
    }),
    ("cut to its first line", |_, directory| {
        let lines = all_lines(directory);
        write_lines(directory, &lines[..lines.len().min(1)]);
    }),
    ("rewritten without heads", |_, directory| {
        let mut lines = all_lines(directory);
        lines.retain(|line| !line.contains("\"kind\":\"head\"") && !line.contains("\"kind\":\"outcome\""));
        write_lines(directory, &chained(&lines, false));
    }),
    ("rewritten with its heads", |_, directory| {
        let mut lines = all_lines(directory);
        lines.iter_mut().for_each(|line| *line = line.replace("Unwrap", "Rewrap"));
        write_lines(directory, &chained(&lines, true));
    }),
    ("reordered", |_, directory| {
        let mut lines = all_lines(directory);
        if lines.len() > 6 {
            lines.swap(3, 4);
        }
        write_lines(directory, &chained(&lines, true));
    }),
    ("deleted", |_, directory| replace(directory, &Files::new())),
    ("emptied", |_, directory| replace(directory, &BTreeMap::from([("audit.log".to_owned(), Vec::new())]))),
    ("begun again", |_, directory| begin(directory, "db1")),
    ("begun again under another name", |_, directory| begin(directory, "db2")),
];

fn begin(directory: &Path, name: &str) {
    replace(directory, &Files::new());
    let options = AuditOptions::default().name(name.parse().unwrap());
    let log = AuditLog::open(&directory.join("audit.log"), options).unwrap();
    let alice = Principal::new("alice").unwrap();
    for _ in 0..20 {
        log.begin(Event::new(Operation::Unwrap, &alice)).unwrap().finish(Outcome::of(&Ok(())));
    }
    log.close().unwrap();
}

#[test]
fn honest_commands_find_every_manipulation_and_every_pair() {
    let original = Original::new();
    for (first, one) in MANIPULATIONS {
        original.assert_found(first, |directory| one(&original, directory));
        // Reordered twice, it is as it was.
        for (second, other) in MANIPULATIONS.into_iter().filter(|(second, _)| *second != first) {
            original.assert_found(&format!("{first}, then {second}"), |directory| {
                one(&original, directory);
                other(&original, directory);
            });
        }
    }
    // Nothing was vouched for meanwhile: the log that was put aside is still the one that the token knows.
    replace(&original.directory(), &original.files);
    original.bench.ok("--config keyward.toml encrypt -k payments plain -o other");
    assert!(original.bench.ok("--config keyward.toml audit verify").ends_with(": ok\n"));
}
