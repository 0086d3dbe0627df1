//! `keyward object`: each verb on a token, an S3 server and a directory, what it says and how it exits.

mod faults;
mod refusals;
mod settings;

use crate::bench::{Bench, Done, sample};
use crate::life::json;
use crate::s3_server::S3Server;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

/// One for all tests: it takes its time to start.
static SERVER: LazyLock<S3Server> = LazyLock::new(S3Server::start);

/// A token, and a bucket of its own.
pub(crate) struct Objects {
    pub(crate) bench: Bench,
    /// `s3://BUCKET`.
    url: String,
    bucket: String,
    /// Where the server is asked for.
    endpoint: String,
}

impl Objects {
    pub(crate) fn new() -> Self {
        let bench = Bench::new();
        bench.ok("key create payments");
        let bucket = SERVER.bucket();
        Self { bench, url: format!("s3://{bucket}"), bucket, endpoint: SERVER.url() }
    }

    /// A command line in which `S3` stands for the bucket's URL.
    fn command(&self, line: &str) -> Command {
        let line = line.replace("S3", &self.url);
        let mut command = self.bench.keyward(line.split(' '));
        for (name, _) in std::env::vars_os() {
            if ["AWS_", "GOOGLE_", "AZURE_"].iter().any(|cloud| name.to_string_lossy().starts_with(cloud)) {
                command.env_remove(name);
            }
        }
        command.env("AWS_ACCESS_KEY_ID", "a").env("AWS_SECRET_ACCESS_KEY", "b").env("AWS_REGION", "us-east-1");
        command.env("AWS_ENDPOINT_URL", &self.endpoint).env("AWS_ALLOW_HTTP", "true");
        command
    }

    pub(crate) fn run(&self, line: &str) -> Done {
        Done::of(line, self.command(line).output().unwrap())
    }

    #[track_caller]
    fn ok(&self, line: &str) -> String {
        let done = self.run(line);
        assert_eq!(done.stderr, "", "{line}");
        done.ok()
    }

    fn pipe(&self, line: &str, input: &[u8]) -> Done {
        use std::io::Write;
        let mut command = self.command(line);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let output = std::thread::scope(|scope| {
            scope.spawn(move || {
                // A program that fails early does not read all.
                let _ = stdin.write_all(input);
            });
            child.wait_with_output().unwrap()
        });
        Done::of(line, output)
    }

    /// What the bucket holds, as another client sees it.
    fn keys_in_the_bucket(&self) -> Vec<String> {
        let list = "for one in s3.list_objects_v2(Bucket=sys.argv[1]).get('Contents', []): print(one['Key'])";
        SERVER.boto(list, &[&self.bucket]).lines().map(ToOwned::to_owned).collect()
    }
}

#[test]
fn put_get_head_ls_and_rm() {
    let objects = Objects::new();
    let url = &objects.url;
    objects.bench.write("a.txt", "hello");
    assert_eq!(
        objects.ok("object put a.txt S3/reports/ --sse aws:kms --sse-kms-key-id payments -c tenant=acme"),
        format!("put: a.txt to {url}/reports/a.txt\n")
    );
    assert_eq!(objects.ok("object get S3/reports/a.txt -"), "hello");
    assert_eq!(objects.ok("object get S3/reports/a.txt b.txt"), format!("get: {url}/reports/a.txt to b.txt\n"));
    assert_eq!(objects.bench.read("b.txt"), b"hello");
    assert_eq!(objects.ok("object get S3/reports/a.txt - --range 1-3"), "ell");
    assert_eq!(objects.ok("object get S3/reports/a.txt - --range 3-"), "lo");
    assert_eq!(objects.ok("--quiet object put a.txt S3/x"), "");

    let head = json(&objects.ok("object head --json S3/reports/a.txt"));
    assert_eq!(head["url"], format!("{url}/reports/a.txt"));
    assert_eq!((head["key"].as_str(), head["size"].as_u64()), (Some("reports/a.txt"), Some(5)));
    let encryption = &head["encryption"];
    assert_eq!((encryption["mode"].as_str(), encryption["bucket_key"].as_bool()), (Some("aws:kms"), Some(false)));
    assert_eq!(encryption["context"], serde_json::json!({ "tenant": "acme" }));
    let key = json(&objects.bench.ok("key show payments --json"));
    assert!(key.to_string().contains(encryption["kek_ids"][0].as_str().unwrap()), "{key}");
    let head = objects.ok("object head S3/reports/a.txt");
    let lines: Vec<_> = head.lines().collect();
    assert_eq!(lines[..2], [format!("url         {url}/reports/a.txt"), "size        5".into()]);
    assert!(lines.contains(&"encryption  aws:kms") && lines.contains(&"context     tenant=acme"), "{head}");

    // Without a token: names, sizes and times are no secrets.
    let listed = objects.ok("--token= object ls S3");
    let lines: Vec<_> = listed.lines().collect();
    assert_eq!(lines[0], "                             PRE reports/");
    assert!(lines[1].ends_with("            5 x") && lines.len() == 2, "{listed}");
    let listed = objects.ok("--token= object ls -r S3");
    let names: Vec<_> = listed.lines().map(|line| line.rsplit(' ').next().unwrap()).collect();
    assert_eq!(names, ["reports/a.txt", "x"]);
    assert!(objects.ok("object ls S3/reports").ends_with(" 5 a.txt\n"));
    assert!(objects.ok("object ls S3/reports/a.txt").ends_with(" 5 a.txt\n"));
    let listed = json(&objects.ok("object ls --json S3"));
    assert_eq!(listed["prefixes"], serde_json::json!(["reports/"]));
    assert_eq!((listed["objects"][0]["key"].as_str(), listed["objects"][0]["size"].as_u64()), (Some("x"), Some(5)));
    let listed = json(&objects.ok("object ls -r --json S3"));
    assert_eq!(listed["objects"].as_array().unwrap().len(), 2);

    assert_eq!(objects.ok("--token= object rm S3/x"), format!("rm: {url}/x\n"));
    assert_eq!(objects.keys_in_the_bucket(), [".keyward/store", "reports/a.txt"]);
}

#[test]
fn standard_input_and_output() {
    let objects = Objects::new();
    // Longer than one part, and of no length that is known.
    let content = sample(17 << 20);
    assert!(objects.pipe("object put - S3/stream", &content).ok().starts_with("put: - to "));
    assert!(objects.run("object get S3/stream -").bytes() == content);
    assert!(objects.pipe("object put - S3/empty", b"").ok().starts_with("put: - to "));
    assert_eq!(objects.ok("object get S3/empty -"), "");
    assert_eq!(
        SERVER
            .boto("print(s3.head_object(Bucket=sys.argv[1], Key='stream')['ETag'])", &[&objects.bucket])
            .trim()
            .rsplit('-')
            .next(),
        Some("2\"")
    );
}

#[test]
fn trees_go_in_and_come_out_as_they_were() {
    let objects = Objects::new();
    let url = &objects.url;
    std::fs::create_dir_all(objects.bench.path("tree/deep/er")).unwrap();
    for (name, content) in [("tree/a", "1"), ("tree/deep/b c", "22"), ("tree/deep/er/d%41?", "333")] {
        objects.bench.write(name, content);
    }
    std::os::unix::fs::symlink("a", objects.bench.path("tree/link")).unwrap();
    let done = objects.run("object put -r tree S3/backup/ --sse aws:kms --sse-kms-key-id payments");
    let mut lines: Vec<_> = done.text().lines().collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            format!("put: tree/a to {url}/backup/a"),
            format!("put: tree/deep/b c to {url}/backup/deep/b%20c"),
            format!("put: tree/deep/er/d%41? to {url}/backup/deep/er/d%2541%3F"),
        ]
    );
    assert_eq!(done.stderr, "keyward: note: 3 done\nkeyward: note: not followed or no regular file: 1 file\n");
    // What is printed names the object again.
    assert_eq!(objects.ok("object get S3/backup/deep/er/d%2541%3F -"), "333");
    let done = objects.run("object get -r S3/backup/ restored");
    assert_eq!((done.status, done.stderr.as_str()), (0, "keyward: note: 3 done\n"));
    for name in ["a", "deep/b c", "deep/er/d%41?"] {
        assert_eq!(objects.bench.read(&format!("restored/{name}")), objects.bench.read(&format!("tree/{name}")));
    }
    // What is there already is told, and nothing else is kept from being done.
    std::fs::remove_file(objects.bench.path("restored/a")).unwrap();
    let done = objects.run("object get -r S3/backup/ restored");
    assert_eq!((done.status, done.stderr.lines().last()), (1, Some("keyward: note: 1 done, 2 failed")));
    assert_eq!(done.stderr.matches("keyward: hint: use --force to replace it").count(), 1, "{}", done.stderr);
    assert_eq!(objects.bench.read("restored/a"), b"1");

    let done = objects.run("object cp -r S3/backup/ S3/copy/");
    assert_eq!((done.status, done.stderr.as_str()), (0, "keyward: note: 3 done\n"));
    assert_eq!(objects.ok("object get S3/copy/deep/b%20c -"), "22");
    let done = objects.run("object rm -r S3/backup/");
    assert_eq!((done.status, done.text().lines().count()), (0, 3));
    assert_eq!(objects.keys_in_the_bucket(), [".keyward/store", "copy/a", "copy/deep/b c", "copy/deep/er/d%41?"]);
}

#[test]
fn copies_keep_how_their_source_is_encrypted_unless_told_otherwise() {
    let objects = Objects::new();
    let other = format!("s3://{}", SERVER.bucket());
    let directory = format!("file://{}", objects.bench.path("store").display());
    objects.bench.write("a", "hello");
    objects.bench.write("my.key", [7; 32]);
    objects.bench.write("new.key", [8; 32]);
    objects.ok("object put a S3/kms --sse aws:kms --sse-kms-key-id payments -c tenant=acme");
    objects.ok("object put a S3/managed --sse AES256");
    objects.ok("object put a S3/mine --sse-c AES256 --sse-c-key my.key");
    let encryption = |url: &str| json(&objects.ok(&format!("object head --json {url}")))["encryption"].clone();
    for to in ["S3/to/", &format!("{other}/to/"), &format!("{directory}/to/")] {
        for name in ["kms", "managed"] {
            objects.ok(&format!("object cp S3/{name} {to}"));
            assert_eq!(encryption(&format!("{to}{name}")), encryption(&format!("S3/{name}")), "{to}{name}");
            assert_eq!(objects.ok(&format!("object get {to}{name} -")), "hello");
        }
        let source = "--sse-c-copy-source AES256 --sse-c-copy-source-key my.key";
        objects.ok(&format!("--token= object cp S3/mine {to} {source}"));
        assert_eq!(objects.ok(&format!("object get {to}mine - --sse-c AES256 --sse-c-key my.key")), "hello");
        objects.ok(&format!("--token= object cp S3/mine {to}again {source} --sse-c AES256 --sse-c-key new.key"));
        assert_eq!(objects.ok(&format!("object get {to}again - --sse-c AES256 --sse-c-key new.key")), "hello");
        objects.ok(&format!("object cp S3/mine {to}ours {source} --sse aws:kms --sse-kms-key-id payments -c a=b"));
        assert_eq!(objects.ok(&format!("object get {to}ours - -c a=b")), "hello");
    }
    // Onto itself: under the current version of its key.
    objects.bench.ok("key rotate payments");
    let before = encryption("S3/kms");
    objects.ok("object cp S3/kms S3/kms");
    let after = encryption("S3/kms");
    assert!(before["kek_ids"] != after["kek_ids"] && before["context"] == after["context"], "{before} {after}");
}

#[test]
fn directories_are_stores_too() {
    let objects = Objects::new();
    let store = format!("file://{}", objects.bench.path("store").display());
    objects.bench.write("a", "hello");
    objects.ok(&format!("object put a {store}/x/"));
    assert_eq!(objects.ok(&format!("object get {store}/x/a -")), "hello");
    assert!(objects.ok(&format!("object ls {store}/x/")).ends_with(" 5 a\n"));
    assert_eq!(&objects.bench.read("store/x/a")[..4], b"\x89KWE");
    std::fs::rename(objects.bench.path("store/x/a"), objects.bench.path("store/x/b")).unwrap();
    assert_eq!(objects.run(&format!("object get {store}/x/b -")).status, 4);
    objects
        .run(&format!("object rm {store}/x/a"))
        .is(1, &[&format!("keyward: error: there is no object '{store}/x/a'")]);
    objects.ok(&format!("object rm {store}/x/b"));
    assert!(!objects.bench.path("store/x/b").exists());
}

#[test]
fn usage_says_which_versions_are_needed_and_rewrap_moves_objects_on() {
    let objects = Objects::new();
    objects
        .bench
        .write("keyward.toml", "[object]\ndetached_slots = true\nsse = 'aws:kms'\nsse_kms_key_id = 'payments'\n");
    objects.bench.write("a", "hello");
    objects.bench.write("my.key", [7; 32]);
    let with = |line: &str| objects.run(&format!("--config keyward.toml {line}"));
    for name in ["a", "b"] {
        with(&format!("object put a S3/{name}")).ok();
    }
    with("object put a S3/mine --sse-c AES256 --sse-c-key my.key").ok();
    objects.bench.ok("key rotate payments");
    with("object put a S3/c").ok();
    let versions = || {
        let usage = json(&with("object usage --json S3").ok());
        assert_eq!((usage["customer_keys"].as_u64(), usage["unknown"].as_array().unwrap().len()), (Some(1), 0));
        let versions = usage["versions"].as_array().unwrap().clone();
        let mut versions: Vec<_> =
            versions.iter().map(|one| (one["version"].as_u64().unwrap(), one["objects"].as_u64().unwrap())).collect();
        versions.sort_unstable();
        versions
    };
    assert_eq!(versions(), [(1, 2), (2, 1)]);
    let etags = "print([s3.head_object(Bucket=sys.argv[1], Key=key)['ETag'] for key in 'abc'])";
    let before = SERVER.boto(etags, &[&objects.bucket]);
    let done = with("object rewrap S3");
    assert_eq!((done.status, done.stderr.as_str()), (0, "keyward: note: 4 done\n"));
    assert_eq!(
        (done.text().matches(": rewrapped, under ").count(), done.text().matches(": unchanged, ").count()),
        (2, 1)
    );
    assert!(done.text().contains("/mine: under a customer's own key, left as it is\n"), "{}", done.text());
    assert_eq!(versions(), [(2, 3)]);
    assert_eq!(SERVER.boto(etags, &[&objects.bucket]), before);
    assert_eq!(with("object get S3/a -").ok(), "hello");
    // As a table, and without a token by KEK ids alone.
    let table = with("object usage S3").ok();
    assert!(table.starts_with("KEY         KEK ID  ") && table.contains("\npayments:2  "), "{table}");
    assert!(table.ends_with("\nunder customers' own keys: 1\n"), "{table}");
    let table = with("--token= object usage S3").ok();
    assert!(table.contains("\n-    "), "{table}");
}

#[test]
fn bucket_keys_need_one_call_to_the_token_for_many_objects() {
    let objects = Objects::new();
    objects.bench.ok("audit init --public audit.pem");
    std::fs::create_dir(objects.bench.path("tree")).unwrap();
    for number in 0..20 {
        objects.bench.write(&format!("tree/{number}"), "hello");
    }
    objects
        .bench
        .write("keyward.toml", "[audit]\nlog = 'audit.log'\n[object]\nsse = 'aws:kms'\nsse_kms_key_id = 'payments'\n");
    let calls = || {
        let shown = json(&objects.bench.ok("--config keyward.toml audit show --json"));
        let operations = shown["operations"].as_array().unwrap();
        operations.iter().filter(|one| one["operation"] == "GenerateDataKey").count()
    };
    objects.run("--config keyward.toml object put -r tree S3/each/").ok();
    assert_eq!(calls(), 20);
    objects.run("--config keyward.toml object put -r tree S3/shared/ --bucket-key-enabled").ok();
    // Those that begin at the same moment may each ask; what follows does not.
    assert!((21..=28).contains(&calls()), "{}", calls());
    assert_eq!(objects.ok("object get S3/shared/7 -"), "hello");
    assert_eq!(json(&objects.ok("object head --json S3/shared/7"))["encryption"]["bucket_key"], true);
}
