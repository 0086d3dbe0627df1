//! What fails, what does not fail for it, and how that is told.

use super::{bench, tree};
use crate::bench::{Bench, sample};
use crate::life::json;
use std::fs;
use std::time::{Duration, SystemTime};

#[test]
fn what_fails_keeps_nothing_else_from_being_done() {
    let bench = bench();
    fs::create_dir(bench.path("t")).unwrap();
    for name in ["a", "b", "c", "d", "e"] {
        bench.write(&format!("t/{name}"), sample(30_000));
    }
    bench.ok("encrypt -q --key k -r t --output-dir s");
    bench.ok("encrypt --key k --context x=y t/a -o s/t/other.kw");
    let mut flipped = bench.read("s/t/b.kw");
    *flipped.last_mut().unwrap() ^= 1;
    bench.write("s/t/b.kw", flipped);
    let cut = bench.read("s/t/c.kw");
    bench.write("s/t/c.kw", &cut[..50]);
    bench.write("s/t/text.kw", "This is no envelope, but it is called one.");
    fs::create_dir_all(bench.path("out/t/d/in-the-way")).unwrap();

    let done = bench.run("decrypt -r s/t --output-dir out --jobs 1");
    let error = |text: &str| format!("keyward: error: {text}");
    done.is(
        1,
        &[
            &error("s/t/b.kw: cannot decrypt: wrong key, wrong encryption context, or altered or truncated data"),
            &error("s/t/c.kw: truncated: the file ends within the envelope's header"),
            &error("'out/t/d' exists already and is not what 's/t/d.kw' would become: it is not a file"),
            "keyward: hint: use --force to replace it",
            &error("s/t/other.kw: the encryption context is not the one expected: x=y instead of no context"),
            "keyward: hint: if that is the file you mean, give its context with --context KEY=VALUE",
            &error("s/t/text.kw: not a Keyward envelope"),
            "keyward: note: 2 done, 5 failed",
            &error("5 files failed: s/t/b.kw, s/t/c.kw, s/t/d.kw, s/t/other.kw, s/t/text.kw"),
        ],
    );
    let names: Vec<_> = tree(&bench.path("out")).into_keys().map(|name| name.display().to_string()).collect();
    assert_eq!(names, ["t/a", "t/e"]);
    let told = bench.run("decrypt -r s/t --output-dir out --json");
    assert_eq!(told.status, 1);
    let told = json(told.text());
    assert_eq!((&told["done"], &told["already_done"], &told["failed"]), (&0.into(), &2.into(), &5.into()));
    assert_eq!(told["failures"].as_array().unwrap().len(), 5);
}

#[test]
fn missing_files_and_directories_without_r_fail_by_themselves() {
    let bench = bench();
    fs::create_dir(bench.path("dir")).unwrap();
    bench.write("a", "a");
    bench.run("encrypt --key k a nowhere dir").is(
        1,
        &[
            "keyward: error: cannot open 'nowhere': No such file or directory (os error 2)",
            "keyward: error: 'dir' is a directory",
            "keyward: hint: -r takes directories, with all that is in them",
            "keyward: note: 1 done, 2 failed",
            "keyward: error: 2 files failed: nowhere, dir",
        ],
    );
    assert!(bench.path("a.kw").exists());
    bench.run("decrypt a a.kw --output-dir out").is(
        1,
        &[
            "keyward: error: 'a' is not called something.kw",
            "keyward: hint: decrypt it alone, and name the output with -o OUT",
            "keyward: note: 1 done, 1 failed",
            "keyward: error: 1 file failed: a",
        ],
    );
}

#[test]
fn outputs_that_collide_are_wrong_usage_and_nothing_is_written() {
    let bench = bench();
    for name in ["x", "y"] {
        fs::create_dir(bench.path(name)).unwrap();
        bench.write(&format!("{name}/f"), name);
    }
    let refuses = |line: &str, error: &str, hint: &str| {
        bench.refuses(line, 2, &[&format!("keyward: error: {error}"), &format!("keyward: hint: {hint}")]);
        assert!(!bench.path("out").exists(), "{line}");
    };
    let other = "give them another --output-dir each";
    refuses("encrypt --key k x/f y/f --output-dir out", "'x/f' and 'y/f' would both become 'out/f.kw'", other);
    refuses("encrypt --key k -r x/. y/. --output-dir out", "'x/./f' and 'y/./f' would both become 'out/f.kw'", other);
    let several = "-o names one output, and there are several inputs";
    refuses("encrypt --key k x/f y/f -o out", several, "name a directory with --output-dir");
    refuses(
        "encrypt --key k x/f -",
        "standard input cannot be one of several files",
        "write ./- for a file of that name",
    );
    refuses("encrypt --key k --output-dir out", "no file is named", "name files, or with -r directories");
    refuses("decrypt x/f --json", "--json is for several files", "leave it away, or add --output-dir");
    bench.refuses("decrypt --range 0-1 x/f y/f", 2, &["keyward: error: --range is for a single file"]);
    bench.ok("encrypt --key k x/f -o x/f.kw");
    bench.ok("encrypt --key k x/f.kw -o x/f.kw.kw");
    refuses(
        "decrypt -r x",
        "'x/f.kw.kw' would be decrypted to 'x/f.kw', which is to be decrypted itself",
        "name an --output-dir",
    );
    let clash = bench.run("encrypt --key k -r x -o out");
    assert_eq!(clash.status, 2);
    assert!(clash.stderr.contains("cannot be used with"), "{}", clash.stderr);
}

/// One file, encrypted with `--output-dir out`, and then something else is true of it.
fn not_the_same(change: impl FnOnce(&Bench), line: &str, why: &str) {
    let bench = bench();
    bench.ok("key create other");
    bench.write("a", "hello");
    bench.ok("encrypt -q --key k a --output-dir out");
    change(&bench);
    let before = bench.read("out/a.kw");
    bench.run(line).is(
        1,
        &[
            &format!("keyward: error: 'out/a.kw' exists already and is not what 'a' would become: it {why}"),
            "keyward: hint: use --force to replace it",
            "keyward: note: 0 done, 1 failed",
            "keyward: error: 1 file failed: a",
        ],
    );
    assert_eq!(bench.read("out/a.kw"), before, "{why}");
    bench.run(&format!("{line} --force")).is(0, &["keyward: note: 1 done"]);
    assert_ne!(bench.read("out/a.kw"), before, "{why}");
    bench.run(line).is(0, &["keyward: note: 0 done, 1 already done"]);
}

#[test]
fn an_output_that_is_not_of_this_input_is_not_taken_for_it() {
    let line = "encrypt --key k a --output-dir out";
    let later = |bench: &Bench| {
        let file = fs::File::options().write(true).open(bench.path("a")).unwrap();
        file.set_modified(SystemTime::now() + Duration::from_secs(5)).unwrap();
    };
    not_the_same(later, line, "is older");
    let longer = |bench: &Bench| {
        let time = bench.path("a").metadata().unwrap().modified().unwrap();
        bench.write("a", "hello!");
        fs::File::options().write(true).open(bench.path("a")).unwrap().set_modified(time).unwrap();
    };
    not_the_same(longer, line, "has another length");
    not_the_same(|bench| bench.write("out/a.kw", "text"), line, "is not an envelope");
    not_the_same(|_| (), "encrypt --key k --context a=b a --output-dir out", "has another encryption context");
    not_the_same(|_| (), "encrypt --key other a --output-dir out", "is not under these keys");
    not_the_same(|_| (), "encrypt --key k,other a --output-dir out", "is not under these keys");
    // Rotated and rewrapped since, it is still the same.
    let bench = bench();
    bench.write("a", "hello");
    bench.ok("encrypt -q --key k a --output-dir out");
    bench.ok("key rotate k");
    bench.run(line).is(0, &["keyward: note: 0 done, 1 already done"]);
    bench.ok("rewrap out/a.kw");
    bench.run(line).is(0, &["keyward: note: 0 done, 1 already done"]);
}

#[test]
fn what_every_file_would_meet_ends_the_run() {
    let bench = bench();
    fs::create_dir(bench.path("t")).unwrap();
    for at in 0..50 {
        bench.write(&format!("t/{at}"), "x");
    }
    bench.run("encrypt --key nokey -r t --jobs 1").is(
        1,
        &[
            "keyward: error: t/0: key 'nokey' is not among the keys that may be used here",
            "keyward: hint: `keyward key list` shows the keys of the token",
            "keyward: note: 0 done, 1 failed, 49 not begun",
            "keyward: error: 1 file failed: t/0",
            "keyward: hint: the same command again goes on with the rest",
        ],
    );
    assert_eq!(tree(&bench.path("t")).len(), 50);
}
