//! What an attacker can write decides nothing: recipients, age and origin of files are taken from what has opened.
//!
//! S writes the storage and holds no key; F once opened a file and kept its data key; W has an RSA public key.

use crate::bench::Bench;
use crate::life::json;
use crate::object::{Objects, SERVER};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::time::{Duration, SystemTime};

/// The bytes of slot copy A of a file without context, as S can edit them: everything but the tag can be made right.
struct Slots<'a> {
    bench: &'a Bench,
    name: &'a str,
}

impl Slots<'_> {
    const AT: usize = 34;

    fn entries(&self) -> Vec<Vec<u8>> {
        let file = self.bench.read(self.name);
        let number = |at: usize| usize::from(u16::from_be_bytes([file[at], file[at + 1]]));
        let (mut at, mut entries) = (Self::AT + 8, Vec::new());
        for _ in 0..number(Self::AT + 4) {
            entries.push(file[at + 2..at + 2 + number(at)].to_vec());
            at += 2 + number(at);
        }
        entries
    }

    /// Writes slot copy A with these entries, this generation and the old tag.
    fn write(&self, generation: u32, entries: &[Vec<u8>]) {
        let mut file = self.bench.read(self.name);
        let used: usize = self.entries().iter().map(|entry| 2 + entry.len()).sum();
        let tag = file[Self::AT + 8 + used..][..32].to_vec();
        let half = usize::try_from(u32::from_be_bytes(file[28..32].try_into().unwrap())).unwrap() / 2;
        let listed: Vec<u8> = entries
            .iter()
            .flat_map(|entry| [&u16::try_from(entry.len()).unwrap().to_be_bytes()[..], entry].concat())
            .collect();
        let mut copy = generation.to_be_bytes().to_vec();
        copy.extend(u16::try_from(entries.len()).unwrap().to_be_bytes());
        copy.extend(u16::try_from(listed.len()).unwrap().to_be_bytes());
        copy.extend(&listed);
        copy.extend(&tag);
        let digest = Sha256::digest(&copy);
        copy.extend(&digest[..16]);
        copy.resize(half, 0);
        file[Self::AT..Self::AT + half].copy_from_slice(&copy);
        fs::write(self.bench.path(self.name), file).unwrap();
    }
}

fn entries(bench: &Bench, name: &str) -> Vec<Value> {
    json(&bench.ok(&format!("inspect --json {name}")))["entries"].as_array().unwrap().clone()
}

fn with_keys(keys: &[&str]) -> Bench {
    let bench = Bench::new();
    for key in keys {
        bench.ok(&format!("key create {key}"));
    }
    bench.write("plain", "hello");
    bench
}

#[test]
fn planted_recipient_gets_no_data_key() {
    let bench = with_keys(&["payments", "tenant-b"]);
    bench.ok("encrypt --key payments plain -o f.kw");
    bench.ok("encrypt --key tenant-b plain -o own.kw");
    let planted = Slots { bench: &bench, name: "own.kw" }.entries().remove(0);
    let slots = Slots { bench: &bench, name: "f.kw" };
    let own = slots.entries().remove(0);
    for list in [[own.clone(), planted.clone()], [planted, own]] {
        slots.write(1, &list);
        for command in ["reencrypt", "reencrypt --keep-keys", "reencrypt --key payments", "rewrap", "rewrap --copy"] {
            bench.refuses(
                &format!("{command} f.kw"),
                4,
                &["keyward: error: f.kw: cannot decrypt: wrong key, wrong encryption context, or altered or truncated data"],
            );
        }
    }
}

#[test]
fn forged_generation_and_file_time_skip_no_file() {
    let bench = with_keys(&["payments"]);
    fs::create_dir(bench.path("srv")).unwrap();
    bench.ok("encrypt --key payments plain -o srv/f.kw");
    bench.ok("key rotate payments");
    bench.ok("rewrap -q -r srv");
    // As an honest file: rewrapped, so its data key is older than its entry.
    let rewrapped = bench.read("srv/f.kw");
    let ahead = SystemTime::now() + Duration::from_secs(1 << 20);
    File::options().write(true).open(bench.path("srv/f.kw")).unwrap().set_modified(ahead).unwrap();
    bench.run("reencrypt -r srv --before 2999-01-01T00:00:00Z").is(0, &["keyward: note: 1 done"]);
    fs::write(bench.path("srv/f.kw"), &rewrapped).unwrap();
    bench.run("reencrypt -r srv --before 2001-01-01T00:00:00Z").is(0, &["keyward: note: 1 done"]);
    fs::write(bench.path("srv/f.kw"), &rewrapped).unwrap();
    bench.run("reencrypt -r srv").is(0, &["keyward: note: 1 done"]);
    bench.run("reencrypt -r srv").is(0, &["keyward: note: 0 done, 1 already done"]);

    // With another generation, or an entry that claims to be from when the data key was made, it does not open.
    bench.ok("rewrap -q -r srv");
    bench.ok("encrypt -f --key payments plain -o srv/f.kw");
    let slots = Slots { bench: &bench, name: "srv/f.kw" };
    let mut entries = slots.entries();
    slots.write(2, &entries);
    assert_eq!(bench.run("reencrypt -r srv").status, 1);
    entries[0][0] = 2;
    slots.write(1, &entries);
    assert_eq!(bench.run("reencrypt -r srv").status, 1);
}

#[test]
fn rsa_origin_is_checked_under_the_documented_policy() {
    let bench = with_keys(&["payments"]);
    bench.ok("key create mailbox --algorithm rsa-oaep-sha1");
    bench.write("mailbox.pub", bench.ok("key public mailbox"));
    bench.ok("encrypt -R mailbox.pub plain -o f.kw");
    let me = std::process::Command::new("id").arg("-un").output().unwrap();
    let me = String::from_utf8(me.stdout).unwrap();
    let permit = |action: &str, key: &str| {
        format!(
            "permit(principal == Keyward::User::\"{}\", action == Keyward::Action::\"{action}\", resource == Keyward::Key::\"{key}\");\n",
            me.trim()
        )
    };
    bench.write("p.cedar", permit("Unwrap", "mailbox") + &permit("GenerateDataKey", "payments"));
    bench.write("p.toml", "policy = 'p.cedar'\n");
    let before = bench.read("f.kw");
    let line = "--config p.toml reencrypt --from-key mailbox --key payments";
    let refused = bench.run(&format!("{line} f.kw"));
    assert_eq!(refused.status, 2, "{}", refused.stderr);
    assert!(refused.stderr.contains("nothing about its writer"), "{}", refused.stderr);
    assert_eq!(bench.read("f.kw"), before);
    bench.ok(&format!("{line} --danger-assert-origin f.kw"));
    assert_eq!(bench.ok("decrypt f.kw"), "hello");
}

#[test]
fn rsa_object_is_copied_under_no_symmetric_key() {
    let objects = Objects::new();
    objects.bench.ok("key create mailbox --algorithm rsa-oaep-sha1");
    objects.bench.write("plain", "hello");
    objects.bench.write("c.toml", "keys = ['mailbox', 'payments']\n");
    let keyward = |line: &str| objects.run(&format!("--config c.toml object {line}"));
    let other = format!("s3://{}", SERVER.bucket());
    let kms = |key: &str| format!("--sse aws:kms --sse-kms-key-id {key}");
    keyward(&format!("put plain S3/a {}", kms("mailbox"))).ok();
    for target in ["S3/b", &format!("{other}/b")] {
        let line = format!("cp S3/a {target} {}", kms("payments"));
        let refused = keyward(&line);
        assert_eq!(refused.status, 2, "{target}: {}", refused.stderr);
        assert!(refused.stderr.contains("nothing about its writer"), "{target}: {}", refused.stderr);
        assert_eq!(keyward(&format!("get {target} -")).status, 1, "{target}");
        // Under a key that anyone can write for it may go, as may what is vouched for.
        keyward(&format!("cp S3/a {target}")).ok();
        keyward(&format!("{line} --danger-assert-origin")).ok();
        let shown = keyward(&format!("get {target} -")).ok();
        assert_eq!(shown, "hello", "{target}");
    }
}

#[test]
fn rsa_data_key_is_moved_under_no_symmetric_key() {
    let bench = with_keys(&["payments", "archive"]);
    bench.ok("key create mailbox --algorithm rsa-oaep-sha1");
    let made = bench.ok("data-key generate --key mailbox");
    // To name the key is not to vouch for what it opens.
    let unvouched = bench.pipe("data-key unwrap --key mailbox", made.as_bytes());
    assert_eq!((unvouched.status, unvouched.text()), (2, ""), "{}", unvouched.stderr);
    let unwrapped = bench.pipe("data-key unwrap --key mailbox --danger-assert-origin", made.as_bytes()).ok();
    assert_eq!(json(&unwrapped)["key"], "mailbox");
    assert_eq!(json(&unwrapped)["algorithm"], "rsa-oaep-sha1");
    for (line, input) in
        [("data-key rewrap --from-key mailbox --key payments", &made), ("data-key wrap --key payments", &unwrapped)]
    {
        let refused = bench.pipe(line, input.as_bytes());
        assert_eq!((refused.status, refused.text()), (2, ""), "{line}: {}", refused.stderr);
        assert!(refused.stderr.contains("nothing about its writer"), "{line}: {}", refused.stderr);
        let moved = bench.pipe(&format!("{line} --danger-assert-origin"), input.as_bytes()).ok();
        let back = json(&bench.pipe("data-key unwrap", moved.as_bytes()).ok());
        assert_eq!(back["plaintext"], json(&made)["plaintext"], "{line}");
        assert_eq!(back["key"], "payments");
    }
    // Only what opens is replaced: the other wrapped keys of the list stay.
    let own = json(&bench.ok("data-key generate --key payments"));
    let other = json(&bench.ok("data-key generate --key archive"));
    let list = format!("{{\"wrapped_keys\":[{},{}]}}", own["wrapped_keys"][0], other["wrapped_keys"][0]);
    let moved = json(&bench.pipe("data-key rewrap --from-key payments --key payments", list.as_bytes()).ok());
    assert_ne!(moved["wrapped_keys"][0], own["wrapped_keys"][0]);
    assert_eq!(moved["wrapped_keys"][1], other["wrapped_keys"][0]);
}

#[test]
fn compact_file_has_229_bytes_over_its_content() {
    let bench = with_keys(&["payments"]);
    bench.ok("encrypt --compact --key payments plain -o f.kw");
    assert_eq!(bench.read("f.kw").len(), 5 + 229);
    assert_eq!(json(&bench.ok("inspect --json f.kw"))["compact"], true);
    assert_eq!(bench.ok("decrypt f.kw"), "hello");
    let body = bench.read("f.kw")[157..].to_vec();
    bench.ok("key rotate payments");
    assert_eq!(bench.ok("rewrap f.kw"), "f.kw: rewrapped, generation 2\n");
    assert_eq!(bench.read("f.kw")[157..], body);
    assert_eq!(bench.ok("decrypt f.kw"), "hello");
    bench.ok("reencrypt f.kw");
    assert_eq!(bench.read("f.kw").len(), 5 + 229);
    assert_eq!(bench.ok("decrypt f.kw"), "hello");
    assert_eq!(entries(&bench, "f.kw").len(), 1);
}
