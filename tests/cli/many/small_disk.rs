//! A disk that is full half way.

use super::bench;
use crate::bench::{KEYWARD, sample};
use std::fs;

#[test]
fn a_full_disk_fails_what_does_not_fit_and_a_second_run_completes_it() {
    let bench = bench();
    fs::create_dir(bench.path("t")).unwrap();
    for at in 0..100 {
        bench.write(&format!("t/{at}"), sample(5000));
    }
    fs::create_dir(bench.path("small")).unwrap();
    // A file system of 1 MiB that only this child sees.
    let script = r#"
        mount -t tmpfs -o size=1m none small || exit 99
        head -c 600000 /dev/zero > small/filler
        "$1" encrypt --key k -r t --output-dir small/s > out 2> first; echo $? >> first
        "$1" decrypt -q -r small/s --output-dir back || exit 98
        rm small/filler
        "$1" encrypt --key k -r t --output-dir small/s > out 2> second; echo $? >> second
        ls -A small/s/t > names
        "$1" decrypt -q -r small/s --output-dir all || exit 97"#;
    let mut command = bench.command("unshare");
    command.args(["--mount", "--map-root-user", "sh", "-c", script, "sh", KEYWARD]).env("KEYWARD_TOKEN", &bench.uri);
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(99) || stderr.contains("unshare:") {
        eprintln!("not tested here: no mounting of a small file system");
        return;
    }
    assert!(output.status.success(), "{}: {stderr}", output.status);
    let text = |name: &str| String::from_utf8(bench.read(name)).unwrap();
    let first = text("first");
    let done = fs::read_dir(bench.path("back/s/t")).unwrap().count();
    assert!((10..95).contains(&done), "{done} fitted");
    assert!(first.contains("No space left on device"), "{first}");
    assert!(first.contains(&format!("keyward: note: {done} done, {} failed\n", 100 - done)), "{first}");
    assert!(first.contains(&format!("keyward: error: {} files failed: t/", 100 - done)), "{first}");
    assert!(first.ends_with("\n1\n"), "{first}");
    assert_eq!(text("second"), format!("keyward: note: {} done, {done} already done\n0\n", 100 - done));
    assert_eq!(text("names").lines().filter(|name| name.ends_with(".kw")).count(), 100);
    assert_eq!(text("names").lines().count(), 100, "something is left over");
    for at in 0..100 {
        assert_eq!(bench.read(&format!("all/s/t/{at}")), sample(5000));
        let partly = bench.path(&format!("back/s/t/{at}"));
        assert!(!partly.exists() || fs::read(partly).unwrap() == sample(5000));
    }
}
