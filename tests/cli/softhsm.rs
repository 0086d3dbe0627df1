//! How programs take turns with SoftHSM's tokens.

use crate::bench::{Bench, Done, KEYWARD};
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

fn tokens(bench: &Bench) -> PathBuf {
    bench.work().parent().unwrap().join("tokens")
}

fn lock_file(bench: &Bench) -> PathBuf {
    tokens(bench).join("keyward.lock")
}

#[test]
fn lock_that_any_user_can_open_stops_nothing() {
    let bench = Bench::new();
    let module = File::open(&bench.module).unwrap();
    flock(&module, FlockOperation::LockExclusive).unwrap();
    let done = bench.run("key create k");
    assert_eq!((done.status, done.stderr.as_str()), (0, ""));
}

#[test]
fn held_lock_ends_a_command_after_one_wait() {
    let bench = Bench::new();
    bench.ok("key create k");
    bench.write("plain", "hello");
    let held = File::open(lock_file(&bench)).unwrap();
    flock(&held, FlockOperation::LockExclusive).unwrap();
    let began = Instant::now();
    let done = bench.run("encrypt --key k plain -o sealed");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    let real = lock_file(&bench).canonicalize().unwrap();
    let real = real.display();
    done.is(
        5,
        &[
            &format!("keyward: error: another process held the lock on SoftHSM's tokens '{real}' for 10s"),
            &format!("keyward: hint: `fuser {real}` shows which one"),
        ],
    );
    assert!(!bench.path("sealed").exists());
    drop(held);
    bench.ok("encrypt --key k plain -o sealed");
}

#[test]
fn lock_file_that_is_a_link_is_not_followed() {
    let bench = Bench::new();
    bench.ok("key create k");
    fs::remove_file(lock_file(&bench)).unwrap();
    symlink(bench.path("elsewhere"), lock_file(&bench)).unwrap();
    let done = bench.run("key list");
    assert_eq!(done.status, 5, "{}", done.stderr);
    assert!(done.stderr.contains("cannot lock SoftHSM's tokens with '"), "{}", done.stderr);
    assert!(!bench.path("elsewhere").exists());
}

/// Needs root, who alone may change ids.
#[test]
fn user_who_may_only_read_needs_the_lock_as_well() {
    const NOBODY: u32 = 65534;
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can run a program as another user");
        return;
    }
    let bench = Bench::new();
    bench.ok("key create k");
    let open = |path: &std::path::Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    let place = bench.work().parent().unwrap().to_owned();
    let pin = place.join("pin-of-nobody");
    fs::copy(place.join("pin"), &pin).unwrap();
    std::os::unix::fs::chown(&pin, Some(NOBODY), None).unwrap();
    // The program as well, wherever it was built.
    let program = place.join("keyward");
    fs::copy(KEYWARD, &program).unwrap();
    for path in [&place, &bench.work(), &tokens(&bench), &program] {
        open(path, 0o755);
    }
    for token in fs::read_dir(tokens(&bench)).unwrap().flatten().filter(|entry| entry.path().is_dir()) {
        open(&token.path(), 0o755);
        fs::read_dir(token.path()).unwrap().for_each(|file| open(&file.unwrap().path(), 0o644));
    }
    let uri = format!("{}&pin-source=file:{}", bench.uri_without_pin(), pin.display());
    let as_nobody = || {
        let mut command = bench.command(&program);
        command.args(["--token", &uri, "key", "list"]).uid(NOBODY).gid(NOBODY);
        Done::of("key list as nobody", command.output().unwrap())
    };
    let refused = as_nobody();
    assert_eq!(refused.status, 5, "{}", refused.stderr);
    assert!(refused.stderr.contains("Permission denied"), "{}", refused.stderr);
    open(&lock_file(&bench), 0o644);
    assert!(as_nobody().ok().contains("k:1"));
}

#[test]
fn doctor_says_whether_there_is_a_lock() {
    let bench = Bench::new();
    let real = tokens(&bench).canonicalize().unwrap();
    let line = format!("  ok       softhsm-lock   programs of Keyward take turns by a lock in '{}'", real.display());
    let done = bench.ok("doctor");
    assert!(done.lines().any(|one| one == line), "{done}");
    // By another name it is not known as SoftHSM's before it is loaded.
    fs::copy(&bench.module, bench.path("module.so")).unwrap();
    let uri = bench.uri.replace(&bench.module.display().to_string(), &bench.path("module.so").display().to_string());
    let done = bench.run(&format!("--token {uri} doctor"));
    assert!(
        done.text().contains("  warning  softhsm-lock   none: where SoftHSM keeps its tokens is not known"),
        "{}",
        done.text()
    );
}
