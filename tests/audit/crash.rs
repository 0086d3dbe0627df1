//! Writers that are killed.

use crate::{KEK, Place, event, never, operate};
use keyward::audit::{AuditLog, Diagnosis, Entry, Line, Outcome};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{env, fs, thread};

const CHILD: &str = "KEYWARD_TEST_AUDIT_CRASH";
/// How often the child is killed, where it is not said.
const KILLS: u64 = 40;
const THREADS: usize = 4;

/// Not a test: what the child does until it is killed.
#[test]
fn child_that_writes() {
    let Some(path) = env::var_os(CHILD) else { return };
    let log = AuditLog::open(path.as_ref(), never().sign_every(15).rotate_at(30_000)).unwrap();
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let pending = log.begin(event()).unwrap();
                    // In one write, so that it is whole or not there.
                    let acknowledged = format!("\nbegun {}\n", pending.request());
                    std::io::stderr().write_all(acknowledged.as_bytes()).unwrap();
                    pending.finish(Outcome::of(&Ok(())));
                }
            });
        }
    });
}

#[test]
fn a_writer_that_is_killed_leaves_a_log_that_goes_on() {
    let kills = env::var("KEYWARD_TEST_KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    let place = Place::new();
    let mut acknowledged = BTreeSet::new();
    for round in 0..kills {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", "crash::child_that_writes"]).env(CHILD, place.path());
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = child.stderr.take().unwrap();
        let (first, begun) = std::sync::mpsc::channel();
        let reader = thread::spawn(move || {
            let mut requests = Vec::new();
            for line in BufReader::new(stderr).lines() {
                if let Some(request) = line.unwrap().strip_prefix("begun ").filter(|request| request.len() == 32) {
                    requests.push(request.to_owned());
                    let _ = first.send(());
                }
            }
            requests
        });
        begun.recv().expect("the child began nothing");
        thread::sleep(Duration::from_micros(round * 7919 % 23_000));
        child.kill().unwrap();
        child.wait().unwrap();
        acknowledged.extend(reader.join().unwrap());
        // In every other round the next child finds what is left, not this process.
        if round % 2 == 0 {
            let log = place.open(place.signed(never()));
            operate(&log);
            drop(log);
            let report = place.ok();
            assert!(!report.torn_end);
        } else {
            let finding = place.verify().finding;
            assert!(finding.as_ref().is_none_or(|found| found.diagnosis == Diagnosis::Unsigned), "{finding:?}");
        }
    }
    let log = place.open(place.signed(never()));
    operate(&log);
    let counted = log.wraps(KEK);
    drop(log);
    let report = place.ok();
    let mut intents = BTreeSet::new();
    for line in report.files.iter().flat_map(|path| lines(path)) {
        if let Some(Entry::Intent { request, .. }) = Line::parse(&line).map(|line| line.entry) {
            intents.insert(request.to_string());
        }
    }
    let lost: Vec<_> = acknowledged.difference(&intents).collect();
    assert!(lost.is_empty(), "{} of {} acknowledged intents are lost", lost.len(), acknowledged.len());
    assert!(acknowledged.len() as u64 > kills && report.files.len() > 1, "{report:?}");
    assert_eq!(counted, intents.len() as u64);
}

fn lines(path: &std::path::Path) -> Vec<Vec<u8>> {
    fs::read(path).unwrap().split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
}

#[test]
fn a_last_write_cut_at_any_byte_is_marked_and_the_log_goes_on() {
    let place = Place::new();
    let log = place.open(never());
    operate(&log);
    operate(&log);
    drop(log);
    let whole = fs::read(place.path()).unwrap();
    let lines = place.lines();
    let first = lines[0].len() + 1;
    let count = |left: usize| whole[..left].iter().filter(|byte| **byte == b'\n').count() as u64;
    for left in (first..whole.len()).rev() {
        fs::write(place.path(), &whole[..left]).unwrap();
        // A line that lacks its newline alone is whole.
        let (cut, whole_line) = (whole[left - 1] != b'\n', whole[left] == b'\n');
        let (entries, torn) = (count(left) + u64::from(whole_line), u64::from(cut && !whole_line));
        let before = place.in_order();
        assert_eq!((before.entries, before.torn_end), (entries, cut), "{left}");
        let log = place.open(never());
        operate(&log);
        drop(log);
        let report = place.in_order();
        // The mark, an intent, its outcome.
        assert_eq!((report.torn, report.last), (torn, entries + torn + 2), "{left}");
    }
    // Before its first line was whole, a log has not begun.
    for left in 0..first - 1 {
        fs::write(place.path(), &whole[..left]).unwrap();
        let log = place.open(never());
        operate(&log);
        drop(log);
        assert_eq!(place.in_order().torn, 0, "{left}");
    }
}

#[test]
fn what_a_crash_leaves_at_the_end_is_marked() {
    let zeros = vec![0; 5000];
    for left in [&zeros[..], b"half a li", b"{\"seq\":2}\n", b"two\nlines", b"two\nlines\n", b"\n", b"\n\n"] {
        let place = Place::new();
        drop(place.open(never()));
        let whole = fs::read(place.path()).unwrap();
        fs::write(place.path(), [&whole[..], left].concat()).unwrap();
        // Twice: the mark, too, may have been cut short.
        let log = place.open(never());
        operate(&log);
        drop(log);
        let marked = fs::read(place.path()).unwrap();
        let mark = whole.len() + left.len() + 40;
        fs::write(place.path(), &marked[..mark]).unwrap();
        let log = place.open(place.signed(never()));
        operate(&log);
        drop(log);
        let report = place.ok();
        assert_eq!((report.torn, report.last), (1, 6), "{left:?}");
    }
}

#[test]
fn a_mark_covers_nothing_but_what_it_marks() {
    let place = Place::new();
    drop(place.open(never()));
    fs::write(place.path(), [&fs::read(place.path()).unwrap()[..], b"torn"].concat()).unwrap();
    let log = place.open(place.signed(never()));
    operate(&log);
    drop(log);
    let lines = place.lines();
    assert_eq!(lines[1], "torn");
    let forgery = crate::Forgery::of(&place);
    for (what, at) in [("tor", 1), ("torn ", 1), ("TORN", 1)] {
        let mut changed = lines.clone();
        changed[at] = what.into();
        assert_eq!(forgery.finding(&changed, what).diagnosis, Diagnosis::Changed);
    }
    let mut moved = lines.clone();
    moved.swap(0, 1);
    forgery.finding(&moved, "moved");
    let mut removed = lines;
    removed.remove(1);
    // Bytes that are no line are not missed. The line that tells of them is.
    assert_eq!(forgery.report_of(&removed).torn, 0);
    removed.remove(1);
    forgery.finding(&removed, "the mark");
}
