//! Several tokens that serve together, and the doctor.

use crate::bench::{Bench, Done, PIN};
use serde_json::Value;

/// Two tokens in a configuration file, and the bench that has them.
struct Two(Bench);

impl Two {
    fn new(together: &str) -> Self {
        let bench = Bench::new();
        bench.init_token("paris");
        let two = Self(bench);
        two.configure(["bench", "paris"], together);
        two
    }

    fn configure(&self, labels: [&str; 2], together: &str) {
        let uris = labels.map(|label| self.0.uri.replace("token=bench", &format!("token={label}")));
        let text = format!("tokens = {uris:?}\nfailover = \"{together}\"\ncall_timeout_seconds = 20\n");
        self.0.write("keyward.toml", text);
    }

    fn run(&self, line: &str) -> Done {
        let mut command = self.0.keyward(line.split(' '));
        command.env_remove("KEYWARD_TOKEN").env("KEYWARD_CONFIG", self.0.path("keyward.toml"));
        Done::of(line, command.output().unwrap())
    }

    fn json(&self, line: &str) -> Value {
        serde_json::from_slice(&self.run(line).stdout).unwrap()
    }
}

#[test]
fn siblings_open_what_was_written_to_both_alone() {
    let two = Two::new("siblings");
    two.0.write("plain", "hello");
    two.run("key create k").ok();
    two.run("encrypt --key k -c a=b plain -o sealed").ok();
    let keys = two.json("key list --json");
    assert_eq!(keys.as_array().unwrap().len(), 2);
    for gone in [["gone", "paris"], ["bench", "gone"]] {
        two.configure(gone, "siblings");
        let opened = two.run("decrypt -c a=b sealed");
        assert!(gone[0] != "gone" || opened.stderr.contains("went down"), "{}", opened.stderr);
        assert_eq!(opened.ok(), "hello");
        let refused = two.run("key rotate k");
        assert_eq!(refused.status, 5);
        assert!(refused.stderr.contains("nothing was changed"), "{}", refused.stderr);
    }
    // One token that is named on the command line is used alone.
    assert_eq!(two.0.ok("decrypt -c a=b sealed"), "hello");
}

#[test]
fn rewrapping_adds_what_a_sibling_that_was_down_is_missing() {
    let two = Two::new("siblings");
    two.0.write("plain", "hello");
    two.run("key create k").ok();
    two.configure(["gone", "paris"], "siblings");
    let told = two.run("encrypt --key k plain -o sealed");
    assert!(told.stderr.contains("protecting without this member"), "{}", told.stderr);
    told.ok();
    let entries = || two.json("inspect --json sealed")["entries"].as_array().unwrap().len();
    assert_eq!(entries(), 1);
    two.configure(["bench", "paris"], "siblings");
    assert!(two.run("rewrap --key k sealed").ok().contains("rewrapped"));
    assert_eq!(entries(), 2);
    assert!(two.run("rewrap sealed").ok().contains("up to date"));
    two.run("key rotate k").ok();
    assert!(two.run("rewrap sealed").ok().contains("rewrapped"));
    assert_eq!(entries(), 2);
    assert_eq!(two.run("decrypt sealed").ok(), "hello");
}

#[test]
fn rewrap_removes_no_entry_of_a_token_that_cannot_describe_its_key() {
    let two = Two::new("siblings");
    two.0.write("plain", "hello");
    two.run("key create k").ok();
    two.run("encrypt --key k plain -o sealed").ok();
    // Another tool makes a second object that claims to be the version on one of them: it opens, and is not described.
    let mut command = two.0.command("pkcs11-tool");
    command.args(["--module", two.0.module.to_str().unwrap(), "--token-label", "paris", "--login", "--pin", PIN]);
    command.args(["--keygen", "--key-type", "AES:32", "--private", "--sensitive", "--usage-decrypt"]);
    command.args(["--label", "k:1", "--id", "0102030405060708090a0b0c0d0e0f10"]);
    assert!(command.output().expect("pkcs11-tool is missing; install opensc").status.success());
    let rewrapped = two.run("rewrap sealed");
    assert_eq!(rewrapped.status, 0, "{}", rewrapped.stderr);
    two.configure(["gone", "paris"], "siblings");
    assert_eq!(two.run("decrypt sealed").ok(), "hello");
}

#[test]
fn rewrap_while_a_token_is_away_adds_and_removes_nothing() {
    let two = Two::new("siblings");
    two.0.write("plain", "hello");
    two.run("key create k").ok();
    two.run("encrypt --key k plain -o sealed").ok();
    // One token has a new version, and the other is away.
    two.0.ok("key rotate k");
    for line in ["rewrap sealed", "rewrap --key k sealed"] {
        two.configure(["bench", "gone"], "siblings");
        two.run(line).ok();
        assert_eq!(two.json("inspect --json sealed")["entries"].as_array().unwrap().len(), 3, "{line}");
        two.configure(["gone", "paris"], "siblings");
        assert_eq!(two.run("decrypt sealed").ok(), "hello", "{line}");
    }
    two.configure(["bench", "paris"], "siblings");
    two.run("rewrap sealed").ok();
    assert_eq!(two.json("inspect --json sealed")["entries"].as_array().unwrap().len(), 2);
    for labels in [["gone", "paris"], ["bench", "gone"]] {
        two.configure(labels, "siblings");
        assert_eq!(two.run("decrypt sealed").ok(), "hello", "{labels:?}");
    }
}

#[test]
fn the_keys_of_replicas_are_not_changed_through_all() {
    let two = Two::new("replicas");
    two.run("key create k").is(
        1,
        &[
            "keyward: error: the keys of replicas are not changed through all of them",
            "keyward: hint: the keys of replicas are cloned by the vendor's means; name one token with --token",
        ],
    );
}

#[test]
fn replicas_without_the_same_keys_are_a_failure() {
    let two = Two::new("replicas");
    two.0.ok("key create k");
    let doctor = two.run("doctor");
    assert_eq!(doctor.status, 1, "{}", doctor.text());
    assert!(
        doctor.text().contains("key 'k:1' with KEK id ") && doctor.text().contains("is missing on pkcs11:token=paris")
    );
    two.0.write(
        "keyward.toml",
        "tokens = ['pkcs11:token=a', 'pkcs11:token=b']\nfailover = 'siblings'\nrequire_siblings = 3\n",
    );
    let refused = two.run("key list");
    assert_eq!(refused.status, 2);
    assert!(refused.stderr.contains("'require_siblings' is more than there are 'tokens'"), "{}", refused.stderr);
}

#[test]
fn the_doctor_looks_at_all() {
    let two = Two::new("siblings");
    two.run("key create k").ok();
    let found = two.json("doctor --json");
    assert_eq!((&found["serving"], &found["together"]), (&2.into(), &"siblings".into()));
    for token in found["tokens"].as_array().unwrap() {
        assert_eq!((&token["known_as"], &token["tested"]), (&"SoftHSM".into(), &true.into()));
        assert_eq!((&token["keys"], &token["active"]), (&1.into(), &1.into()));
    }
    let text = two.run("doctor").ok();
    assert!(text.contains("siblings: 2 of 2 tokens serve"), "{text}");

    two.configure(["gone", "paris"], "siblings");
    let found = two.run("doctor");
    assert_eq!(found.status, 5);
    assert!(
        found.text().contains("  FAILURE  token          no token matches pkcs11:token=gone\n"),
        "{}",
        found.text()
    );
    assert!(found.text().contains("siblings: 1 of 2 tokens serve"), "{}", found.text());

    // A PIN that is wrong is found out as well, once.
    two.0.write("wrong", "no-such-pin");
    let uri = two.0.uri_without_pin();
    let found = two.0.run(&format!("--token {uri}&pin-source=file:{} doctor", two.0.path("wrong").display()));
    assert_eq!(found.status, 6);
    assert!(found.text().contains("CKR_PIN_INCORRECT"), "{}", found.text());
}

#[test]
fn a_key_that_a_sibling_lacks() {
    let two = Two::new("siblings");
    two.run("key create k").ok();
    two.0.ok("key create lonely");
    let found = two.run("doctor --json");
    assert_eq!(found.status, 1);
    let found: Value = serde_json::from_slice(&found.stdout).unwrap();
    let bad: Vec<_> = found["host"].as_array().unwrap().iter().filter(|check| check["status"] == "failure").collect();
    assert_eq!(bad.len(), 1, "{bad:?}");
    assert_eq!(bad[0]["name"], "siblings");
    assert_eq!(bad[0]["text"], "key 'lonely' is missing on pkcs11:token=paris, so nothing is protected with it");
    assert_eq!(bad[0]["remedy"], "`keyward key create lonely` makes it where it is missing");
    two.run("key create lonely").ok();
    assert_eq!(two.run("doctor").status, 0);
}

#[test]
fn a_managed_key_is_made_and_completed_on_siblings() {
    let two = Two::new("siblings");
    two.0.write("plain", "hello");
    // One token alone has made it before.
    two.0.ok("encrypt plain -o alone");
    assert!(two.run("encrypt plain -o sealed").stderr.contains("made the managed default key"));
    assert_eq!(two.run("encrypt plain -o again").stderr, "");
    let entries = two.json("inspect --json sealed")["entries"].as_array().unwrap().len();
    assert_eq!(entries, 2);
    two.configure(["bench", "gone"], "siblings");
    assert_eq!(two.run("decrypt alone").ok(), "hello");
    assert_eq!(two.run("decrypt sealed").ok(), "hello");
}

#[test]
fn destructions_are_scheduled_and_done_on_all_siblings_or_on_none() {
    let two = Two::new("siblings");
    two.0.write("plain", "hello");
    two.run("key create k").ok();
    two.run("encrypt --key k plain -o sealed").ok();
    two.run("key rotate k --if-older-than 1d").ok();
    // Either token's version is found in the file.
    for lacks in ["bench", "paris"] {
        let other = two.0.uri.replace("token=bench", &format!("token={lacks}"));
        let refused = two.0.run(&format!("--token {other} key destroy k:1 --yes --used-in sealed"));
        assert_eq!(refused.status, 1, "{}", refused.stderr);
    }
    let refused = two.run("key destroy k:1 --yes --used-in sealed");
    assert!(refused.stderr.starts_with("keyward: error: nothing is destroyed: 1 file is under 'k:1': sealed\n"));
    two.run("key destroy k:1 --yes --after 1s").ok();
    let dates: Vec<_> =
        two.json("key list --json").as_array().unwrap().iter().map(|key| key["destroy_after"].clone()).collect();
    assert!(dates.len() == 2 && dates.iter().all(Value::is_string), "{dates:?}");
    // One of them was enabled again.
    two.0.ok("key enable k:1");
    // Until it is time.
    let expire = || loop {
        let expired = two.run("key expire");
        if !expired.text().starts_with("nothing is due; next is k:1 ") {
            return expired;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    };
    let expired = expire();
    assert_eq!(expired.status, 1);
    assert!(expired.stderr.contains("is active"), "{}", expired.stderr);
    assert_eq!(two.json("key list --json").as_array().unwrap().len(), 2);
    two.0.ok("key destroy k:1 --yes --after 1s");
    let expired = expire().ok();
    assert!(expired.starts_with("destroyed k:1 ") && expired.lines().count() == 1, "{expired}");
    assert_eq!(two.json("key list --json"), Value::Array(Vec::new()));
}

#[test]
fn a_configuration_that_makes_no_sense() {
    let two = Two::new("siblings");
    let uri = &two.0.uri;
    for (text, wrong) in [
        (format!("token = '{uri}'\ntokens = ['{uri}']\nfailover = 'siblings'"), "it has both 'token' and 'tokens'"),
        (format!("tokens = ['{uri}', '{uri}']"), "'tokens' needs 'failover', which is \"replicas\" or \"siblings\""),
        ("failover = 'siblings'".to_owned(), "'failover' needs 'tokens', a list of token URIs"),
        (
            format!("tokens = ['{uri}']\nfailover = 'replicas'\nrequire_siblings = 2"),
            "'require_siblings' is for failover = \"siblings\"",
        ),
    ] {
        two.0.write("keyward.toml", text);
        let path = two.0.path("keyward.toml");
        let message = format!("keyward: error: configuration file '{}': {wrong}", path.display());
        two.run("key list").is(2, &[&message]);
    }
    two.0.write("keyward.toml", "tokens = []\nfailover = 'other'");
    assert_eq!(two.run("key list").status, 2);
}
