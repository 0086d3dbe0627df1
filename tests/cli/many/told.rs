//! What is told where nobody watches.

use super::bench;
use super::token::{command, faulty};
use crate::bench::Done;

#[test]
fn a_run_that_lasts_tells_how_far_it_is_where_there_is_no_terminal_unless_it_is_to_be_quiet() {
    // Two at a time, 150 ms each: a quarter of a minute.
    let (bench, uri) = faulty("C_Encrypt * delay 150ms\n");
    let run = |line: &str| Done::of(line, command(&bench, &uri, line).output().unwrap());
    let (told, quiet) = std::thread::scope(|scope| {
        let told = scope.spawn(|| run("encrypt --key k -r t/. --output-dir s --jobs 2"));
        let quiet = scope.spawn(|| run("encrypt -q --key k -r t/. --output-dir quiet --jobs 2"));
        (told.join().unwrap(), quiet.join().unwrap())
    });
    quiet.is(0, &[]);
    let lines: Vec<_> = told.stderr.lines().collect();
    assert_eq!((told.status, lines.last()), (0, Some(&"keyward: note: 200 done")), "{lines:?}");
    let progress = lines[0].strip_prefix("keyward: note: ").unwrap();
    let (files, bytes) = progress.split_once(" of 200 files, ").unwrap();
    assert!((0..200).contains(&files.parse::<i32>().unwrap()), "{progress}");
    assert!(bytes.contains(" KiB of 214.75 KiB"), "{progress}");
    assert!((2..=4).contains(&lines.len()), "{lines:?}");
}

#[test]
fn quiet_rewrapping_and_reencryption_tell_failures_alone() {
    let bench = bench();
    for name in ["a", "b"] {
        bench.write(name, name);
    }
    bench.ok("encrypt -q --key k a b");
    bench.ok("key rotate k");
    bench.run("rewrap -q a.kw").is(0, &[]);
    bench.run("rewrap -q a.kw b.kw").is(0, &[]);
    bench.run("rewrap -q -r .").is(0, &[]);
    bench.ok("key rotate k");
    bench.run("reencrypt -q a.kw").is(0, &[]);
    bench.run("reencrypt -q a.kw b.kw nowhere").is(
        1,
        &[
            "keyward: error: cannot open 'nowhere': No such file or directory (os error 2)",
            "keyward: error: 1 file failed: nowhere",
        ],
    );
    assert_eq!(bench.ok("reencrypt a.kw"), "a.kw: reencrypted\n");
}
