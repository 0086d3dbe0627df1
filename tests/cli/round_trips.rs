//! Files and streams there and back again.

use crate::bench::{Bench, Done, KEYWARD, interruptible, private, sample};
use serde_json::Value;
use std::fs;
use std::process::{Command, Stdio};

/// Around the chunks of 16 KiB, and one that takes a while.
const SIZES: [usize; 6] = [0, 1, 16_383, 16_384, 16_385, 3_000_000];

fn inspect(bench: &Bench, file: &str) -> Value {
    serde_json::from_str(&bench.ok(&format!("inspect --json {file}"))).unwrap()
}

#[test]
fn files_and_pipes() {
    let bench = Bench::new();
    for algorithm in ["aes-gcm", "aes-kw", "rsa-oaep-sha1"] {
        bench.ok(&format!("key create {algorithm} --algorithm {algorithm}"));
        for size in SIZES {
            let plain = sample(size);
            bench.write("plain", &plain);
            let context = "--context tenant=acme --context Zürich=ja";
            // Each way of writing is read in each way of reading.
            assert_eq!(bench.ok(&format!("encrypt --key {algorithm} {context} plain -o f.kw --force")), "");
            let piped = bench.pipe(&format!("encrypt --key {algorithm} {context}"), &plain).bytes();
            bench.write("p.kw", &piped);
            bench.pipe(&format!("encrypt --key {algorithm} {context} - -o o.kw --force"), &plain).ok();
            for sealed in ["f.kw", "p.kw", "o.kw"] {
                let open = format!("decrypt --key {algorithm} {context}");
                bench.ok(&format!("{open} {sealed} -o opened --force"));
                assert!(bench.read("opened") == plain, "{algorithm} {sealed} {size}: file to file");
                assert!(bench.run(&format!("{open} {sealed}")).bytes() == plain, "{sealed} {size}: file to pipe");
                let stream = bench.read(sealed);
                assert!(bench.pipe(&open, &stream).bytes() == plain, "{sealed} {size}: pipe to pipe");
                bench.pipe(&format!("{open} -o opened --force"), &stream).ok();
                assert!(bench.read("opened") == plain, "{sealed} {size}: pipe to file");
            }
        }
    }
}

#[test]
fn a_file_onto_itself() {
    let bench = Bench::new();
    bench.ok("key create k");
    let plain = sample(100_000);
    bench.write("file", &plain);
    bench.ok("encrypt --key k file -o file --force");
    assert!(bench.read("file") != plain);
    bench.ok("decrypt file -o file --force");
    assert!(bench.read("file") == plain);
    assert_eq!(bench.files().len(), 1);
}

#[test]
fn several_keys_and_any_of_them_opens() {
    let bench = Bench::new();
    for name in ["a", "b", "c"] {
        bench.ok(&format!("key create {name}"));
    }
    bench.write("plain", "hello");
    bench.ok("encrypt --key a,b --key c plain -o f");
    assert_eq!(inspect(&bench, "f")["entries"].as_array().unwrap().len(), 3);
    for name in ["a", "b", "c"] {
        assert_eq!(bench.ok(&format!("decrypt --key {name} f")), "hello");
    }
    bench.ok("key destroy a:1 --yes");
    bench.ok("key disable b:1");
    assert_eq!(bench.ok("decrypt f"), "hello");
}

#[test]
fn the_managed_default_key_is_made_once() {
    let bench = Bench::new();
    bench.write("plain", "hello");
    let first = bench.run("encrypt plain -o one");
    assert_eq!(first.stderr, "keyward: note: made the managed default key keyward/default:1 (aes-gcm)\n");
    let second = bench.run("encrypt plain -o two");
    assert_eq!((second.status, second.stderr.as_str()), (0, ""));
    assert_eq!(bench.ok("decrypt one") + &bench.ok("decrypt two"), "hellohello");
}

#[test]
fn six_processes_share_the_managed_default_key() {
    let bench = Bench::new();
    bench.write("plain", "hello");
    let children: Vec<_> = (0..6)
        .map(|n| {
            let mut command = bench.keyward(["-q", "encrypt", "plain", "-o", &format!("sealed-{n}")]);
            command.stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for child in children {
        Done::of("encrypt", child.wait_with_output().unwrap()).is(0, &[]);
    }
    let keys: Value = serde_json::from_str(&bench.ok("key list --json")).unwrap();
    assert_eq!(keys.as_array().unwrap().len(), 1, "{keys}");
    for n in 0..6 {
        assert_eq!(bench.ok(&format!("decrypt sealed-{n}")), "hello");
    }
}

/// A command that sees neither the token nor SoftHSM.
fn without_token(bench: &Bench, line: &str) -> Done {
    let mut command = Command::new(KEYWARD);
    command.env_clear().current_dir(bench.work()).args(line.split(' ')).stdin(Stdio::null());
    Done::of(line, command.output().unwrap())
}

#[test]
fn a_recipient_needs_no_token_to_write() {
    let bench = Bench::new();
    bench.ok("key create box --algorithm rsa-oaep-sha1");
    bench.ok("key create own");
    bench.write("box.pub", bench.ok("key public box"));
    bench.write("plain", "hello");
    without_token(&bench, "encrypt --recipient box.pub --context to=box plain -o f").is(0, &[]);
    assert_eq!(bench.ok("decrypt --key box --context to=box f"), "hello");
    let refused = bench.run("decrypt --context to=box f");
    assert_eq!(refused.status, 1, "an RSA key opens only where it is named: {}", refused.stderr);
    assert!(refused.stderr.contains("--key box"), "{}", refused.stderr);

    bench.ok("encrypt --recipient box.pub --key own plain -o both");
    assert_eq!(bench.ok("decrypt both"), "hello");
    assert_eq!(bench.ok("decrypt --key box both"), "hello");
    bench.write("bad.pub", "nonsense");
    bench.refuses(
        "encrypt --recipient bad.pub plain -o g",
        2,
        &[
            "keyward: error: bad.pub: not a Keyward public key: no line 'name: …' where it belongs",
            "keyward: hint: make the file with: keyward key public NAME > FILE",
        ],
    );
}

#[test]
fn a_customer_key_needs_no_token() {
    let bench = Bench::new();
    let key = sample(32);
    let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    bench.write("raw.key", &key);
    bench.write("hex.key", format!("{hex}\n"));
    bench.write("other.key", [7; 32]);
    bench.write("plain", "hello");
    without_token(&bench, "encrypt --customer-key raw.key --context a=b plain -o f").is(0, &[]);
    let opened = without_token(&bench, "decrypt --customer-key hex.key --context a=b f");
    assert_eq!((opened.status, opened.text(), opened.stderr.as_str()), (0, "hello", ""));
    bench.refuses("decrypt --customer-key other.key --context a=b f -o g", 4, &[NOT_AUTHENTIC]);
    bench.write("short.key", [7; 31]);
    let short = bench.run("decrypt --customer-key short.key f");
    assert_eq!(short.status, 2);
    assert!(short.stderr.starts_with("keyward: error: 'short.key' holds no customer key\n"), "{}", short.stderr);
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(bench.path("raw.key"), fs::Permissions::from_mode(0o644)).unwrap();
    let told = bench.run("decrypt --customer-key raw.key --context a=b f");
    assert_eq!(told.stderr, "keyward: warning: others may read the customer key 'raw.key'; make it 0600\n");
    private(&bench.path("raw.key"));
}

const NOT_AUTHENTIC: &str =
    "keyward: error: cannot decrypt: wrong key, wrong encryption context, or altered or truncated data";

#[test]
fn ranges() {
    let bench = Bench::new();
    bench.ok("key create k");
    let plain = sample(100_000);
    bench.write("plain", &plain);
    bench.ok("encrypt --key k plain -o f");
    for (range, from, to) in [
        ("0-0", 0, 1),
        ("0-", 0, 100_000),
        ("16383-16384", 16_383, 16_385),
        ("16384-32767", 16_384, 32_768),
        ("50000-99999", 50_000, 100_000),
        ("99999-99999999", 99_999, 100_000),
    ] {
        assert!(bench.run(&format!("decrypt --range {range} f")).bytes() == plain[from..to], "{range}");
    }
    bench.ok("decrypt --range 5-9 f -o part");
    assert_eq!(bench.read("part"), plain[5..10]);
    bench.refuses(
        "decrypt --range 100000- f",
        2,
        &["keyward: error: the range begins at byte 100000 of a content of 100000 bytes"],
    );
    for range in ["5", "2-1", "-5", "a-b"] {
        let done = bench.run(&format!("decrypt --range={range} f"));
        assert_eq!(done.status, 2, "{range}");
        assert!(
            done.stderr.ends_with("hint: write FIRST-LAST or FIRST-, counted from 0, as in --range 0-1023\n"),
            "{}",
            done.stderr
        );
    }
    bench.pipe("decrypt --range 0-1", &bench.read("f")).is(
        2,
        &["keyward: error: --range needs a file, not a stream", "keyward: hint: name the file instead of piping it in"],
    );
}

#[test]
fn any_context_is_told() {
    let bench = Bench::new();
    bench.ok("key create k");
    bench.write("plain", "hello");
    bench.ok("encrypt --key k --context b=2 --context a=1 plain -o f");
    let note = "keyward: note: the encryption context is a=1, b=2\n";
    let told = bench.run("decrypt --any-context f");
    assert_eq!((told.text(), told.stderr.as_str()), ("hello", note));
    let told = bench.run("decrypt --any-context f -o opened");
    assert_eq!((bench.read("opened"), told.stderr.as_str()), (b"hello".to_vec(), note));
    let told = bench.pipe("decrypt --any-context", &bench.read("f"));
    assert_eq!((told.text(), told.stderr.as_str()), ("hello", note));
    let found = inspect(&bench, "f");
    assert_eq!(found["context"], serde_json::json!({ "a": "1", "b": "2" }));
    assert_eq!(found["entries"][0]["algorithm"], "aes-gcm");
    let keys: Value = serde_json::from_str(&bench.ok("key show k --json")).unwrap();
    assert_eq!(found["entries"][0]["kek_id"], keys[0]["kek_id"]);
}

#[test]
fn rewrap_after_rotation() {
    let bench = Bench::new();
    bench.ok("key create k");
    let plain = sample(50_000);
    bench.write("plain", &plain);
    for name in ["one", "two"] {
        bench.ok(&format!("encrypt --key k --context n={name} plain -o {name}"));
    }
    let before = inspect(&bench, "one");
    bench.ok("key rotate k");
    // One that fails does not keep the others from it.
    bench.write("bad", "nonsense");
    let done = bench.run("rewrap --key k one bad two");
    assert_eq!(done.status, 1, "{}", done.stderr);
    assert!(done.stderr.starts_with("keyward: error: bad: "), "{}", done.stderr);
    assert!(done.text().starts_with("one: rewrapped, generation "), "{}", done.text());
    assert!(done.text().contains("\ntwo: rewrapped, generation "), "{}", done.text());
    let after = inspect(&bench, "one");
    assert_ne!(before["entries"][0]["kek_id"], after["entries"][0]["kek_id"]);
    assert_eq!(before["message_id"], after["message_id"]);
    assert_eq!(bench.ok("rewrap --key k one"), "one: up to date\n");

    bench.ok("key destroy k:1 --yes");
    assert!(bench.run("decrypt --context n=one one").bytes() == plain);
    bench.ok("key create other");
    bench.ok("rewrap --key other --context n=two --copy two");
    assert!(bench.run("decrypt --key other --context n=two two").bytes() == plain);
    assert_eq!(bench.run("rewrap --key k --context n=wrong two").status, 4);
    assert_eq!(bench.files().len(), 4, "something is left over");
}

#[test]
fn reencrypt_changes_everything_but_the_content() {
    let bench = Bench::new();
    bench.ok("key create k");
    bench.ok("key create next");
    let plain = sample(50_000);
    bench.write("plain", &plain);
    bench.ok("encrypt --key k --context a=b plain -o f");
    let before = inspect(&bench, "f");
    assert_eq!(bench.ok("reencrypt f"), "f: reencrypted\n");
    let after = inspect(&bench, "f");
    assert_ne!(before["message_id"], after["message_id"]);
    assert_eq!(before["entries"][0]["kek_id"], after["entries"][0]["kek_id"]);
    bench.ok("reencrypt --key next --context a=b f");
    bench.ok("key destroy k:1 --yes");
    assert!(bench.run("decrypt --context a=b f").bytes() == plain);
    bench.refuses(
        "reencrypt --key next --context a=c f",
        4,
        &[
            "keyward: error: f: the encryption context is not the one expected: a=b instead of a=c",
            "keyward: hint: if that is the file you mean, give its context with --context KEY=VALUE",
        ],
    );
}

#[test]
fn what_rsa_opened_is_moved_only_where_its_origin_is_asserted() {
    let bench = Bench::new();
    bench.ok("key create box --algorithm rsa-oaep-sha1");
    bench.ok("key create k");
    bench.write("plain", "hello");
    for name in ["one", "two"] {
        bench.ok(&format!("encrypt --key box plain -o {name}"));
    }
    let before = bench.read("one");
    for command in ["rewrap", "reencrypt"] {
        let refused = bench.run(&format!("{command} --key k --from-key box one"));
        assert_eq!(refused.status, 2, "{command}: {}", refused.stderr);
        assert!(refused.stderr.contains("nothing about its writer"), "{command}: {}", refused.stderr);
        assert_eq!(bench.read("one"), before);
    }
    bench.ok("rewrap --key k --from-key box --danger-assert-origin one");
    bench.ok("reencrypt --key k --from-key box --danger-assert-origin two");
    assert_eq!(bench.ok("decrypt one") + &bench.ok("decrypt two"), "hellohello");
}

#[test]
fn fifos_are_read_and_written_as_streams() {
    let bench = Bench::new();
    bench.ok("key create k");
    let plain = sample(200_000);
    bench.write("plain", &plain);
    let mut command = bench.command("bash");
    command.args([
        "-c",
        r#""$1" encrypt --force --key k <(cat plain) -o >(cat > sealed; touch done); while [ ! -e done ]; do :; done"#,
    ]);
    let output = command.args(["bash", KEYWARD]).env("KEYWARD_TOKEN", &bench.uri).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(bench.run("decrypt sealed").bytes() == plain);
}

#[test]
fn a_signal_leaves_nothing_half_written() {
    use std::os::unix::process::ExitStatusExt;
    use std::process::Stdio;
    let bench = Bench::new();
    bench.ok("key create k");
    bench.write("out", "precious");
    let before = bench.files();
    for signal in ["INT", "TERM", "HUP"] {
        let mut command = interruptible(&bench.keyward(["encrypt", "--key", "k", "-o", "out", "--force"]));
        let mut child = command.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        // It waits for input with its temporary file open.
        while bench.files().len() == before.len() {
            assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
            std::thread::yield_now();
        }
        // Open until it has ended: at the end of its input it would be done before the signal is.
        let input = child.stdin.take();
        let pid = child.id().to_string();
        assert!(std::process::Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
        let status = child.wait().unwrap();
        drop(input);
        assert!(status.signal().is_some(), "{signal}: {status}");
        assert_eq!(bench.files(), before, "{signal}");
    }
}
