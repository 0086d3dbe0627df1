//! Several processes, and several threads, that write to one log.

use crate::{KEK, Place, never, operate};
use keyward::audit::{AuditLog, Entry, Line};
use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::{env, thread};

const CHILD: &str = "KEYWARD_TEST_AUDIT_SHARED";
const OPERATIONS: usize = 40;
const THREADS: usize = 4;

/// Not a test: what the children do.
#[test]
fn child_that_shares() {
    let Some(path) = env::var_os(CHILD) else { return };
    let log = AuditLog::open(path.as_ref(), never().sign_every(20).rotate_at(20_000)).unwrap();
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| (0..OPERATIONS).for_each(|_| operate(&log)));
        }
    });
    log.close().unwrap();
}

#[test]
fn processes_share_a_log() {
    let place = Place::new();
    let children: Vec<_> = (0..3)
        .map(|_| {
            let mut command = Command::new(env::current_exe().unwrap());
            command.args(["--exact", "shared::child_that_shares"]).env(CHILD, place.path());
            command.stdout(Stdio::null()).spawn().unwrap()
        })
        .collect();
    // This process signs what all of them write.
    let log = place.open(place.signed(never().sign_every(30).rotate_at(20_000)));
    for _ in 0..OPERATIONS {
        operate(&log);
    }
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    operate(&log);
    log.anchor().unwrap();
    let total = (3 * THREADS * OPERATIONS + OPERATIONS + 1) as u64;
    assert_eq!(log.wraps(KEK), total);
    drop(log);
    let report = place.ok();
    assert!(report.files.len() > 3 && report.torn == 0, "{report:?}");
    let mut processes = BTreeSet::new();
    let (mut intents, mut outcomes) = (0, 0);
    for line in report.files.iter().flat_map(|path| crate::lines(path)) {
        let line = Line::parse(line.as_bytes()).unwrap();
        processes.insert(line.pid);
        match line.entry {
            Entry::Intent { .. } => intents += 1,
            Entry::Outcome { .. } => outcomes += 1,
            _ => {}
        }
    }
    assert_eq!((processes.len(), intents, outcomes), (4, total, total));
}

#[test]
fn a_lock_that_somebody_keeps_is_waited_for_and_not_for_ever() {
    use rustix::fs::{FlockOperation, flock};
    let place = Place::new();
    let log = place.open(never());
    let other = std::fs::File::open(place.path()).unwrap();
    flock(&other, FlockOperation::LockExclusive).unwrap();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| operate(&log));
        thread::sleep(std::time::Duration::from_millis(100));
        assert!(!waiting.is_finished());
        flock(&other, FlockOperation::Unlock).unwrap();
        waiting.join().unwrap();
    });
    flock(&other, FlockOperation::LockExclusive).unwrap();
    let error = log.begin(crate::event()).unwrap_err();
    assert_eq!(error.kind(), keyward::ErrorKind::Io);
    drop(other);
    operate(&log);
    drop(log);
    assert_eq!(place.verify().entries, 5);
}
