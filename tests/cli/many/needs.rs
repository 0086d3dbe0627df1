//! Which versions are still needed: `rewrap -r`, `reencrypt -r`, `key usage`.

use super::{bench, plant, tree};
use crate::life::json;
use serde_json::{Value, json as value};
use std::fs;

#[test]
fn rewrap_says_what_still_needs_an_older_version() {
    let bench = bench();
    plant(&bench.path("t"));
    bench.ok("encrypt -q --key k -r t/. --output-dir s");
    bench.write("s/readme", "no envelope");
    bench.ok("key create other");
    bench.ok("encrypt -q --key other t/b/-r -o s/other.kw");
    bench.ok("key rotate k");
    bench.ok("encrypt -q --key k --context a=b t/a/one -o s/new.kw");
    let first = bench.run("rewrap -r s --context a=b");
    assert_eq!((first.status, first.text()), (1, "still needs k:1: 8 files\n"));
    assert!(first.stderr.contains("keyward: note: 0 done, 9 failed, 1 already done, 1 skipped (1 not an envelope)\n"));
    let second = bench.run("rewrap -r s");
    assert_eq!((second.status, second.text()), (0, "nothing needs an older version\n"));
    assert_eq!(second.stderr, "keyward: note: 8 done, 2 already done, 1 skipped (1 not an envelope)\n");
    let before = tree(&bench.path("s"));
    let third = json(&bench.ok("rewrap -r s --json"));
    assert_eq!((&third["done"], &third["already_done"]), (&0.into(), &10.into()));
    assert_eq!(third["still_needed"]["versions"], value!([]));
    assert_eq!(tree(&bench.path("s")), before);
    bench.ok("key destroy k:1 --yes --used-in s");
    bench.ok("decrypt -q -r s/b --output-dir back");
    assert_eq!(tree(&bench.path("back/b")), tree(&bench.path("t/b")));

    // Where all are to go to one key, those that stayed behind need theirs.
    bench.ok("key disable other:1");
    let moved = bench.run("rewrap --key k -r s --json");
    assert_eq!(moved.status, 1);
    assert_eq!(json(moved.text())["still_needed"]["versions"], value!([{ "key": "other:1", "files": 1 }]));
}

#[test]
fn files_named_one_by_one_are_told_in_their_order() {
    let bench = bench();
    let names: Vec<_> = (0..40).map(|at| format!("f{at}")).collect();
    for name in &names {
        bench.write(name, name);
    }
    bench.ok(&format!("encrypt -q --key k {}", names.join(" ")));
    let sealed: Vec<_> = names.iter().map(|name| format!("{name}.kw")).collect();
    let told = |what: &str| sealed.iter().map(|name| format!("{name}: {what}\n")).collect::<String>();
    assert_eq!(bench.ok(&format!("rewrap {}", sealed.join(" "))), told("up to date"));
    bench.ok("key rotate k");
    assert_eq!(bench.ok(&format!("rewrap {}", sealed.join(" "))), told("rewrapped, generation 2"));
    assert_eq!(bench.ok(&format!("reencrypt {}", sealed.join(" "))), told("reencrypted"));
    let line = format!("reencrypt {}", sealed.join(" "));
    assert_eq!(bench.ok(&line), told("under the current version from the start"));
}

#[test]
fn reencryption_goes_on_where_it_was() {
    let bench = bench();
    let files = plant(&bench.path("t"));
    bench.ok("encrypt -q --key k --context a=b -r t/. --output-dir s");
    // Without a rotation there is nothing that an older version opens.
    bench.run("reencrypt -r s").is(0, &["keyward: note: 0 done, 8 already done"]);
    bench.ok("key rotate k");
    // A new wrapping of an old data key is not enough.
    bench.ok("rewrap -q s/a/one.kw");
    let before = tree(&bench.path("s"));
    bench.run("reencrypt -r s/a s/b").is(0, &["keyward: note: 7 done"]);
    bench.run("reencrypt -r s").is(0, &["keyward: note: 1 done, 7 already done"]);
    let after = tree(&bench.path("s"));
    assert!(before.iter().all(|(name, content)| after[name] != *content));
    bench.run("reencrypt -r s").is(0, &["keyward: note: 0 done, 8 already done"]);
    assert_eq!(tree(&bench.path("s")), after);
    // Whatever the keys, by the time.
    bench.run("reencrypt -r s --before 2001-01-01T00:00:00Z").is(0, &["keyward: note: 0 done, 8 already done"]);
    bench.run("reencrypt -r s --before 2999-01-01T00:00:00Z").is(0, &["keyward: note: 8 done"]);
    assert!(tree(&bench.path("s")).iter().all(|(name, content)| after[name] != *content));
    bench.ok("key destroy k:1 --yes --used-in s");
    bench.ok("decrypt -q --context a=b -r s/. --output-dir back");
    assert_eq!(tree(&bench.path("back")), files);
    let alone = bench.run("reencrypt s/a/one.kw --before 2001-01-01T00:00:00Z");
    assert_eq!(alone.stderr, "keyward: error: --before is for several files, or -r\n");
}

#[test]
fn usage_counts_the_files_under_each_version() {
    let bench = bench();
    bench.ok("key create other");
    fs::create_dir_all(bench.path("s/deep")).unwrap();
    bench.write("plain", "hello");
    for name in ["s/a", "s/deep/b", "s/both"] {
        bench.ok(&format!("encrypt --key k plain -o {name}"));
    }
    bench.ok("encrypt --key other plain -o s/other");
    bench.write("s/text", "hello");
    std::os::unix::fs::symlink("a", bench.path("s/link")).unwrap();
    bench.ok("key rotate k");
    for name in ["s/c", "s/deep/d"] {
        bench.ok(&format!("encrypt --key k,other plain -o {name}"));
    }
    bench.ok("key rotate k");
    let told = bench.run("key usage k s");
    assert_eq!((told.status, told.stderr.as_str()), (0, "keyward: note: not followed: 1 symbolic link\n"));
    assert_eq!(
        told.text(),
        "KEY  STATE    FILES\n\
         k:1  retired  3\n\
         k:2  retired  2\n\
         k:3  active   0\n\
         under other keys alone: 1 file\n\
         not encrypted: 1 file\n"
    );
    let cut = bench.read("s/a");
    bench.write("s/cut", &cut[..40]);
    let told = bench.run("key usage k s nowhere --json");
    assert_eq!(told.status, 0);
    let told = json(told.text());
    let counts: Vec<_> = told["versions"].as_array().unwrap().iter().map(|one| &one["files"]).collect();
    assert_eq!(counts, [&Value::from(3), &2.into(), &0.into()]);
    assert_eq!(
        (&told["other_keys"], &told["not_envelopes"], &told["symbolic_links"]),
        (&1.into(), &1.into(), &1.into())
    );
    let unreadable: Vec<_> = told["unreadable"].as_array().unwrap().iter().map(|one| &one["file"]).collect();
    assert_eq!(unreadable, ["nowhere", "s/cut"]);
    let none = bench.run("key usage nokey s");
    assert_eq!(none.status, 1);
    assert!(none.stderr.starts_with("keyward: error: there is no key 'nokey'\n"), "{}", none.stderr);
}

#[test]
fn reencryption_keeps_several_keys_only_when_asked_to() {
    let bench = bench();
    for key in ["a", "b", "gone"] {
        bench.ok(&format!("key create {key}"));
    }
    bench.write("plain", "hello");
    bench.ok("encrypt -q --key a,b plain -o both.kw");
    bench.ok("encrypt -q --key a,gone plain -o lost.kw");
    bench.ok("key destroy gone:1 --yes");
    bench.ok("key rotate a");
    let keys = |name: &str| {
        let found = json(&bench.ok(&format!("inspect --json {name}")));
        found["entries"].as_array().unwrap().iter().map(|entry| entry["kek_id"].clone()).collect::<Vec<_>>()
    };
    let gone = keys("lost.kw")[1].as_str().unwrap().to_owned();
    let before = bench.read("lost.kw");
    // Anyone who ever opened a file can have added an entry: which keys are kept is for the operator to say.
    let hint = "keyward: hint: anyone who ever opened it can have added a key: name its keys with --key, or keep all \
                with --keep-keys";
    let say = "which of them shall open it is for the caller to say";
    let error = format!("keyward: error: both.kw: this file has entries under 'a', 'b': {say}");
    bench.refuses("reencrypt both.kw", 2, &[&error, hint]);
    let error = format!("keyward: error: lost.kw: this file has entries under 'a', the key with KEK id {gone}: {say}");
    bench.refuses("reencrypt lost.kw", 2, &[&error, hint]);
    let error = format!("lost.kw: the key with KEK id {gone} is not known here, and could not open the new file");
    let hint = "keyward: hint: name the keys that are to open the new file";
    bench.refuses("reencrypt --keep-keys lost.kw", 1, &[&format!("keyward: error: {error}"), hint]);
    let some = bench.run("reencrypt --keep-keys lost.kw both.kw");
    assert_eq!((some.status, some.text()), (1, "both.kw: reencrypted\n"));
    assert!(some.stderr.contains(&error) && some.stderr.contains(hint), "{}", some.stderr);
    assert_eq!(bench.read("lost.kw"), before);
    assert_eq!(keys("both.kw").len(), 2);
    for key in ["a", "b"] {
        assert_eq!(bench.ok(&format!("decrypt --key {key} both.kw")), "hello");
    }
    bench.ok("reencrypt --key a lost.kw");
    assert_eq!(keys("lost.kw").len(), 1);
    // All of them current is what counts as done.
    bench.run("reencrypt --keep-keys -r both.kw").is(0, &["keyward: note: 0 done, 1 already done"]);
    bench.ok("key rotate b");
    bench.run("reencrypt --keep-keys -r both.kw").is(0, &["keyward: note: 1 done"]);
    bench.ok("reencrypt --key a both.kw");
    assert_eq!(keys("both.kw").len(), 1);
}
