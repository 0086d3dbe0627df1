//! Several tokens that serve together, and the doctor.

use crate::bench::{Bench, Done};
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
