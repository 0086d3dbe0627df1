//! Bad input to encryption and decryption: what is told, and that nothing else happens. Every case
//! checks that no file in the directory was changed, made or left behind.

use crate::bench::{Bench, Done, KEYWARD, sample};
use std::fs;

const NOT_AUTHENTIC: &str =
    "keyward: error: cannot decrypt: wrong key, wrong encryption context, or altered or truncated data";

#[test]
fn a_table_of_bad_input() {
    let bench = Bench::new();
    bench.ok("key create k");
    bench.write("plain", sample(100_000));
    bench.ok("encrypt --key k --context a=b plain -o sealed");
    let sealed = bench.read("sealed");
    bench.write("cut-in-body", &sealed[..sealed.len() - 1]);
    bench.write("cut-by-a-chunk", &sealed[..sealed.len() - 20_000]);
    bench.write("cut-in-header", &sealed[..40]);
    bench.write("empty", "");
    bench.write("text", "This is not an envelope, but it is long enough to be one at first sight.");
    let mut flipped = sealed.clone();
    let last = flipped.len() - 1;
    flipped[last] ^= 1;
    bench.write("flipped", flipped);
    bench.write("there", "precious");
    fs::create_dir(bench.path("dir")).unwrap();

    let enoent = "No such file or directory (os error 2)";
    let cases: &[(&str, i32, &[&str])] = &[
        ("decrypt --context a=b cut-in-body -o out", 4, &[NOT_AUTHENTIC]),
        ("decrypt --context a=b cut-by-a-chunk -o out", 4, &[NOT_AUTHENTIC]),
        ("decrypt --context a=b flipped -o out", 4, &[NOT_AUTHENTIC]),
        (
            "decrypt sealed -o out",
            4,
            &[
                "keyward: error: the encryption context is not the one expected: a=b instead of no context",
                "keyward: hint: if that is the file you mean, give its context with --context KEY=VALUE",
            ],
        ),
        (
            "decrypt --context a=c sealed -o out",
            4,
            &[
                "keyward: error: the encryption context is not the one expected: a=b instead of a=c",
                "keyward: hint: if that is the file you mean, give its context with --context KEY=VALUE",
            ],
        ),
        (
            "decrypt --context a=b sealed -o there",
            1,
            &["keyward: error: 'there' exists already", "keyward: hint: use --force to replace it"],
        ),
        (
            "encrypt --key k plain -o there",
            1,
            &["keyward: error: 'there' exists already", "keyward: hint: use --force to replace it"],
        ),
        ("encrypt --key k none -o out", 1, &[&format!("keyward: error: cannot open 'none': {enoent}")]),
        ("decrypt none -o out", 1, &[&format!("keyward: error: cannot open 'none': {enoent}")]),
        ("encrypt --key k dir -o out", 1, &["keyward: error: 'dir' is a directory"]),
        ("encrypt --key k plain -o dir", 1, &["keyward: error: 'dir' is a directory"]),
        (
            "encrypt --key k plain -o nowhere/out",
            1,
            &[&format!("keyward: error: cannot write 'nowhere/out': {enoent}")],
        ),
        (
            "decrypt --context a=b sealed -o nowhere/out",
            1,
            &[&format!("keyward: error: cannot write 'nowhere/out': {enoent}")],
        ),
        (
            "encrypt --key nokey plain -o out",
            1,
            &[
                "keyward: error: key 'nokey' is not among the keys that may be used here",
                "keyward: hint: `keyward key list` shows the keys of the token",
            ],
        ),
        (
            "decrypt --any-context --context a=b sealed",
            2,
            &[
                "keyward: error: the argument '--any-context' cannot be used with '--context <KEY=VALUE>'",
                "keyward: hint: `keyward decrypt --help` says how",
            ],
        ),
        (
            "encrypt --key k --customer-key plain plain",
            2,
            &[
                "keyward: error: the argument '--key <NAME>' cannot be used with '--customer-key <FILE>'",
                "keyward: hint: `keyward encrypt --help` says how",
            ],
        ),
    ];
    for (line, status, stderr) in cases {
        bench.refuses(line, *status, stderr);
    }
    for file in ["text", "empty", "cut-in-header"] {
        for command in ["decrypt", "inspect", "rewrap --key k", "reencrypt --key k"] {
            let before = bench.files();
            let done = bench.run(&format!("{command} {file}"));
            assert_eq!(done.status, 4, "{command} {file}: {}", done.stderr);
            assert_eq!(done.stderr.lines().count(), 1, "{}", done.stderr);
            assert!(done.stdout.is_empty());
            assert_eq!(bench.files(), before, "{command} {file}");
        }
    }
    // The same bytes again, through a pipe into a file.
    for file in ["cut-in-body", "flipped"] {
        let before = bench.files();
        bench.pipe("decrypt --context a=b -o out", &bench.read(file)).is(4, &[NOT_AUTHENTIC]);
        bench.pipe("decrypt --context a=b -o there --force", &bench.read(file)).is(4, &[NOT_AUTHENTIC]);
        assert_eq!(bench.files(), before, "{file}");
    }

    bench.ok("decrypt --context a=b sealed -o there --force");
    assert_eq!(bench.read("there"), bench.read("plain"));
}

#[test]
fn a_full_disk() {
    let bench = Bench::new();
    bench.ok("key create k");
    bench.write("plain", sample(4 << 20));
    bench.ok("encrypt --key k plain -o sealed");
    fs::create_dir(bench.path("small")).unwrap();
    // A file system of 1 MiB that only this child sees.
    let run = |line: &str| {
        let mut command = bench.command("unshare");
        command.args(["--mount", "--map-root-user", "sh", "-c"]);
        command.arg(
            "mount -t tmpfs -o size=1m none small || exit 99; echo precious > small/there; \
             \"$@\"; status=$?; [ \"$(ls -A small)\" = there ] && [ \"$(cat small/there)\" = precious ] || exit 98; \
             exit $status",
        );
        command.args(["sh", KEYWARD]).args(line.split(' ')).env("KEYWARD_TOKEN", &bench.uri);
        let output = command.output().unwrap();
        if output.status.code() == Some(99) || String::from_utf8_lossy(&output.stderr).contains("unshare:") {
            eprintln!("not tested here: no mounting of a small file system; /dev/full has to do");
            None
        } else {
            Some(Done::of(line, output))
        }
    };
    for (line, what) in [
        ("encrypt --key k plain -o small/out", "write 'small/out'"),
        ("encrypt --key k plain -o small/there --force", "write 'small/there'"),
        ("decrypt sealed -o small/out", "write 'small/out'"),
        ("decrypt sealed -o small/there --force", "write 'small/there'"),
    ] {
        if let Some(done) = run(line) {
            done.is(1, &[&format!("keyward: error: cannot {what}: No space left on device (os error 28)")]);
        }
    }
    let full = "No space left on device (os error 28)";
    bench.refuses(
        "encrypt --force --key k plain -o /dev/full",
        1,
        &[&format!("keyward: error: cannot write '/dev/full': {full}")],
    );
    bench.refuses(
        "decrypt --force sealed -o /dev/full",
        1,
        &[&format!("keyward: error: cannot write '/dev/full': {full}")],
    );
}

#[test]
fn a_directory_that_cannot_be_written() {
    use std::os::unix::fs::PermissionsExt;
    let bench = Bench::new();
    bench.ok("key create k");
    bench.write("plain", "hello");
    fs::create_dir(bench.path("locked")).unwrap();
    fs::set_permissions(bench.path("locked"), fs::Permissions::from_mode(0o555)).unwrap();
    if fs::write(bench.path("locked/probe"), "").is_err() {
        let message = "keyward: error: cannot write 'locked/out': Permission denied (os error 13)";
        bench.refuses("encrypt --key k plain -o locked/out", 1, &[message]);
        return;
    }
    // Root may write anywhere but where nobody may. Whether that is for want of permission or because
    // it is mounted read-only differs from machine to machine.
    let done = bench.run("encrypt --key k plain -o /sys/out");
    assert_eq!(done.status, 1);
    assert!(done.stderr.starts_with("keyward: error: cannot write '/sys/out': "), "{}", done.stderr);
    assert_eq!(done.stderr.lines().count(), 1, "{}", done.stderr);
}
