//! Policies and the audit log that a configuration file names.

use crate::bench::{Bench, Done};
use crate::life::tool;
use std::process::Command;

/// A bench with a key, and a configuration file that names policies and a log.
struct Governed(Bench);

/// Who runs this.
fn me() -> String {
    let id = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(id.stdout).unwrap().trim().to_owned()
}

impl Governed {
    fn new(policies: &str) -> Self {
        let bench = Bench::new();
        bench.ok("key create payments");
        bench.ok("audit init --public audit.pem");
        bench.write("plain", "hello");
        // Paths are those beside the configuration file, from wherever it is named.
        std::fs::create_dir(bench.path("etc")).unwrap();
        bench.write("etc/keyward.toml", "policy = 'all.cedar'\n[audit]\nlog = 'audit.log'\n");
        bench.write("etc/all.cedar", policies.replace("ME", &me()));
        Self(bench)
    }

    fn run(&self, line: &str) -> Done {
        self.0.run(&format!("--config etc/keyward.toml {line}"))
    }

    fn ok(&self, line: &str) -> String {
        self.run(line).ok()
    }

    fn verify(&self) -> String {
        self.0.ok("audit verify etc/audit.log --public-key audit.pem")
    }
}

const MINE: &str = "@id(\"mine\")
permit(principal == Keyward::User::\"ME\", action, resource in Keyward::Folder::\"/\");
@id(\"acme-only\")
forbid(principal, action == Keyward::Action::\"Unwrap\", resource)
unless { context.encryption_context.hasTag(\"tenant\") && context.encryption_context.getTag(\"tenant\") == \"acme\" };
@id(\"nothing-is-destroyed\")
forbid(principal, action == Keyward::Action::\"DestroyKey\", resource == Keyward::Key::\"payments\");
";

#[test]
fn what_is_allowed_is_done_and_recorded() {
    let governed = Governed::new(MINE);
    governed.ok("encrypt --key payments -c tenant=acme plain -o sealed");
    assert_eq!(governed.ok("decrypt -c tenant=acme sealed"), "hello");
    // What the audit log keeps on the token is nothing that is left over.
    let doctor = governed.ok("doctor");
    assert!(doctor.contains("0 failures, 0 warnings"), "{doctor}");
    governed.ok("key rotate payments");
    assert!(governed.ok("rewrap --key payments -c tenant=acme sealed").contains("rewrapped"));
    let shown = governed.ok("audit show --json");
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let shown = &shown["operations"];
    let told: Vec<_> = shown.as_array().unwrap().iter().map(|one| one["operation"].as_str().unwrap()).collect();
    assert_eq!(told[..3], ["GenerateDataKey", "Unwrap", "RotateKey"]);
    assert!(shown.as_array().unwrap().iter().all(|one| one["principal"] == *me() && one["outcome"] == "ok"), "{shown}");
    assert!(governed.verify().contains("ok"));
}

#[test]
fn a_refusal_says_which_policy_which_key_and_what_to_ask_for() {
    let governed = Governed::new(MINE);
    governed.ok("encrypt --key payments -c tenant=acme plain -o sealed");
    governed.ok("encrypt --key payments -c tenant=evil plain -o other");
    let me = me();
    governed.run("decrypt -c tenant=evil other").is(
        3,
        &[
            &format!("keyward: error: policy 'acme-only' forbids '{me}' to Unwrap with key 'payments:1'"),
            "keyward: hint: ask whoever keeps 'etc/all.cedar' whether it forbids more than was meant ('etc/all.cedar', line 3)",
        ],
    );
    governed.run("key destroy payments:1 --yes").is(
        3,
        &[
            &format!("keyward: error: policy 'nothing-is-destroyed' forbids '{me}' to DestroyKey with key 'payments'"),
            "keyward: hint: ask whoever keeps 'etc/all.cedar' whether it forbids more than was meant ('etc/all.cedar', line 6)",
        ],
    );
    governed.0.write("etc/all.cedar", "");
    governed.run("encrypt --key payments plain -o third").is(
        3,
        &[
            "keyward: warning: policy file 'etc/all.cedar' has no policy: everything is denied",
            &format!("keyward: error: no policy allows '{me}' to GenerateDataKey with key 'payments'"),
            &format!(
                "keyward: hint: ask whoever keeps 'etc/all.cedar' for: permit(principal == Keyward::User::\"{me}\", \
                 action == Keyward::Action::\"GenerateDataKey\", resource == Keyward::Key::\"payments\");"
            ),
        ],
    );
    assert!(!governed.0.path("third").exists());
    let refused = governed.ok("audit show --outcome refused --json");
    let refused: serde_json::Value = serde_json::from_str(&refused).unwrap();
    let told: Vec<_> =
        refused["operations"].as_array().unwrap().iter().map(|one| one["operation"].as_str().unwrap()).collect();
    assert_eq!(told, ["Unwrap", "DestroyKey", "GenerateDataKey"]);
}

#[test]
fn nothing_starts_with_policies_or_a_log_that_are_not_in_order() {
    let governed = Governed::new("permit(principal, action == Keyward::Action::\"Unrwap\", resource);");
    let refused = governed.run("key list");
    assert_eq!(refused.status, 2, "{}", refused.stderr);
    assert!(refused.stderr.contains("all.cedar', line 1"), "{}", refused.stderr);

    let governed = Governed::new(MINE);
    // The log cannot be written: nothing is done.
    std::fs::create_dir(governed.0.path("etc/audit.log")).unwrap();
    let refused = governed.run("encrypt --key payments plain -o sealed");
    assert_eq!(refused.status, 1, "{}", refused.stderr);
    assert!(refused.stderr.contains("audit.log"), "{}", refused.stderr);
    assert!(!governed.0.path("sealed").exists());
}

#[test]
fn a_log_that_is_to_be_signed_needs_the_key_for_that() {
    let bench = Bench::new();
    bench.ok("key create payments");
    bench.write("plain", "hello");
    bench.write("keyward.toml", "[audit]\nlog = 'audit.log'\n");
    let refused = bench.run("--config keyward.toml encrypt --key payments plain -o sealed");
    assert_eq!(refused.status, 1, "{}", refused.stderr);
    assert!(refused.stderr.contains("keyward: hint: `keyward audit init` makes it"), "{}", refused.stderr);
    bench.write("keyward.toml", "[audit]\nlog = 'audit.log'\nsign = false\n");
    bench.ok("--config keyward.toml encrypt --key payments plain -o sealed");
    assert!(bench.ok("audit show audit.log").contains("GenerateDataKey"));
}

#[test]
fn a_host_wraps_no_more_than_its_share() {
    let bench = Bench::new();
    bench.ok("key create payments --algorithm aes-gcm");
    bench.write("keyward.toml", "max_gcm_wraps = 2\n[audit]\nlog = 'audit.log'\nsign = false\n");
    let generate = "--config keyward.toml data-key generate --key payments";
    // Each is a process of its own: the count is in the log.
    bench.ok(generate);
    bench.ok(generate);
    let refused = bench.run(generate);
    assert_eq!(refused.status, 1);
    assert!(refused.stderr.contains("limit of 2 AES-GCM wraps under key 'payments:1'"), "{}", refused.stderr);
    assert!(refused.stderr.contains("keyward: hint: `keyward key rotate payments`"), "{}", refused.stderr);
    bench.write("keyward.toml", "max_gcm_wraps = 2\n[audit]\nlog = 'audit.log'\nhosts = 2\n");
    assert_eq!(bench.run("--config keyward.toml key list").status, 2);
}

#[test]
fn a_repair_is_governed_as_well() {
    let governed = Governed::new(MINE);
    // The key is gone, and its record is still there.
    tool(&governed.0, &["--delete-object", "--type", "secrkey", "--label", "payments:1"]);
    let me = me();
    let refused = governed.run("doctor --repair");
    assert_eq!(refused.status, 3, "{}", refused.text());
    let because = format!("policy 'nothing-is-destroyed' forbids '{me}' to DestroyKey with key 'payments'");
    assert!(refused.text().contains(&because), "{}", refused.text());
    assert!(governed.run("doctor").text().contains("a record of key 'payments:1'"));
    governed.0.write("etc/all.cedar", MINE.split("@id(\"nothing").next().unwrap().replace("ME", &me));
    let repaired = governed.ok("doctor --repair");
    assert!(repaired.contains("repaired"), "{repaired}");
    let shown: serde_json::Value = serde_json::from_str(&governed.ok("audit show --json")).unwrap();
    let told: Vec<_> =
        shown["operations"].as_array().unwrap().iter().map(|one| (&one["operation"], &one["outcome"])).collect();
    let [refused, done] = [("DestroyKey", "refused"), ("DestroyKey", "ok")];
    assert_eq!(told, [(&refused.0.into(), &refused.1.into()), (&done.0.into(), &done.1.into())]);
}

#[test]
fn each_repair_is_decided_and_recorded_by_itself() {
    let governed = Governed::new(MINE);
    governed.0.ok("key create mailbox");
    for label in ["payments:1", "mailbox:1"] {
        tool(&governed.0, &["--delete-object", "--type", "secrkey", "--label", label]);
    }
    let done = governed.run("doctor --repair");
    assert_eq!(done.status, 3, "{}", done.text());
    let line = |start: &str, part: &str| {
        let is_it = |line: &&str| line.starts_with(&format!("  {start}")) && line.contains(part);
        assert_eq!(done.text().lines().filter(is_it).count(), 1, "{start} {part}\n{}", done.text());
    };
    line("ok       repaired ", "a record of key 'mailbox:1'");
    line("FAILURE  not-repaired ", "forbids");
    // What was refused is there still.
    line("warning  record ", "a record of key 'payments:1'");
    let shown: serde_json::Value = serde_json::from_str(&governed.ok("audit show --json")).unwrap();
    let mut told: Vec<_> = shown["operations"].as_array().unwrap().iter().collect();
    told.sort_by_key(|one| one["outcome"].to_string());
    let facts: Vec<_> = told.iter().map(|one| (&one["operation"], &one["outcome"], &one["keys"][0]["name"])).collect();
    let of = |text: &str| serde_json::Value::from(text);
    let (destroy, done, refused) = (of("DestroyKey"), of("ok"), of("refused"));
    assert_eq!(facts, [(&destroy, &done, &of("mailbox")), (&destroy, &refused, &of("payments"))]);
}

#[test]
fn several_tokens_are_governed_together() {
    let bench = Bench::new();
    bench.init_token("paris");
    let uris = ["bench", "paris"].map(|label| bench.uri.replace("token=bench", &format!("token={label}")));
    bench.ok("audit init");
    bench.write("all.cedar", MINE.replace("ME", &me()));
    let text = format!("tokens = {uris:?}\nfailover = 'siblings'\npolicy = 'all.cedar'\n[audit]\nlog = 'audit.log'\n");
    bench.write("keyward.toml", text);
    bench.write("plain", "hello");
    let run = |line: &str| {
        let mut command = bench.keyward(line.split(' '));
        command.env_remove("KEYWARD_TOKEN").env("KEYWARD_CONFIG", bench.path("keyward.toml"));
        Done::of(line, command.output().unwrap())
    };
    run("key create payments").ok();
    run("encrypt --key payments -c tenant=acme plain -o sealed").ok();
    assert_eq!(run("decrypt -c tenant=acme sealed").ok(), "hello");
    assert_eq!(run("decrypt -c tenant=evil sealed").status, 4);
    let shown: serde_json::Value = serde_json::from_str(&run("audit show --json").ok()).unwrap();
    let generated = &shown["operations"][1];
    assert_eq!(generated["operation"], "GenerateDataKey");
    // One wrap on each token.
    assert_eq!(generated["keys"].as_array().unwrap().len(), 2, "{generated}");
}

/// Runs `line` of a governed bench through a program that changes who the caller is, as root. `None` if that fails here.
fn as_another(governed: &Governed, change: &[&str], line: &str) -> Option<Done> {
    let able = governed.0.command(change[0]).args(&change[1..]).arg("true").output();
    if !able.is_ok_and(|output| output.status.success()) {
        eprintln!("not tested here: {change:?}");
        return None;
    }
    // The program may lie where only root can go.
    let program = governed.0.work().parent().unwrap().join("keyward");
    std::fs::copy(crate::bench::KEYWARD, &program).unwrap();
    let open = governed.0.command("chmod").args(["-R", "a+rwX"]).arg(program.parent().unwrap()).status().unwrap();
    assert!(open.success());
    let mut command = governed.0.command(change[0]);
    command.args(&change[1..]).arg(program).args(["--config", "etc/keyward.toml"]).args(line.split(' '));
    Some(Done::of(line, command.env("KEYWARD_TOKEN", &governed.0.uri).output().unwrap()))
}

const ENCRYPT: &str = "encrypt --force --key payments plain -o sealed";

#[test]
fn chosen_user_id_names_no_principal() {
    let governed = Governed::new("permit(principal, action, resource);");
    // The user namespace of someone who maps themselves to whom they like.
    let unshare = ["unshare", "--user", "--map-root-user"];
    let Some(refused) = as_another(&governed, &unshare, ENCRYPT) else { return };
    assert_eq!(refused.status, 3, "{}", refused.stderr);
    assert!(refused.stderr.contains("this process is in a user namespace"), "{}", refused.stderr);
    assert!(!governed.0.path("sealed").exists());
    let config = "policy = 'all.cedar'\ncontainer_uids = true\n[audit]\nlog = 'audit.log'\nsign = false\n";
    governed.0.write("etc/keyward.toml", config);
    std::fs::remove_file(governed.0.path("etc/audit.log")).unwrap_or_default();
    as_another(&governed, &unshare, ENCRYPT).unwrap().ok();
    let log = String::from_utf8(governed.0.read("etc/audit.log")).unwrap();
    assert!(log.contains("\"principal\":\"container:root\""), "{log}");
}

#[test]
fn unknown_user_or_group_is_refused_under_policies() {
    let governed = Governed::new("permit(principal, action, resource);");
    governed.0.write("etc/keyward.toml", "policy = 'all.cedar'\n");
    let user = ["setpriv", "--reuid=54321", "--regid=65534", "--clear-groups"];
    let group = ["setpriv", "--reuid=65534", "--regid=65534", "--groups=54321"];
    for (change, what) in [(user, "user 54321 is not in the user database"), (group, "group 54321 of this process")] {
        let Some(refused) = as_another(&governed, &change, ENCRYPT) else { return };
        assert_eq!(refused.status, 3, "{}", refused.stderr);
        assert!(refused.stderr.contains(what), "{}", refused.stderr);
    }
    // A group that only the process has counts: the database knows nothing of it.
    governed.0.write(
        "etc/all.cedar",
        "permit(principal, action, resource);\nforbid(principal in Keyward::Group::\"daemon\", action, resource);",
    );
    let daemon = ["setpriv", "--reuid=65534", "--regid=65534", "--groups=1"];
    let refused = as_another(&governed, &daemon, ENCRYPT).unwrap();
    assert_eq!(refused.status, 3, "{}", refused.stderr);
    let alone = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    as_another(&governed, &alone, ENCRYPT).unwrap().ok();
}
