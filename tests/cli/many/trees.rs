//! Whole trees there and back again.

use super::{bench, plant, sealed, tree};
use crate::bench::Done;
use crate::life::json;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

#[test]
fn a_tree_goes_to_another_directory_and_back() {
    let bench = bench();
    let files = plant(&bench.path("t"));
    let done = bench.run("encrypt --key k --context a=b -r t --output-dir out");
    done.is(0, &["keyward: note: 8 done"]);
    let names: Vec<_> = tree(&bench.path("out")).into_keys().collect();
    let mut expected: Vec<_> = files.keys().map(|name| PathBuf::from("t").join(sealed(name))).collect();
    expected.sort();
    assert_eq!(names, expected);
    assert!(bench.path("out/t/empty").is_dir());
    bench.run("decrypt --context a=b -r out/t --output-dir back").is(0, &["keyward: note: 8 done"]);
    assert_eq!(tree(&bench.path("back/t")), files);
    assert_eq!(tree(&bench.path("t")), files);

    // As `cp -r` has it: the content of a directory alone.
    bench.run("decrypt -q --context a=b -r out/t/. --output-dir flat").is(0, &[]);
    assert_eq!(tree(&bench.path("flat")), files);
}

#[test]
fn results_stand_beside_their_files_and_a_second_run_does_nothing() {
    let bench = bench();
    let files = plant(&bench.path("t"));
    bench.run("encrypt --key k -r t").is(0, &["keyward: note: 8 done"]);
    let after = tree(&bench.path("t"));
    assert_eq!(after.len(), 2 * files.len());
    let told = ["keyward: note: 0 done, 8 already done, 8 skipped (8 envelopes already)"];
    bench.run("encrypt --key k -r t").is(0, &told);
    assert_eq!(tree(&bench.path("t")), after);
    for name in files.keys() {
        fs::remove_file(bench.path("t").join(name)).unwrap();
    }
    bench.run("decrypt -r t").is(0, &["keyward: note: 8 done"]);
    assert_eq!(tree(&bench.path("t")), after);
    bench.run("decrypt -r t").is(0, &["keyward: note: 0 done, 8 already done, 8 skipped (8 without .kw)"]);
    assert_eq!(tree(&bench.path("t")), after);
}

#[test]
fn any_context_is_told_of_each_file() {
    let bench = bench();
    for (name, context) in [("a", " -c tenant=acme -c x=y"), ("b", ""), ("c", " -c tenant=evil")] {
        bench.write(name, name);
        bench.ok(&format!("encrypt -q --key k{context} {name} -o {name}.kw"));
    }
    bench.run("decrypt --any-context a.kw b.kw c.kw --output-dir out").is(
        0,
        &[
            "keyward: note: a.kw: the encryption context is tenant=acme, x=y",
            "keyward: note: b.kw: the encryption context is empty",
            "keyward: note: c.kw: the encryption context is tenant=evil",
            "keyward: note: 3 done",
        ],
    );
    bench.run("decrypt -q --any-context a.kw b.kw c.kw --output-dir quiet").is(0, &[]);
    assert_eq!(tree(&bench.path("quiet")).len(), 3);
}

#[test]
fn several_files_need_no_directory() {
    let bench = bench();
    for name in ["a", "b"] {
        bench.write(name, name);
    }
    bench.run("encrypt --key k a b").is(0, &["keyward: note: 2 done"]);
    bench
        .run("encrypt --key k a b a.kw b.kw")
        .is(0, &["keyward: note: 0 done, 2 already done, 2 skipped (2 envelopes already)"]);
    // Named twice is once; one file with a directory to go to is many.
    bench.run("decrypt a.kw ./a.kw --output-dir x/y").is(0, &["keyward: note: 1 done"]);
    assert_eq!(bench.read("x/y/a"), b"a");
    // A single file goes to standard output, as ever.
    assert_eq!(bench.ok("decrypt a.kw"), "a");
    let told = json(&bench.ok("decrypt a.kw b.kw --output-dir x/y --json"));
    assert_eq!((&told["done"], &told["already_done"], &told["failed"]), (&1.into(), &1.into(), &0.into()));
}

#[test]
fn links_and_devices_are_left_alone_and_counted() {
    let bench = bench();
    fs::create_dir_all(bench.path("t/sub")).unwrap();
    bench.write("t/sub/file", "hello");
    bench.write("outside", "secret");
    for (target, link) in [("..", "t/sub/loop"), (".", "t/self"), ("../outside", "t/file"), ("nowhere", "t/dangling")] {
        std::os::unix::fs::symlink(target, bench.path(link)).unwrap();
    }
    assert!(bench.command("mkfifo").arg("t/pipe").status().unwrap().success());
    bench.write("t/.file.abc123.keyward-tmp", "half");
    let left = "6 skipped (4 symbolic links, 1 device or pipe, 1 temporary file of a run that was cut short)";
    bench.run("encrypt --key k -r t --output-dir out").is(0, &[&format!("keyward: note: 1 done, {left}")]);
    assert_eq!(tree(&bench.path("out")).len(), 1);
    // What is named is followed.
    std::os::unix::fs::symlink("t/sub", bench.path("way")).unwrap();
    bench
        .run("encrypt --key k -r way --output-dir other")
        .is(0, &["keyward: note: 1 done, 1 skipped (1 symbolic link)"]);
    assert!(bench.path("other/way/file.kw").exists());
}

#[test]
fn the_output_may_lie_within_the_input() {
    let bench = bench();
    let files = plant(&bench.path("t"));
    for told in ["keyward: note: 8 done", "keyward: note: 0 done, 8 already done"] {
        bench.run("encrypt --key k -r t --output-dir t/out").is(0, &[told]);
        assert_eq!(tree(&bench.path("t/out")).len(), files.len());
    }
    // Its own directory is the same as beside.
    bench.run("decrypt -r t/out/t/. --output-dir t/out/t").is(0, &["keyward: note: 8 done"]);
    assert_eq!(tree(&bench.path("t/out")).len(), 2 * files.len());
}

#[test]
fn permissions_and_times_are_those_of_the_input() {
    let bench = bench();
    fs::create_dir_all(bench.path("t/private")).unwrap();
    bench.write("t/private/key", "secret");
    bench.write("t/tool", "#!/bin/sh");
    fs::set_permissions(bench.path("t/tool"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(bench.path("t/private"), fs::Permissions::from_mode(0o700)).unwrap();
    let then = SystemTime::now() - Duration::from_secs(86_400);
    fs::File::open(bench.path("t/tool")).unwrap().set_modified(then).unwrap();
    bench.ok("encrypt -q --key k -r t --output-dir out");
    bench.ok("decrypt -q -r out/t --output-dir back");
    for (path, mode) in [
        ("out/t/private", 0o700),
        ("out/t/private/key.kw", 0o600),
        ("back/t/private/key", 0o600),
        ("out/t/tool.kw", 0o755),
        ("back/t/tool", 0o755),
    ] {
        assert_eq!(bench.path(path).metadata().unwrap().permissions().mode() & 0o777, mode, "{path}");
    }
    assert_eq!(bench.path("back/t/tool").metadata().unwrap().modified().unwrap(), then);
}

#[test]
fn few_threads_and_descriptors_make_a_run_slower_and_no_smaller() {
    let bench = bench();
    fs::create_dir(bench.path("t")).unwrap();
    (0..60).for_each(|number| bench.write(&format!("t/{number}"), "hello"));
    for (limit, output) in [("ulimit -n 32", "a"), ("ulimit -n 40", "b")] {
        let mut command = bench.command("sh");
        command.args(["-c", &format!("{limit}; ulimit -n; exec \"$0\" \"$@\"")]).arg(crate::bench::KEYWARD);
        command.args(["encrypt", "-q", "--key", "k", "-r", "t", "--jobs", "16", "--output-dir", output]);
        let done = Done::of(limit, command.env("KEYWARD_TOKEN", &bench.uri).output().unwrap());
        assert_eq!(done.status, 0, "{limit}: {}", done.stderr);
        assert_eq!(tree(&bench.path(output)).len(), 60, "{limit}");
    }
}
