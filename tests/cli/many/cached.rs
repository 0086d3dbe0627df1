//! Data keys that a run keeps, where it is asked to.

use super::token::{command, faulty};
use super::tree;
use crate::bench::{Bench, Done};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;

const FILES: usize = 200;

/// How many data keys the files below `s` have. Each wrapping has random bytes, so equal entries are of one data key.
/// The tag behind the entries differs from file to file.
fn data_keys(bench: &Bench) -> usize {
    let all = tree(&bench.path("s"));
    assert_eq!(all.len(), FILES);
    let entries = all.into_values().map(|file| {
        let used = usize::from(u16::from_be_bytes([file[40], file[41]]));
        file[42..42 + used].to_vec()
    });
    entries.collect::<BTreeSet<_>>().len()
}

#[test]
fn a_data_key_is_shared_only_where_that_is_asked_for_and_by_as_many_files_as_may() {
    let (bench, _) = faulty("");
    let encrypt = "encrypt -q --key k -r t/. --output-dir s --jobs 4";
    bench.ok(encrypt);
    assert_eq!(data_keys(&bench), FILES);
    for (table, keys) in [("", 1), ("[cache]\nmax_messages = 50\n", 4), ("[cache]\nmax_messages = 1\n", FILES)] {
        fs::remove_dir_all(bench.path("s")).unwrap();
        bench.write("cache.toml", table);
        bench.ok(&format!("--config cache.toml {encrypt} --cache-data-keys"));
        assert_eq!(data_keys(&bench), keys, "{table}");
        let _ = fs::remove_dir_all(bench.path("back"));
        bench.ok("decrypt -q -r s/. --output-dir back --cache-data-keys");
        assert!(tree(&bench.path("back")) == tree(&bench.path("t")));
    }
    // The table alone asks for nothing.
    fs::remove_dir_all(bench.path("s")).unwrap();
    bench.write("cache.toml", "[cache]\nmax_messages = 50\n");
    bench.ok(&format!("--config cache.toml {encrypt}"));
    assert_eq!(data_keys(&bench), FILES);
}

#[test]
fn a_token_that_answers_few_calls_is_enough_for_many_files() {
    let (bench, uri) = faulty("C_EncryptInit 2-1000000 dead\nC_DecryptInit 2-1000000 dead\n");
    let run = |line: &str| Done::of(line, command(&bench, &uri, line).output().unwrap());
    let encrypt = "encrypt -q --key k -r t/. --output-dir s --jobs 4";
    assert_eq!(run(encrypt).status, 5);
    fs::remove_dir_all(bench.path("s")).unwrap();
    run(&format!("{encrypt} --cache-data-keys")).ok();
    let decrypt = "decrypt -q -r s/. --output-dir back --jobs 4";
    assert_eq!(run(decrypt).status, 5);
    run(&format!("{decrypt} --cache-data-keys")).ok();
    assert!(tree(&bench.path("back")) == tree(&bench.path("t")));

    // Under new keys, each file has one of its own: the old ones alone are read from memory.
    bench.ok("key rotate k");
    bench.ok("reencrypt -q -r s --cache-data-keys");
    assert_eq!(data_keys(&bench), FILES);
    bench.ok("decrypt -q -r s/. --output-dir again");
    assert!(tree(&bench.path("again")) == tree(&bench.path("t")));
}

#[test]
fn what_is_answered_from_memory_is_recorded_and_decided_too() {
    let (bench, _) = faulty("");
    bench.ok("audit init --public audit.pem");
    bench.write("all.cedar", "permit(principal, action, resource);");
    bench.write("keyward.toml", "policy = 'all.cedar'\n[audit]\nlog = 'audit.log'\n");
    bench.ok("--config keyward.toml encrypt -q --key k -r t/. --output-dir s --cache-data-keys");
    assert_eq!(data_keys(&bench), 1);
    bench.ok("--config keyward.toml decrypt -q -r s/. --output-dir back --cache-data-keys");
    let shown: Value = serde_json::from_str(&bench.ok("--config keyward.toml audit show --json")).unwrap();
    let shown = shown["operations"].as_array().unwrap();
    for operation in ["GenerateDataKey", "Unwrap"] {
        assert_eq!(shown.iter().filter(|one| one["operation"] == operation).count(), FILES, "{operation}");
    }
    bench.write("all.cedar", "permit(principal, action == Keyward::Action::\"GenerateDataKey\", resource);");
    let refused = bench.run("--config keyward.toml decrypt -q -r s/. --output-dir no --cache-data-keys");
    assert_eq!((refused.status, tree(&bench.path("no")).len()), (1, 0), "{}", refused.stderr);
}

#[test]
fn limits_beyond_the_format_are_refused() {
    let (bench, _) = faulty("");
    for (table, what) in [
        ("max_messages = 32769", "a data key encrypts 1 to 32768 messages, not 32769"),
        ("max_age_seconds = 86401", "a data key is kept for up to 86400 s, not for 86401s"),
    ] {
        bench.write("bad.toml", format!("[cache]\n{table}\n"));
        let line = "--config bad.toml encrypt --key k -r t/. --output-dir s --cache-data-keys";
        bench.refuses(line, 2, &[&format!("keyward: error: configuration file 'bad.toml': table 'cache': {what}")]);
    }
}
