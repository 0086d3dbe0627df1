//! A log over several files.

use crate::{KEK, Place, event, never, operate};
use keyward::audit::{AuditLog, Diagnosis, Filter, Verify, history};
use keyward::{ErrorKind, KekId};
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

/// A log of several files, signed and anchored.
fn rotated() -> Place {
    let place = Place::new();
    let log = place.open(place.signed(never().sign_every(7).rotate_at(3000)));
    for _ in 0..40 {
        operate(&log);
        log.flush().unwrap();
    }
    log.anchor().unwrap();
    drop(log);
    place
}

fn files(place: &Place) -> Vec<PathBuf> {
    place.ok().files
}

#[test]
fn the_chain_runs_on_over_files() {
    let place = rotated();
    let report = place.ok();
    assert!(report.files.len() > 4 && report.heads > 4, "{report:?}");
    assert_eq!(report.files.last(), Some(&place.path()));
    let lines: usize = report.files.iter().map(|path| crate::lines(path).len()).sum();
    assert_eq!((report.entries, report.last), (lines as u64, lines as u64));
    for path in &report.files[..report.files.len() - 1] {
        let len = path.metadata().unwrap().len();
        assert!((3000..5000).contains(&len), "{len}");
        let first = crate::lines(path)[0].clone();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let number: u64 = name.rsplit_once('.').unwrap().1.parse().unwrap();
        assert!(first.starts_with(&format!("{{\"seq\":{number},")), "{name}: {first}");
    }
    assert_eq!(history(&place.path(), &Filter::default()).unwrap().operations.len(), 40);
    let log = place.open(never());
    assert_eq!(log.wraps(KEK), 40);
    assert_eq!(log.wraps(KekId::from_bytes([1; 16])), 0);
}

#[test]
fn a_log_that_is_being_written_is_in_order() {
    let place = Place::new();
    let log = place.open(never().rotate_at(2000));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut reads = 0;
            while reads < 20 || !done.load(Ordering::SeqCst) {
                assert_eq!(Verify::new(place.path()).run().unwrap().finding, None);
                reads += 1;
            }
        });
        (0..100).for_each(|_| operate(&log));
        done.store(true, Ordering::SeqCst);
        reader.join().unwrap();
    });
}

#[test]
fn a_file_that_is_missing_is_found() {
    let place = rotated();
    let all = files(&place);
    let aside = place.directory.path().join("aside");
    for (index, path) in all.iter().enumerate() {
        fs::rename(path, &aside).unwrap();
        let found = place.verify().finding.unwrap();
        assert_eq!(found.diagnosis, Diagnosis::Removed, "{index}: {found:?}");
        fs::rename(&aside, path).unwrap();
    }
    place.ok();
    // Whoever has moved older files away says so.
    let first = fs::read(&all[0]).unwrap();
    fs::remove_file(&all[0]).unwrap();
    let partial = || Verify::new(place.path()).keeper(&*place.keeper).unwrap().partial(true);
    let report = partial().run().unwrap();
    assert_eq!(report.finding, None);
    assert!(report.anchor.is_some());
    fs::remove_file(&all[2]).unwrap();
    assert_eq!(partial().run().unwrap().finding.unwrap().diagnosis, Diagnosis::Removed);
    fs::write(&all[0], first).unwrap();
}

#[test]
fn a_file_under_another_name_is_found() {
    let place = rotated();
    let all = files(&place);
    let renamed = |from: usize, to: &str| {
        let target = place.directory.path().join(to);
        fs::rename(&all[from], &target).unwrap();
        let found = place.verify().finding.unwrap();
        fs::rename(&target, &all[from]).unwrap();
        found
    };
    let found = renamed(0, "audit.log.000000000002");
    assert_eq!(found.diagnosis, Diagnosis::Reordered, "{found:?}");
    // No file of the log begins after the current one.
    let found = renamed(0, "audit.log.000000999999");
    assert_eq!(found.diagnosis, Diagnosis::Removed, "{found:?}");
    let found = renamed(1, "audit.log.1");
    assert_eq!(found.diagnosis, Diagnosis::Removed, "{found:?}");
    let swap = place.directory.path().join("swap");
    fs::rename(&all[1], &swap).unwrap();
    fs::rename(&all[2], &all[1]).unwrap();
    fs::rename(&swap, &all[2]).unwrap();
    assert_eq!(place.verify().finding.unwrap().diagnosis, Diagnosis::Reordered);
}

#[test]
fn a_rotation_that_was_stopped_anywhere_is_made_good() {
    let place = Place::new();
    let log = place.open(never());
    for _ in 0..10 {
        operate(&log);
    }
    drop(log);
    let prepared = place.directory.path().join("audit.log.new");
    let kept = place.directory.path().join("audit.log.000000000001");
    let goes_on = |case: &str| {
        let report = place.verify();
        assert!(report.finding.is_none_or(|found| found.diagnosis == Diagnosis::Unsigned), "{case}");
        let log = place.open(place.signed(never().rotate_at(100)));
        operate(&log);
        drop(log);
        let report = place.ok();
        assert!(report.files.len() > 1, "{case}: {report:?}");
        assert!(!prepared.exists(), "{case}");
    };
    // The next file half prepared, then the current one with both names.
    fs::write(&prepared, "{\"seq\":").unwrap();
    fs::hard_link(place.path(), &kept).unwrap();
    goes_on("both names");
    let last = files(&place).len();
    fs::write(&prepared, "{\"seq\":").unwrap();
    goes_on("half prepared");
    assert!(files(&place).len() > last);
}

#[test]
fn a_log_without_its_current_file_is_not_begun_anew() {
    let place = rotated();
    let current = fs::read(place.path()).unwrap();
    for there in [false, true] {
        if there {
            fs::write(place.path(), "").unwrap();
        } else {
            fs::remove_file(place.path()).unwrap();
        }
        let error = AuditLog::open(&place.path(), never()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Tampered);
        assert!(error.to_string().ends_with("is gone or empty, and its older files are there"), "{error}");
    }
    fs::write(place.path(), current).unwrap();
    place.ok();
}

#[test]
fn where_no_file_can_be_kept_under_another_name_the_log_grows_on() {
    let place = Place::new();
    let log = place.open(place.signed(never().rotate_at(1000)));
    // Somebody else's file has the name.
    fs::write(place.directory.path().join("audit.log.000000000001"), "taken").unwrap();
    for _ in 0..10 {
        operate(&log);
    }
    log.begin(event()).unwrap().finish(keyward::audit::Outcome::unknown());
    drop(log);
    assert!(place.path().metadata().unwrap().len() > 2000);
}
