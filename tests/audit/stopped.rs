//! A process that is killed between every two of intent, act, outcome, signature, head and anchor: the next one goes on,
//! and no line that was acknowledged is lost.

use crate::fake::Point;
use crate::{FakeKeeper, Place, event, never, operate};
use keyward::audit::{AuditLog, Filter, Outcome, Verify, history};
use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs};

const CHILD: &str = "KEYWARD_TEST_AUDIT_STOPPED";
const STOPS: [&str; 9] = [
    "nowhere",
    "after the intent",
    "after the act",
    "after the outcome",
    "BeforeSigning",
    "AfterSigning",
    "BeforeAnchor",
    "BetweenAnchors",
    "AfterAnchor",
];

fn kill_self() -> ! {
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    // Until the signal is delivered.
    loop {
        std::thread::park();
    }
}

/// Not a test: what the child does, in the directory and up to the stop that it is given.
#[test]
fn child_that_is_stopped() {
    let Some(job) = env::var_os(CHILD) else { return };
    let job = job.into_string().unwrap();
    let mut parts = job.splitn(3, '|');
    let (time, stop, directory) = (parts.next().unwrap(), parts.next().unwrap().to_owned(), parts.next().unwrap());
    let (time, directory): (u32, &Path) = (time.parse().unwrap(), Path::new(directory));
    let reached = Arc::new(AtomicU32::new(0));
    let at = {
        let (reached, stop) = (Arc::clone(&reached), stop.clone());
        move |here: &str| {
            if here == stop && reached.fetch_add(1, Ordering::SeqCst) + 1 == time {
                kill_self();
            }
        }
    };
    let hook = {
        let at = at.clone();
        move |point: Point| at(&format!("{point:?}"))
    };
    let keeper = Arc::new(FakeKeeper::in_file(1, directory.join("token")).hooked(hook));
    let options = never().sign_every(3).rotate_at(2500).keeper(keeper);
    let log = AuditLog::open(&directory.join("audit.log"), options).unwrap();
    let mut acknowledged = fs::File::options().append(true).create(true).open(directory.join("acknowledged")).unwrap();
    for round in 0..6 {
        let pending = log.begin(event()).unwrap();
        acknowledged.write_all(format!("{}\n", pending.request()).as_bytes()).unwrap();
        at("after the intent");
        acknowledged.sync_data().unwrap();
        at("after the act");
        pending.finish(Outcome::of(&Ok(())));
        log.flush().unwrap();
        at("after the outcome");
        if round % 2 == 1 {
            log.anchor().unwrap();
        }
    }
    log.close().unwrap();
}

fn child(directory: &Path, stop: &str, time: u32) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "stopped::child_that_is_stopped"]);
    command.env(CHILD, format!("{time}|{stop}|{}", directory.display())).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

fn acknowledged_intents(directory: &Path) -> BTreeSet<String> {
    fs::read_to_string(directory.join("acknowledged")).unwrap_or_default().lines().map(ToOwned::to_owned).collect()
}

#[test]
fn a_process_that_is_killed_anywhere_leaves_a_log_that_goes_on() {
    let place = Place::new();
    let directory = place.directory.path();
    for stop in STOPS {
        for time in 1..=3 {
            let case = format!("{stop}, {time}");
            let output = child(directory, stop, time).output().unwrap();
            let stderr = String::from_utf8_lossy(&output.stderr);
            let was_killed = std::os::unix::process::ExitStatusExt::signal(&output.status) == Some(9);
            assert!(output.status.success() || was_killed, "{case}: {stderr}");
            assert!(was_killed || stop == "nowhere", "{case}: was not reached");
            let keeper = Arc::new(FakeKeeper::in_file(1, directory.join("token")));
            let log = AuditLog::open(&place.path(), never().keeper(keeper.clone()))
                .unwrap_or_else(|error| panic!("{case}: {error}"));
            operate(&log);
            log.close().unwrap();
            drop(log);
            let report = Verify::new(place.path()).keeper(&*keeper).unwrap().run().unwrap();
            assert_eq!(report.finding, None, "{case}");
        }
    }
    let shown = history(&place.path(), &Filter::default()).unwrap();
    let there: BTreeSet<_> = shown.operations.iter().map(|one| one.request.to_string()).collect();
    let acknowledged = acknowledged_intents(directory);
    assert!(acknowledged.len() > 50 && acknowledged.is_subset(&there));
}
