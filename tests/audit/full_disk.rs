//! A disk without room: operations are refused, and the log stays in order.

use crate::small_disk::SmallDisk;
use crate::{Place, event, never, operate, refusal};
use keyward::ErrorKind;
use keyward::audit::{AuditLog, Filter, history};
use std::fs;
use std::path::Path;

#[test]
fn what_cannot_be_written_down_is_not_done() {
    let Some(disk) = SmallDisk::mount(64) else { return };
    let place = Place::within(tempfile::tempdir_in(disk.path("")).unwrap());
    let log = place.open(place.signed(never()));
    operate(&log);
    let let_through = log.begin(event()).unwrap();
    log.flush().unwrap();
    disk.fill();
    // The page that is there already takes a few lines more.
    let mut done = 2;
    let error = loop {
        match log.begin(event()) {
            Ok(pending) => {
                pending.finish(keyward::audit::Outcome::unknown());
                done += 1;
            }
            Err(error) => break error,
        }
        assert!(done < 200);
    };
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.to_string().ends_with("cannot be written; nothing was done"), "{error}");
    let text = fs::read_to_string(place.path()).unwrap();
    assert!(text.ends_with('\n'), "a line is torn");
    // What nobody waits for is kept.
    let_through.finish(keyward::audit::Outcome::of(&Ok(())));
    log.refused(event(), &refusal());
    assert_eq!(log.begin(event()).unwrap_err().kind(), ErrorKind::Io);
    assert_eq!(log.flush().unwrap_err().kind(), ErrorKind::Io);
    disk.free();
    log.flush().unwrap();
    operate(&log);
    log.close().unwrap();
    let report = place.ok();
    assert_eq!(report.torn, 0);
    let found = history(&place.path(), &Filter::default()).unwrap();
    assert_eq!(found.operations.len(), done + 2, "an operation that was refused for want of room is in the log");
    let count = |result: &str| found.operations.iter().filter(|one| one.result.name() == result).count();
    assert_eq!((count("ok"), count("refused"), count("unknown")), (3, 1, done - 2));
}

#[test]
fn a_log_that_cannot_be_begun_is_an_error() {
    let error = AuditLog::open(Path::new("/dev/full"), never()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    let error = AuditLog::open(Path::new("/nonexistent/audit.log"), never()).unwrap_err();
    assert_eq!(error.to_string(), "cannot read the directory of the audit log '/nonexistent/audit.log'");
}
