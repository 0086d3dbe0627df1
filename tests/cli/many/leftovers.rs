//! What a killed run leaves.

use super::{bench, plant, tree};
use crate::life::json;
use std::fs;

#[test]
fn a_second_run_removes_what_a_killed_one_has_left_and_nothing_that_is_being_written() {
    let bench = bench();
    plant(&bench.path("t"));
    bench.ok("encrypt -q --key k -r t/. --output-dir s");
    for name in ["s/a/.one.kw.abc123.keyward-tmp", "s/b/.large.kw.abc123.keyward-tmp", "s/b/.-r.kw.abc123.keyward-tmp"]
    {
        bench.write(name, "half");
    }
    // Somebody is still at this one.
    let living = fs::File::open(bench.path("s/b/.-r.kw.abc123.keyward-tmp")).unwrap();
    living.lock().unwrap();
    // And this one is where nothing is written.
    bench.write("t/a/.one.abc123.keyward-tmp", "half");
    bench.run("encrypt --key k -r t/. --output-dir s").is(
        0,
        &["keyward: note: 0 done, 8 already done, 1 skipped (1 temporary file of a run that was cut short); \
           removed 2 temporary files of runs that were cut short"],
    );
    let left = |root: &str| {
        let names = tree(&bench.path(root)).into_keys().map(|name| name.display().to_string());
        names.filter(|name| name.ends_with(".keyward-tmp")).collect::<Vec<_>>()
    };
    assert_eq!(left("s"), ["b/.-r.kw.abc123.keyward-tmp"]);
    assert_eq!(left("t"), ["a/.one.abc123.keyward-tmp"]);
    drop(living);
    // Where files are changed in place, too.
    let told = json(&bench.ok("reencrypt -r s --json"));
    assert_eq!((&told["temporaries_removed"], &told["skipped"]), (&1.into(), &serde_json::json!({})));
    assert!(left("s").is_empty());
}
