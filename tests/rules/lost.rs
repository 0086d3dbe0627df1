//! Files whose encryption or decryption is killed, or whose input changes meanwhile: nothing is lost,
//! and nothing that is not whole has a final name.

use crate::fixture::{assert_kind, context, keyring, listing, name, sealed};
use crate::raw::CHUNK;
use crate::streams::text;
use keyward::durable::Replace;
use keyward::{Decryptor, Encryptor, ErrorKind, Result};
use std::fs::{self, File};
use std::io::Write;
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{env, thread};

/// How often the child is killed; `KEYWARD_KILLS` says it otherwise.
const KILLS: u64 = 200;
const CHILD: &str = "KEYWARD_TEST_FILES_DIRECTORY";
/// Several batches, so that there is much to be cut short.
const LEN: usize = 150 * CHUNK + 77;

fn encrypt(from: &Path, to: &Path, replace: Replace) -> Result<u64> {
    Encryptor::new(&keyring(), &name("main")).context(context()).encrypt_file(from, to, replace)
}

fn decrypt(from: &Path, to: &Path, replace: Replace) -> Result<u64> {
    Decryptor::new(&keyring()).context(context()).decrypt_file(from, to, replace)
}

#[test]
#[ignore = "what the test below starts and kills"]
fn child_that_encrypts_and_decrypts_until_it_is_killed() {
    let Some(directory) = env::var_os(CHILD) else { return };
    let path = |name: &str| Path::new(&directory).join(name);
    for round in 0.. {
        // New names, a name that is replaced, and a file that replaces itself.
        encrypt(&path("plain"), &path(&format!("new-{round}.kw")), Replace::Yes).unwrap();
        decrypt(&path("sealed"), &path(&format!("new-{round}")), Replace::Yes).unwrap();
        encrypt(&path("plain"), &path("replaced.kw"), Replace::Yes).unwrap();
        decrypt(&path("sealed"), &path("replaced"), Replace::Yes).unwrap();
        encrypt(&path("itself"), &path("itself"), Replace::Yes).unwrap();
        decrypt(&path("itself"), &path("itself"), Replace::Yes).unwrap();
        fs::remove_file(path(&format!("new-{round}"))).unwrap();
    }
}

#[test]
fn a_kill_at_any_instant_loses_nothing_and_leaves_no_part_under_a_final_name() {
    let kills = env::var("KEYWARD_KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let text = text(LEN);
    let envelope = sealed(&text);
    fs::write(path("plain"), &text).unwrap();
    fs::write(path("sealed"), &envelope).unwrap();
    fs::write(path("itself"), &text).unwrap();
    let opens = |bytes: &[u8]| crate::fixture::decrypt(bytes).is_ok_and(|opened| opened == text);
    // An engine without optimization is slow: the kills are spread over what the child's round takes.
    let begun = Instant::now();
    encrypt(&path("plain"), &path("replaced.kw"), Replace::Yes).unwrap();
    let round = 6 * begun.elapsed();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let (mut torn, mut whole) = (0, 0);
    for kill in 0..kills {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "lost::child_that_encrypts_and_decrypts_until_it_is_killed", "--ignored"])
            .env(CHILD, directory.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // From its first temporary file on, or from its first output on.
        let (beginning, end) = if kill % 2 == 0 { ("", ".keyward-tmp") } else { ("new-", ".kw") };
        let is_there = || {
            let mut names =
                fs::read_dir(directory.path()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
            names.any(|name| name.starts_with(beginning) && name.ends_with(end))
        };
        let begun = Instant::now();
        while !is_there() {
            assert!(begun.elapsed() < Duration::from_secs(60), "the child makes nothing");
            thread::sleep(Duration::from_micros(200));
        }
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        thread::sleep(round.mul_f64((random >> 33) as f64 / (1_u64 << 31) as f64));
        child.kill().unwrap();
        child.wait().unwrap();
        for (file, bytes) in listing(directory.path()) {
            let file = file.to_str().unwrap();
            match file {
                "plain" => assert!(bytes == text, "kill {kill}"),
                "sealed" => assert!(bytes == envelope, "kill {kill}"),
                // Before, between or after: one of them, whole.
                "itself" => assert!(bytes == text || opens(&bytes), "kill {kill}"),
                _ if file.ends_with(".keyward-tmp") => {
                    torn += 1;
                    fs::remove_file(path(file)).unwrap();
                }
                _ if file.ends_with(".kw") => assert!(opens(&bytes), "kill {kill}: {file}"),
                _ => assert!(bytes == text, "kill {kill}: {file}"),
            }
            whole += u64::from(file.starts_with("new-"));
            if file.starts_with("new-") {
                fs::remove_file(path(file)).unwrap();
            }
        }
        if fs::read(path("itself")).unwrap() != text {
            decrypt(&path("itself"), &path("itself"), Replace::Yes).unwrap();
        }
        assert!(fs::read(path("itself")).unwrap() == text, "kill {kill}");
    }
    assert!(torn > 0, "no kill has hit a file in the making: the test tests nothing");
    assert!(whole > 0, "no file was ever finished: the test tests nothing");
    // Another run does what was not done.
    encrypt(&path("plain"), &path("replaced.kw"), Replace::Yes).unwrap();
    decrypt(&path("replaced.kw"), &path("replaced"), Replace::Yes).unwrap();
    assert!(fs::read(path("replaced")).unwrap() == text);
}

/// What happens where `change` is done to the input after its first part was encrypted.
fn encrypt_while(change: impl Fn(&File) + Sync, threads: usize, directory: &Path) -> Result<u64> {
    let plain = directory.join("plain");
    fs::write(&plain, text(10 * LEN)).unwrap();
    let changed = AtomicBool::new(false);
    let tell = |_: u64| {
        if !changed.swap(true, Ordering::Relaxed) {
            change(&File::options().append(true).open(&plain).unwrap());
        }
    };
    Encryptor::new(&keyring(), &name("main"))
        .context(context())
        .threads(NonZeroUsize::new(threads).unwrap())
        .progress(&tell)
        .encrypt_file(&plain, &directory.join("out"), Replace::Yes)
}

#[test]
fn a_file_that_shrinks_while_it_is_encrypted_is_an_error_and_gives_no_envelope() {
    let directory = tempfile::tempdir().unwrap();
    for threads in [1, 2, 4] {
        // To a length in a chunk, at a chunk, at a batch, and to nothing.
        for len in [7 * LEN, 1000 * CHUNK, 1024 * CHUNK, 0] {
            let answer = encrypt_while(|file| file.set_len(len as u64).unwrap(), threads, directory.path());
            assert_kind(answer, ErrorKind::Io, format!("shrunk to {len}, {threads} threads"));
            assert_eq!(listing(directory.path()).len(), 1, "something is left");
        }
    }
}

#[test]
fn a_file_that_grows_while_it_is_encrypted_is_encrypted_from_its_beginning_on() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("out");
    for threads in [1, 2, 4] {
        for more in [1, CHUNK, 3 * LEN] {
            let answer = encrypt_while(|mut file| file.write_all(&vec![1; more]).unwrap(), threads, directory.path());
            let len = usize::try_from(answer.unwrap()).unwrap();
            assert!(len >= 10 * LEN, "{len}");
            let mut grown = text(10 * LEN);
            grown.resize(10 * LEN + more, 1);
            let opened = crate::fixture::decrypt(&fs::read(&out).unwrap()).unwrap();
            assert!(opened == grown[..len], "{more} more, {threads} threads");
        }
    }
}

#[test]
fn a_file_that_cannot_be_read_on_is_an_error_and_gives_no_envelope() {
    // A file for the kernel, which answers EIO where a process has no memory.
    let directory = tempfile::tempdir().unwrap();
    let answer = encrypt(Path::new("/proc/self/mem"), &directory.path().join("out"), Replace::No);
    assert_kind(answer, ErrorKind::Io, "EIO");
    assert!(listing(directory.path()).is_empty(), "something is left");
}

#[test]
fn a_file_that_is_larger_than_it_says_is_encrypted_whole() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("out");
    encrypt(Path::new("/proc/version"), &out, Replace::No).unwrap();
    let opened = crate::fixture::decrypt(&fs::read(&out).unwrap()).unwrap();
    assert_eq!(opened, fs::read("/proc/version").unwrap());
}
