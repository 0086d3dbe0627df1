//! Every way to manipulate the files of a log, alone and in pairs, and the honest commands that come after it: each of
//! them finds it, nothing is signed or anchored any more, and verifying finds it too.

use crate::forged_chain::chained;
use crate::{FakeKeeper, event, lines, never, operate, text};
use keyward::ErrorKind;
use keyward::audit::{AuditLog, AuditOptions, LogName, Report, Verify};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tempfile::TempDir;

/// The files of a log by name.
type Files = BTreeMap<String, Vec<u8>>;

/// A log of several files that was anchored three times, with lines after the last anchor.
struct Original {
    files: Files,
    /// As they were when it was anchored before.
    old: Files,
    /// The anchors on the token.
    anchors: Vec<String>,
}

/// A copy of it that a test may change.
struct Copy {
    directory: TempDir,
    keeper: Arc<FakeKeeper>,
}

fn name() -> LogName {
    "db1".parse().unwrap()
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
    let (current, older): (Vec<_>, Vec<_>) = all.keys().partition(|name| *name == "audit.log");
    older.into_iter().chain(current).flat_map(|name| lines(&directory.join(name))).collect()
}

/// Puts these lines into one file.
fn write_lines(directory: &Path, lines: &[String]) {
    replace(directory, &BTreeMap::from([("audit.log".to_owned(), text(lines).into_bytes())]));
}

impl Original {
    fn new() -> Self {
        let copy = Copy { directory: tempfile::tempdir().unwrap(), keeper: Arc::new(FakeKeeper::new(1)) };
        let log = copy.open().unwrap();
        let mut old = Files::new();
        for round in 0..3 {
            for _ in 0..5 {
                operate(&log);
                log.flush().unwrap();
            }
            log.anchor().unwrap();
            if round == 1 {
                old = files(copy.directory.path());
            }
        }
        operate(&log);
        log.close().unwrap();
        drop(log);
        assert_eq!(copy.verify().finding, None);
        assert!(files(copy.directory.path()).len() > 3);
        Self { files: files(copy.directory.path()), old, anchors: copy.keeper.texts() }
    }

    fn copy(&self) -> Copy {
        let copy = Copy { directory: tempfile::tempdir().unwrap(), keeper: Arc::new(FakeKeeper::new(1)) };
        replace(copy.directory.path(), &self.files);
        self.anchors.iter().for_each(|text| copy.keeper.plant(name().as_str(), text));
        copy
    }
}

impl Copy {
    fn path(&self) -> PathBuf {
        self.directory.path().join("audit.log")
    }

    fn options(&self) -> AuditOptions {
        never().sign_every(4).rotate_at(4000).name(name()).keeper(self.keeper.clone())
    }

    fn open(&self) -> keyward::Result<AuditLog> {
        AuditLog::open(&self.path(), self.options())
    }

    fn verify(&self) -> Report {
        Verify::new(self.path()).name(name()).keeper(&*self.keeper).unwrap().run().unwrap()
    }

    /// What honest commands leave where an attacker has nothing to gain: anchors, and how often was signed.
    fn vouched(&self) -> (Vec<String>, u64) {
        (self.keeper.texts(), self.keeper.signed.load(Ordering::SeqCst))
    }
}

type Manipulation = (&'static str, fn(&Original, &Path));

/// What opening finds.
const FOUND_AT_ONCE: [Manipulation; 10] = [
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
        lines.iter_mut().for_each(|line| *line = line.replace("alice", "carol"));
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
    let log = AuditLog::open(&directory.join("audit.log"), never().name(name.parse().unwrap())).unwrap();
    (0..30).for_each(|_| operate(&log));
    log.close().unwrap();
}

/// What only verifying finds: nothing of it is read when the log is opened.
const FOUND_BY_VERIFYING: [Manipulation; 4] = [
    ("a line changed below the anchor", |_, directory| {
        edit_oldest(directory, |lines| lines[2] = lines[2].replace("alice", "carol"));
    }),
    ("two lines swapped below the anchor", |_, directory| edit_oldest(directory, |lines| lines.swap(2, 3))),
    ("a line doubled below the anchor", |_, directory| {
        edit_oldest(directory, |lines| lines.insert(3, lines[2].clone()));
    }),
    ("the oldest file removed", |_, directory| {
        fs::remove_file(directory.join("audit.log.000000000001")).unwrap();
    }),
];

fn edit_oldest(directory: &Path, edit: impl FnOnce(&mut Vec<String>)) {
    let path = directory.join("audit.log.000000000001");
    let mut lines = lines(&path);
    edit(&mut lines);
    fs::write(path, text(&lines)).unwrap();
}

/// Every honest command refuses with evidence, none signs or anchors, and verifying finds it before and after.
fn assert_found(original: &Original, case: &str, manipulate: impl Fn(&Path)) {
    let copy = original.copy();
    let running = copy.open().unwrap();
    let vouched = copy.vouched();
    manipulate(copy.directory.path());
    assert!(copy.verify().finding.is_some(), "{case}: verify, before");
    let manipulated = files(copy.directory.path());
    let is_refused = |what: &str, answer: keyward::Result<()>| {
        let error = answer.expect_err(&format!("{case}: {what} did not find it"));
        assert_eq!(error.kind(), ErrorKind::Tampered, "{case}: {what}: {error}");
        assert_eq!(copy.vouched(), vouched, "{case}: {what} vouched for it");
        assert_eq!(files(copy.directory.path()), manipulated, "{case}: {what} wrote to it");
    };
    is_refused("a second process", copy.open().and_then(|log| log.begin(event()).map(drop)));
    is_refused("a running process", running.begin(event()).map(drop));
    drop(running);
    is_refused("an operation", copy.open().and_then(|log| log.begin(event()).map(drop)));
    is_refused("an anchor", copy.open().and_then(|log| log.anchor().map(drop)));
    assert!(copy.verify().finding.is_some(), "{case}: verify, after");
}

#[test]
fn honest_commands_find_every_manipulation() {
    let original = Original::new();
    for (case, manipulate) in FOUND_AT_ONCE {
        assert_found(&original, case, |directory| manipulate(&original, directory));
    }
}

#[test]
fn honest_commands_find_every_pair_of_manipulations() {
    let original = Original::new();
    for (first, one) in FOUND_AT_ONCE {
        // Reordered twice, it is as it was.
        for (second, other) in FOUND_AT_ONCE.into_iter().filter(|(second, _)| *second != first) {
            assert_found(&original, &format!("{first}, {second}"), |directory| {
                one(&original, directory);
                other(&original, directory);
            });
        }
    }
}

#[test]
fn verifying_finds_what_is_below_the_anchor() {
    let original = Original::new();
    for (case, manipulate) in FOUND_BY_VERIFYING {
        let copy = original.copy();
        manipulate(&original, copy.directory.path());
        assert!(copy.verify().finding.is_some(), "{case}");
        let log = copy.open().unwrap();
        operate(&log);
        log.anchor().unwrap();
        log.close().unwrap();
        drop(log);
        assert!(copy.verify().finding.is_some(), "{case}: after honest commands");
    }
}

#[test]
fn a_forged_head_lowers_no_count() {
    let original = Original::new();
    let copy = original.copy();
    let running = copy.open().unwrap();
    let mut lines = all_lines(copy.directory.path());
    let head = lines.iter().rfind(|line| line.contains("\"signature\"")).unwrap().clone();
    let kek = "07".repeat(16);
    let count = head.split_once(&format!("\"{kek}\":")).unwrap().1.split('}').next().unwrap().to_owned();
    lines.push(head.replace(&format!("\"{kek}\":{count}"), &format!("\"{kek}\":1")));
    let forged = chained(&lines, false).pop().unwrap();
    let mut bytes = fs::read(copy.path()).unwrap();
    bytes.extend(format!("{forged}\n").bytes());
    fs::write(copy.path(), bytes).unwrap();
    for answer in [running.begin(event()).map(drop), copy.open().map(drop)] {
        let error = answer.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Tampered, "{error}");
    }
    assert!(copy.verify().finding.is_some());
}

#[test]
fn two_halves_of_forked_logs_are_no_log() {
    let copy = Copy { directory: tempfile::tempdir().unwrap(), keeper: Arc::new(FakeKeeper::new(1)) };
    let options = || never().name(name()).keeper(copy.keeper.clone());
    let log = AuditLog::open(&copy.path(), options()).unwrap();
    operate(&log);
    log.close().unwrap();
    drop(log);
    let fork = fs::read(copy.path()).unwrap();
    // One end that is signed and not anchored, and after it was cut off, another that is anchored.
    let log = AuditLog::open(&copy.path(), options()).unwrap();
    (0..9).for_each(|_| operate(&log));
    log.close().unwrap();
    drop(log);
    let first = lines(&copy.path());
    fs::write(copy.path(), fork).unwrap();
    let log = AuditLog::open(&copy.path(), options()).unwrap();
    operate(&log);
    let anchored = usize::try_from(log.anchor().unwrap().count()).unwrap();
    drop(log);
    let second = lines(&copy.path());
    assert_ne!(first[anchored - 1], second[anchored - 1]);
    fs::write(copy.path(), text(&[&second[..anchored], &first[anchored..]].concat())).unwrap();
    let error = AuditLog::open(&copy.path(), options()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tampered);
    assert!(error.to_string().contains("is put together from two"), "{error}");
    assert!(copy.verify().finding.is_some());
}

#[test]
fn a_planted_link_is_not_followed() {
    let original = Original::new();
    let copy = original.copy();
    let aside = copy.directory.path().join("aside");
    fs::rename(copy.path(), &aside).unwrap();
    std::os::unix::fs::symlink(&aside, copy.path()).unwrap();
    let before = fs::read(&aside).unwrap();
    assert_eq!(copy.open().unwrap_err().kind(), ErrorKind::Io);
    assert_eq!(fs::read(&aside).unwrap(), before);
    // In the place of the file that is prepared: it is removed, and what it leads to stays.
    fs::remove_file(copy.path()).unwrap();
    fs::rename(&aside, copy.path()).unwrap();
    let victim = copy.directory.path().join("victim");
    fs::write(&victim, "precious").unwrap();
    std::os::unix::fs::symlink(&victim, copy.directory.path().join("audit.log.new")).unwrap();
    let log = AuditLog::open(&copy.path(), copy.options().rotate_at(1)).unwrap();
    operate(&log);
    drop(log);
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    assert_eq!(copy.verify().finding, None);
}
