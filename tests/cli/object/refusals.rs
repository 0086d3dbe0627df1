//! Wrong input and what is refused: exact messages, exit statuses, and nothing written.

use super::{Objects, SERVER};
use crate::bench::sample;
use crate::faulty_proxy::{Fate, FaultyProxy};

#[test]
fn wrong_usage_is_told_before_anything_is_asked_for() {
    let mut objects = Objects::new();
    let proxy = FaultyProxy::new(&SERVER.address, |_, _| Fate::Pass);
    objects.endpoint = proxy.url.clone();
    objects.bench.write("a", "hello");
    objects.bench.write("my.key", [7; 32]);
    let url = objects.url.clone();
    let refuse = |line: &str, status: i32, stderr: &[&str]| {
        let before = objects.bench.files();
        objects.run(line).is(status, stderr);
        assert_eq!(objects.bench.files(), before, "{line}: files changed");
    };
    refuse(
        "object get report.pdf -",
        2,
        &[
            "keyward: error: invalid value 'report.pdf' for '<URL>': 'report.pdf' is no URL of a store",
            "keyward: hint: write s3://BUCKET/KEY, gs://BUCKET/KEY or az://CONTAINER/KEY",
        ],
    );
    refuse(
        "object rm -r file:///srv/files/",
        2,
        &[
            "keyward: error: invalid value 'file:///srv/files/' for '<URL>': 'file:///srv/files/' is no URL of a store",
            "keyward: hint: `keyward encrypt -r` and `decrypt -r` are for directories",
        ],
    );
    refuse(
        "object rm S3/a?b",
        2,
        &[
            &format!("keyward: error: invalid value '{url}/a?b' for '<URL>': '{url}/a?b' has a '?' or '#'"),
            "keyward: hint: in the name of an object write them as %3F and %23",
        ],
    );
    refuse(
        "object get S3 -",
        2,
        &[
            &format!("keyward: error: '{url}/' names no object"),
            "keyward: hint: write the object's key behind it, or take all below it with --recursive",
        ],
    );
    refuse(
        "object rm S3/reports/",
        2,
        &[
            &format!("keyward: error: '{url}/reports/' names no object"),
            "keyward: hint: write the object's key behind it, or take all below it with --recursive",
        ],
    );
    refuse(
        "object put - S3/x/",
        2,
        &[
            &format!("keyward: error: '{url}/x/' names no object"),
            "keyward: hint: what comes from standard input has no name of its own: write the object's key",
        ],
    );
    refuse(
        "object put a S3/a --sse-kms-key-id payments",
        2,
        &["keyward: error: --sse-kms-key-id goes with --sse aws:kms", "keyward: hint: say both, or neither"],
    );
    refuse(
        "object put a S3/a --sse aws:kms",
        2,
        &[
            "keyward: error: --sse aws:kms needs a master key",
            "keyward: hint: name it with --sse-kms-key-id; `keyward key list` shows which there are",
        ],
    );
    refuse(
        "object put a S3/a --sse-c-key my.key",
        2,
        &[
            "keyward: error: the following required arguments were not provided: --sse-c <ALGORITHM>",
            "keyward: hint: `keyward object put --help` says how",
        ],
    );
    refuse(
        "object put a S3/a --sse AES256 --sse-c AES256 --sse-c-key my.key",
        2,
        &[
            "keyward: error: the argument '--sse <MODE>' cannot be used with: --sse-c <ALGORITHM> --sse-c-key <FILE>",
            "keyward: hint: `keyward object put --help` says how",
        ],
    );
    refuse(
        "object cp S3/a S3/b -c tenant=acme",
        2,
        &[
            "keyward: error: a copy keeps the encryption context of its source",
            "keyward: hint: give it another with --sse or --sse-c",
        ],
    );
    refuse(
        "object rewrap S3",
        2,
        &[
            "keyward: error: objects of this store hold their wrapped keys themselves",
            "keyward: hint: set detached_slots = true in the table [object] where they do not; else `keyward object cp URL URL` encrypts one anew",
        ],
    );
    refuse(
        "object put missing S3/a",
        1,
        &["keyward: error: cannot open 'missing': No such file or directory (os error 2)"],
    );
    refuse(
        "object get S3/a my.key",
        1,
        &["keyward: error: 'my.key' exists already", "keyward: hint: use --force to replace it"],
    );
    assert_eq!(proxy.seen().len(), 0, "{:?}", proxy.seen());
}

#[test]
fn what_is_not_there_is_1() {
    let objects = Objects::new();
    let url = &objects.url;
    for line in ["object get S3/none out", "object head S3/none", "object cp S3/none S3/other"] {
        objects.run(line).is(1, &[&format!("keyward: error: there is no object '{url}/none'")]);
    }
    assert!(!objects.bench.path("out").exists());
    objects.run("object ls S3/none").is(1, &[&format!("keyward: error: there is nothing at '{url}/none'")]);
    objects.run("object rm -r S3/none/").is(1, &[&format!("keyward: error: there is no object below '{url}/none/'")]);
    for line in ["object get s3://no-such-bucket/a -", "object ls s3://no-such-bucket/a"] {
        objects.run(line).is(1, &["keyward: error: there is no bucket of 's3://no-such-bucket/a'"]);
    }
    objects.bench.write("a", "hello");
    objects.run("object put a S3/a --sse aws:kms --sse-kms-key-id nobody").is(
        1,
        &[
            &format!("keyward: error: '{url}/a': key 'nobody' is not among the keys that may be used here"),
            "keyward: hint: `keyward key list` shows the keys of the token",
        ],
    );
}

#[test]
fn what_the_configuration_does_not_take_is_3() {
    let objects = Objects::new();
    let url = &objects.url;
    objects.bench.write("a", "hello");
    objects.bench.ok("key create other");
    objects.bench.write("keyward.toml", "[object]\nrequire = ['aws:kms']\nrequire_keys = ['payments']\n");
    objects.run("--config keyward.toml object put a S3/a").is(
        3,
        &[&format!("keyward: error: '{url}/a': this store takes no objects that are encrypted in the mode 'AES256'")],
    );
    objects.run("--config keyward.toml object put a S3/a --sse aws:kms --sse-kms-key-id other").is(
        3,
        &[&format!("keyward: error: '{url}/a': this store takes no objects that are encrypted under key 'other'")],
    );
    let put = "--config keyward.toml object put a S3/a --sse aws:kms --sse-kms-key-id payments";
    objects.run(put).ok();
    // A policy, as for all other commands.
    objects.bench.write("keyward.toml", "policy = 'none.cedar'\n");
    objects.bench.write("none.cedar", "forbid(principal, action, resource);");
    for line in [put, "--config keyward.toml object get S3/a -"] {
        let done = objects.run(line);
        assert_eq!(
            (done.status, done.stderr.contains(&format!("keyward: error: '{url}/a': "))),
            (3, true),
            "{}",
            done.stderr
        );
    }
    // Of many, what all would meet is told once.
    std::fs::create_dir(objects.bench.path("tree")).unwrap();
    (0..30).for_each(|number| objects.bench.write(&format!("tree/{number}"), "hello"));
    let done = objects.run("--config keyward.toml object put -r tree S3/tree/ --sse aws:kms --sse-kms-key-id payments");
    assert_eq!((done.status, done.text()), (3, ""));
    assert_eq!(done.stderr.matches("keyward: error: ").count(), 1, "{}", done.stderr);
    assert!(done.stderr.contains(" failed; ended early, as all others would fare the same\n"), "{}", done.stderr);
    assert_eq!(objects.keys_in_the_bucket(), [".keyward/store", "a"]);
}

#[test]
fn what_does_not_authenticate_is_4_and_writes_nothing() {
    let objects = Objects::new();
    let url = &objects.url;
    objects.bench.write("a", sample(300_000));
    objects.ok("object put a S3/a -c tenant=acme");
    objects.ok("object put a S3/b");
    SERVER.boto(
        "s3.copy_object(Bucket=sys.argv[1], Key='moved', CopySource={'Bucket': sys.argv[1], 'Key': 'a'})
b = s3.get_object(Bucket=sys.argv[1], Key='b')['Body'].read()
s3.put_object(Bucket=sys.argv[1], Key='b', Body=b[:-1000] + bytes(1000))
s3.put_object(Bucket=sys.argv[1], Key='plain', Body=b'x' * 9000)",
        &[&objects.bucket],
    );
    let hint = "keyward: hint: wrong key, changed, or not what was written under this name: an object that another program copied or moved does not open";
    for name in ["moved", "b"] {
        objects.run(&format!("object get S3/{name} out")).is(
            4,
            &[
                &format!(
                    "keyward: error: '{url}/{name}': cannot decrypt: wrong key, wrong encryption context, or altered or truncated data"
                ),
                hint,
            ],
        );
    }
    assert_eq!(objects.run("object get S3/plain out").status, 4);
    objects.run("object get S3/a out -c tenant=evil").is(
        4,
        &[
            &format!(
                "keyward: error: '{url}/a': the encryption context of the object is not the one that the request names"
            ),
            "keyward: hint: if that is the file you mean, give its context with --context KEY=VALUE",
        ],
    );
    assert_eq!(objects.bench.files().len(), 1);
}

#[test]
fn with_a_wrong_key_of_a_customer_nothing_of_the_body_is_asked_for() {
    let mut objects = Objects::new();
    let proxy = FaultyProxy::new(&SERVER.address, |_, _| Fate::Pass);
    objects.endpoint = proxy.url.clone();
    let url = objects.url.clone();
    objects.bench.write("big", sample(3 << 20));
    objects.bench.write("my.key", [0x5a; 32]);
    objects.bench.write("new.key", [0x5b; 32]);
    objects.ok("--token= object put big S3/big --sse-c AES256 --sse-c-key my.key");
    let before = proxy.seen_of("/big").len();
    objects.run("--token= object get S3/big out --sse-c AES256 --sse-c-key new.key").is(
        4,
        &[
            &format!(
                "keyward: error: '{url}/big': cannot decrypt: wrong key, wrong encryption context, or altered or truncated data"
            ),
            "keyward: hint: wrong key, changed, or not what was written under this name: an object that another program copied or moved does not open",
        ],
    );
    objects.run("object get S3/big out").is(
        2,
        &[
            &format!(
                "keyward: error: '{url}/big': this file is encrypted under a customer's own key, not under a master key"
            ),
            "keyward: hint: name the file that holds it: --sse-c AES256 --sse-c-key FILE",
        ],
    );
    let ranges: Vec<_> = proxy.seen_of("/big")[before..].iter().map(|request| request.range.clone().unwrap()).collect();
    let header = |range: &String| range.strip_prefix("bytes=0-").unwrap().parse::<u64>().unwrap() < 4096 + 64;
    assert!(ranges.len() == 2 && ranges.iter().all(header), "{ranges:?}");
    assert!(!objects.bench.path("out").exists());

    // The key in any form is in nothing that is said or sent.
    let forms = ["5a".repeat(32), "Z".repeat(32), "WlpaWlpa".into(), "5A".repeat(32)];
    let done = objects.run("--token= -vv object get S3/big out --sse-c AES256 --sse-c-key my.key");
    assert_eq!(done.status, 0, "{}", done.stderr);
    assert_eq!(objects.bench.read("out"), objects.bench.read("big"));
    let sent: String = proxy.seen().into_iter().map(|request| request.head).collect();
    for form in &forms {
        assert!(!done.stderr.contains(form) && !sent.contains(form), "{form}");
    }
}

#[test]
fn no_credentials_and_no_tls_are_told_with_what_to_set() {
    let objects = Objects::new();
    let url = &objects.url;
    let mut command = objects.command("object ls S3");
    let output = command.env_remove("AWS_ALLOW_HTTP").output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr
            .starts_with(&format!("keyward: error: '{url}/.keyward/store': the store is named by http, without TLS\n")),
        "{stderr}"
    );
    assert!(stderr.contains("keyward: hint: set AWS_ALLOW_HTTP=true where that is meant;"), "{stderr}");
    assert_eq!(output.status.code(), Some(1));
    let mut command = objects.command("object ls S3");
    let output = command.env_remove("AWS_ACCESS_KEY_ID").output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.starts_with(&format!("keyward: error: nothing says how to log in to the store of '{url}/': ")),
        "{stderr}"
    );
    assert!(stderr.contains("keyward: hint: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY,"), "{stderr}");
    assert_eq!(output.status.code(), Some(1));
}
