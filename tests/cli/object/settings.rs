//! The table `[object]`, and two configurations that do not agree about one store.

use super::{Objects, SERVER};

#[test]
fn two_configurations_of_one_store_do_not_disagree_in_silence() {
    let objects = Objects::new();
    let url = &objects.url;
    objects.bench.write("a", "hello");
    objects.bench.write("one.toml", "[object]\nheader_len = 2048\ndetached_slots = true\nname = 'archive'\n");
    objects.run("--config one.toml object put a S3/a").ok();
    let disagrees = |line: &str, told: &str| {
        objects.run(line).is(
            2,
            &[
                &format!("keyward: error: the store '{url}/' was written with {told}"),
                "keyward: hint: set it like that in the table [object] of the configuration file; `keyward object --help` says how",
            ],
        );
    };
    // Each would be wrong otherwise: sizes that are listed, objects that are refused, wrapped keys that stay behind.
    let all = "header_len = 2048, and not 4096; detached_slots = true, and not false; name = \"archive\", and not none";
    for line in [
        "object ls S3",
        "object put a S3/b",
        "object get S3/a -",
        "object rm S3/a",
        "object head S3/a",
        "object usage S3",
    ] {
        disagrees(line, all);
    }
    objects.bench.write("two.toml", "[object]\nheader_len = 2048\ndetached_slots = true\nname = 'other'\n");
    disagrees("--config two.toml object cp S3/a S3/b", "name = \"archive\", and not \"other\"");
    assert_eq!(objects.run("--config one.toml object get S3/a -").ok(), "hello");
    assert_eq!(objects.keys_in_the_bucket().iter().filter(|key| !key.starts_with(".keyward/")).count(), 1);

    // What another made of it makes a command refuse, and no more.
    SERVER.boto("s3.put_object(Bucket=sys.argv[1], Key='.keyward/store', Body=b'{}')", &[&objects.bucket]);
    objects.run("--config one.toml object get S3/a -").is(
        1,
        &[
            &format!("keyward: error: '{url}/.keyward/store' does not say what the store was written with"),
            "keyward: hint: it was altered; remove it, and the next write makes it anew",
        ],
    );
}

#[test]
fn a_table_that_makes_no_sense_is_told_with_its_line() {
    let objects = Objects::new();
    for (table, told) in [
        (
            "sse = 'aws:kms'",
            "configuration file 'keyward.toml': 'sse' = \"aws:kms\" needs 'sse_kms_key_id', the name of a master key",
        ),
        ("sse = 'customer'", "configuration file 'keyward.toml': 'sse' is \"aws:kms\" or \"AES256\""),
        (
            "sse_kms_key_id = 'payments'",
            "configuration file 'keyward.toml': 'sse_kms_key_id' is for 'sse' = \"aws:kms\"",
        ),
        (
            "require = ['none']",
            "configuration file 'keyward.toml', line 2: one of the names is not one of a mode, or of a key",
        ),
        ("ssee = 'aws:kms'", "configuration file 'keyward.toml', line 2: unknown field `ssee`"),
    ] {
        objects.bench.write("keyward.toml", format!("[object]\n{table}\n"));
        let done = objects.run("--config keyward.toml object ls S3");
        assert_eq!(done.status, 2, "{}", done.stderr);
        assert!(done.stderr.starts_with(&format!("keyward: error: {told}")), "{}", done.stderr);
    }
    objects.bench.write("keyward.toml", "[object]\nheader_len = 100\n");
    objects
        .run("--config keyward.toml object ls S3")
        .is(2, &["keyward: error: the header of a store is 512 to 65536 bytes long"]);
}
