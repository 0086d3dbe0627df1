//! Honest runs raise no alarm: processes that share a log, another host on the same token, kills and rotations.
//!
//! `KEYWARD_TEST_HONEST_RUNS` says how many processes there are.

use crate::{FakeKeeper, event, never, operate};
use keyward::audit::{AuditLog, Filter, Outcome, Verify, history};
use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use std::{env, fs, thread};
use tempfile::TempDir;

const CHILD: &str = "KEYWARD_TEST_AUDIT_HONEST";
const RUNS: u64 = 60;

/// Not a test: an honest process.
#[test]
fn child_that_is_honest() {
    let Some(job) = env::var_os(CHILD) else { return };
    let job = job.into_string().unwrap();
    let (host, directory) = job.split_once('|').unwrap();
    let directory = Path::new(directory);
    let keeper = Arc::new(FakeKeeper::in_file(1, directory.join("token")));
    let options = never().sign_every(4).rotate_at(3000).anchor_every(Duration::from_millis(20));
    let options = options.name(host.parse().unwrap()).keeper(keeper);
    let path = directory.join(host).join("audit.log");
    let log = AuditLog::open(&path, options).unwrap();
    let acknowledged = directory.join(host).join("acknowledged");
    let mut acknowledged = fs::File::options().append(true).create(true).open(acknowledged).unwrap();
    for round in 0..12 {
        let pending = log.begin(event()).unwrap();
        acknowledged.write_all(format!("{}\n", pending.request()).as_bytes()).unwrap();
        pending.finish(Outcome::of(&Ok(())));
        if round == 7 {
            log.anchor().unwrap();
        }
    }
    log.close().unwrap();
}

struct Hosts(TempDir);

impl Hosts {
    fn start(&self, host: &str) -> Child {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", "honest::child_that_is_honest"]);
        command.env(CHILD, format!("{host}|{}", self.0.path().display()));
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn verify(&self, host: &str) {
        let path = self.0.path().join(host).join("audit.log");
        let keeper = Arc::new(FakeKeeper::in_file(1, self.0.path().join("token")));
        let name = host.parse::<keyward::audit::LogName>().unwrap();
        let log = AuditLog::open(&path, never().name(name.clone()).keeper(keeper.clone())).unwrap();
        operate(&log);
        log.close().unwrap();
        drop(log);
        let report = Verify::new(&path).name(name).keeper(&*keeper).unwrap().run().unwrap();
        assert_eq!(report.finding, None, "{host}");
        let there: BTreeSet<_> =
            history(&path, &Filter::default()).unwrap().operations.iter().map(|one| one.request.to_string()).collect();
        let acknowledged = fs::read_to_string(self.0.path().join(host).join("acknowledged")).unwrap();
        let lost = acknowledged.lines().filter(|request| !there.contains(*request)).count();
        assert_eq!(lost, 0, "{host}: acknowledged lines are lost");
    }
}

#[test]
fn honest_runs_raise_no_alarm() {
    let runs = env::var("KEYWARD_TEST_HONEST_RUNS").map_or(RUNS, |runs| runs.parse().unwrap());
    let hosts = Hosts(tempfile::tempdir().unwrap());
    ["one", "other"].iter().for_each(|host| fs::create_dir(hosts.0.path().join(host)).unwrap());
    for round in 0..runs.div_ceil(3) {
        // Two processes of one host, and one of another.
        let mut running = ["one", "one", "other"].map(|host| hosts.start(host));
        let is_killed = round % 3 == 1;
        if is_killed {
            thread::sleep(Duration::from_micros(round * 7919 % 40_000));
            running[0].kill().unwrap();
        }
        for (index, child) in running.into_iter().enumerate() {
            let output = child.wait_with_output().unwrap();
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() || is_killed && index == 0, "round {round}: {stderr}");
        }
        if round % 8 == 7 {
            ["one", "other"].iter().for_each(|host| hosts.verify(host));
        }
    }
    ["one", "other"].iter().for_each(|host| hosts.verify(host));
}
