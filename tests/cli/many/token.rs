//! A token that goes away, and a signal, in the middle of a run.

use super::{bench, tree};
use crate::bench::{Bench, Done, interruptible, sample};
use crate::life::json;
use std::fs;
use std::process::{Command, Stdio};

const FILES: usize = 200;

/// A bench whose token is reached through a module that goes wrong as a script says, and files in `t`.
pub(super) fn faulty(script: &str) -> (Bench, String) {
    let built = std::env::current_exe().unwrap();
    let built = built.ancestors().nth(2).unwrap().join("libkeyward_fault.so");
    assert!(built.exists(), "'{}' is not built: cargo build -p keyward-fault", built.display());
    let bench = bench();
    let place = bench.work().parent().unwrap().to_owned();
    let module = place.join("libsofthsm2-fault.so");
    fs::copy(built, &module).unwrap();
    fs::write(place.join("libsofthsm2-fault.so.script"), script).unwrap();
    let uri = bench.uri.replace(&bench.module.display().to_string(), &module.display().to_string());
    fs::create_dir(bench.path("t")).unwrap();
    for at in 0..FILES {
        bench.write(&format!("t/{at}"), sample(1000 + at));
    }
    bench.write("keyward.toml", "session_timeout_seconds = 1\n");
    (bench, uri)
}

pub(super) fn command(bench: &Bench, uri: &str, line: &str) -> Command {
    let mut command = bench.keyward(["--token", uri, "--config", "keyward.toml"]);
    command.args(line.split(' ')).env("KEYWARD_FAULT_MODULE", &bench.module);
    command
}

/// Everything that has a name opens, and a run without faults does the rest.
fn completes(bench: &Bench, done: usize) {
    if bench.path("s").exists() {
        bench.ok("decrypt -q -r s/. --output-dir back");
        assert_eq!(tree(&bench.path("back")).len(), done);
    }
    let told = json(&bench.ok("encrypt --key k -r t/. --output-dir s --json"));
    assert_eq!((&told["already_done"], &told["done"]), (&done.into(), &(FILES - done).into()));
    bench.ok("decrypt -q -r s/. --output-dir back");
    assert!(tree(&bench.path("back")) == tree(&bench.path("t")));
}

#[test]
fn a_token_that_goes_away_ends_the_run_early() {
    let (bench, uri) = faulty("C_EncryptInit 30-1000000 dead\n");
    let line = "encrypt --key k -r t/. --output-dir s --jobs 4";
    let done = Done::of(line, command(&bench, &uri, line).output().unwrap());
    assert_eq!(done.status, 5, "{}", done.stderr);
    let lines: Vec<_> = done.stderr.lines().collect();
    let note = lines.iter().find(|line| line.starts_with("keyward: note: ")).unwrap();
    let failed = lines.iter().filter(|line| line.starts_with("keyward: error: t/./")).count();
    assert!((1..=8).contains(&failed), "{}", done.stderr);
    let finished = fs::read_dir(bench.path("s")).unwrap().count();
    let rest = FILES - finished - failed;
    assert_eq!(*note, format!("keyward: note: {finished} done, {failed} failed, {rest} not begun"));
    assert_eq!(lines.last().unwrap(), &"keyward: hint: the same command again goes on with the rest");
    completes(&bench, finished);
}

#[test]
fn one_failing_call_ends_nothing() {
    let (bench, uri) = faulty("C_Encrypt 7 answer CKR_GENERAL_ERROR\nC_Encrypt 90 answer CKR_SESSION_HANDLE_INVALID\n");
    let line = "encrypt --key k -r t/. --output-dir s --json";
    let done = Done::of(line, command(&bench, &uri, line).output().unwrap());
    let told = json(done.text());
    let failed = told["failed"].as_u64().unwrap() as usize;
    assert!(failed <= 1, "{}", done.stderr);
    assert_eq!((&told["done"], &told["not_begun"]), (&(FILES - failed).into(), &0.into()));
    assert_eq!(done.status, i32::from(failed > 0));
    completes(&bench, FILES - failed);
}

#[test]
fn a_signal_ends_a_run_without_leaving_anything() {
    use std::os::unix::process::ExitStatusExt;
    let (bench, uri) = faulty("C_Encrypt * delay 20ms\n");
    for signal in ["INT", "TERM"] {
        let command = command(&bench, &uri, "encrypt --key k -r t/. --output-dir s --jobs 2");
        let child = interruptible(&command).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        // It is at work.
        while !bench.path("s").exists() || tree(&bench.path("s")).is_empty() {
            std::thread::yield_now();
        }
        assert!(Command::new("kill").args(["-s", signal, &child.id().to_string()]).status().unwrap().success());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.signal().is_some(), "{signal}: {}", output.status);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.starts_with("keyward: note: interrupted: "), "{stderr}");
        assert!(stderr.ends_with(" of 200 files done; the same command again goes on\n"), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        let left = tree(&bench.path("s")).into_keys().filter(|name| name.extension().is_none_or(|end| end != "kw"));
        assert_eq!(left.count(), 0, "{signal}");
        let _ = fs::remove_dir_all(bench.path("s"));
    }
    completes(&bench, 0);
}

/// Starts a run whose token serves some files and then answers no more, and waits until `ready` says that they are
/// ready. A run that does not get there is ended after a minute.
fn stalled(ready: impl Fn(usize, usize) -> bool) -> (Bench, std::process::Child) {
    let (bench, uri) = faulty("C_Encrypt 40-1000000 hang\n");
    let run = command(&bench, &uri, "encrypt --key k -r t/. --output-dir s --jobs 1");
    let mut command = bench.command("timeout");
    command.args(["--foreground", "60"]).arg(run.get_program()).args(run.get_args());
    command.envs(run.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut child = interruptible(&command).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    loop {
        let names = fs::read_dir(bench.path("s")).map(|names| names.map(|name| name.unwrap().file_name()).collect());
        let names: Vec<_> = names.unwrap_or_default();
        let named = names.iter().filter(|name| name.to_str().unwrap().ends_with(".kw")).count();
        if ready(named, names.len() - named) {
            return (bench, child);
        }
        assert!(child.try_wait().unwrap().is_none(), "the run ended with {named} of {} named", names.len());
        std::thread::yield_now();
    }
}

#[test]
fn finished_files_do_not_wait_for_a_slow_one() {
    // No other file is finished any more.
    let (_bench, mut child) = stalled(|named, _| named >= 30);
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    child.wait().unwrap();
}

#[test]
fn signal_commits_what_is_ready() {
    use std::os::unix::process::ExitStatusExt;
    for signal in ["INT", "TERM"] {
        let (bench, child) = stalled(|named, temporary| named + temporary >= 30);
        assert!(Command::new("kill").args(["-s", signal, &child.id().to_string()]).status().unwrap().success());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.signal().is_some(), "{signal}: {}", output.status);
        let names: Vec<_> = tree(&bench.path("s")).into_keys().collect();
        assert!(names.iter().all(|name| name.extension().is_some_and(|end| end == "kw")), "{signal}: {names:?}");
        assert!(names.len() >= 29, "{signal}: {} files", names.len());
    }
}

#[test]
fn whoever_watches_sees_a_bar_and_others_the_summary_alone() {
    let (bench, uri) = faulty("C_Encrypt * delay 5ms\n");
    let line = "--config keyward.toml encrypt --key k -r t/. --output-dir s --jobs 2";
    for (quiet, shown) in [("", true), (" --quiet", false)] {
        let _ = fs::remove_dir_all(bench.path("s"));
        let mut command = bench.command("script");
        command.args(["-qec", &format!("stty cols 120; {} {line}{quiet}", crate::bench::KEYWARD), "/dev/null"]);
        command.env("KEYWARD_TOKEN", &uri).env("KEYWARD_FAULT_MODULE", &bench.module);
        let output = command.output().expect("script, of util-linux");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}");
        assert_eq!(text.contains(" of 200 files, "), shown, "{text}");
        assert_eq!(text.contains("/s, "), shown, "{text}");
        assert_eq!(text.contains("keyward: note: 200 done"), shown, "{text}");
    }
}
