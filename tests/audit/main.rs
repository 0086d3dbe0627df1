//! The audit log: what is written, what is found out about a log that somebody had his hands on, and
//! what is left when a process is killed or the disk is full. Run under `softhsm/with`.

mod crash;
mod cut;
mod evidence;
mod fake;
mod forged;
#[path = "../common/forged_chain.rs"]
mod forged_chain;
mod full_disk;
mod heads;
mod honest;
mod keepers;
mod lines;
mod on_token;
mod rotation;
mod shared;
mod stopped;
mod tampered;

#[path = "../common/small_disk.rs"]
mod small_disk;

use fake::FakeKeeper;
use keyward::audit::{AuditLog, AuditOptions, Event, Finding, Outcome, Report, Verify};
use keyward::key::{Operation, Principal};
use keyward::{EncryptionContext, Error, ErrorKind, KekId, KeyName};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

const KEK: KekId = KekId::from_bytes([7; 16]);

fn alice() -> Principal {
    Principal::new("alice").unwrap()
}

fn event() -> Event {
    let name: KeyName = "payments".parse().unwrap();
    let context = EncryptionContext::from_pairs([("tenant", "acme")]).unwrap();
    Event::new(Operation::GenerateDataKey, &alice()).key(&name).context(&context).wraps(KEK)
}

fn refusal() -> Error {
    Error::new(ErrorKind::PolicyDenied, "a message that may say anything")
}

/// One operation that is done.
fn operate(log: &AuditLog) {
    log.begin(event()).unwrap().finish(Outcome::of(&Ok(())));
}

/// Nothing is signed or anchored by itself.
fn never() -> AuditOptions {
    let long = Duration::from_secs(1 << 30);
    AuditOptions::default().sign_every(u64::MAX / 4).sign_after(long).anchor_every(long)
}

/// A directory with a log, who signs it, and where it is anchored.
struct Place {
    directory: TempDir,
    keeper: Arc<FakeKeeper>,
}

impl Place {
    fn new() -> Self {
        Self::within(tempfile::tempdir().unwrap())
    }

    fn within(directory: TempDir) -> Self {
        Self { directory, keeper: Arc::new(FakeKeeper::new(1)) }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("audit.log")
    }

    fn signed(&self, options: AuditOptions) -> AuditOptions {
        options.keeper(self.keeper.clone())
    }

    fn open(&self, options: AuditOptions) -> AuditLog {
        AuditLog::open(&self.path(), options).unwrap()
    }

    fn verify(&self) -> Report {
        verify(&self.path(), &self.keeper)
    }

    /// The report of a log that is in order.
    #[track_caller]
    fn ok(&self) -> Report {
        let report = self.verify();
        assert_eq!(report.finding, None);
        report
    }

    /// The same without signatures.
    #[track_caller]
    fn in_order(&self) -> Report {
        let report = Verify::new(self.path()).run().unwrap();
        assert_eq!(report.finding, None);
        report
    }

    fn lines(&self) -> Vec<String> {
        lines(&self.path())
    }
}

fn verify(path: &Path, keeper: &FakeKeeper) -> Report {
    Verify::new(path).keeper(keeper).unwrap().run().unwrap()
}

fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap().lines().map(ToOwned::to_owned).collect()
}

/// A log of lines that somebody had his hands on, with the key and the anchors of the place.
struct Forgery<'a> {
    place: &'a Place,
    directory: TempDir,
}

impl<'a> Forgery<'a> {
    fn of(place: &'a Place) -> Self {
        Self { place, directory: tempfile::tempdir().unwrap() }
    }

    fn report(&self, bytes: &[u8]) -> Report {
        let path = self.directory.path().join("audit.log");
        fs::write(&path, bytes).unwrap();
        verify(&path, &self.place.keeper)
    }

    /// Without signatures, which take their time.
    fn report_without_keys(&self, bytes: &[u8]) -> Report {
        let path = self.directory.path().join("audit.log");
        fs::write(&path, bytes).unwrap();
        Verify::new(path).keeper(&fake::WithoutKeys(&self.place.keeper)).unwrap().run().unwrap()
    }

    fn report_of(&self, lines: &[String]) -> Report {
        self.report(text(lines).as_bytes())
    }

    #[track_caller]
    fn finding(&self, lines: &[String], case: &str) -> Finding {
        self.report_of(lines).finding.unwrap_or_else(|| panic!("{case}: nothing was found"))
    }
}

fn text(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// A log of several heads that ends with an anchor. Everything but the last line, the head itself, is covered by it.
fn anchored_log() -> Place {
    let place = Place::new();
    let log = place.open(place.signed(never()));
    for round in 0..12 {
        operate(&log);
        if round % 4 == 1 {
            log.refused(event(), &refusal());
        }
        if round % 5 == 2 {
            drop(log.begin(event()).unwrap());
        }
        if round % 4 == 3 {
            // Waits for the signature, so that the lines are the same each time.
            log.anchor().unwrap();
        }
    }
    operate(&log);
    let anchor = log.anchor().unwrap();
    log.close().unwrap();
    drop(log);
    let report = place.ok();
    assert!(report.heads >= 3, "{report:?}");
    assert_eq!((report.signed_to, report.last), (Some(anchor.count()), anchor.count() + 1));
    place
}
