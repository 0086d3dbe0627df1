//! `keyward ceremony`: what needs no token.

use crate::bench::{Done, KEYWARD};
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

#[allow(dead_code, reason = "the tests of the library use it all")]
#[path = "../ceremony/fixture.rs"]
pub(crate) mod fixture;

use fixture::{Ceremony, witness};
use keyward::ceremony::Answers;

/// A command that sees neither a token nor the surroundings, and what it reads.
fn run(at: &Path, args: &[&str], input: &str) -> Done {
    let mut command = Command::new(KEYWARD);
    command.env_clear().current_dir(at).args(["ceremony"]).args(args).env("LC_ALL", "C.UTF-8");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // One that asks nothing reads nothing.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    Done::of(&args.join(" "), child.wait_with_output().unwrap())
}

fn json(done: &Done) -> Value {
    serde_json::from_str(done.text()).unwrap()
}

/// A directory with a plan, a bundle that went through, and the witnesses' secret keys.
fn ceremony() -> Ceremony {
    let ceremony = Ceremony::new();
    ceremony.run();
    let at = ceremony.directory.path();
    fs::write(at.join("plan.toml"), &ceremony.text).unwrap();
    for (name, secret) in &ceremony.secrets {
        fs::write(at.join(format!("{name}.key")), secret).unwrap();
    }
    ceremony
}

#[test]
fn questions_make_a_plan_that_lints_clean() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let public = witness().1;
    fs::write(at.join("module.so"), "a module").unwrap();
    fs::write(at.join("wanda.pub"), format!("untrusted comment: minisign public key\n{public}\n")).unwrap();
    let module = at.join("module.so").display().to_string();
    let answers = [
        "2026 payments",
        "2026-11-payments",
        "module.so",
        &module,
        "olga",
        "oscar",
        "carol, dave,erin",
        "4",
        "2",
        "wanda",
        "nothing",
        "wanda.pub",
        "payments,box=rsa-oaep",
    ];
    let done = run(at, &["plan", "new", "plan.toml"], &(answers.join("\n") + "\n"));
    assert_eq!((done.text(), done.status), ("wrote 'plan.toml'\n", 0), "{}", done.stderr);
    for refused in
        ["a name here is 1 to 40", "expected an absolute path", "a number from 2 to 3", "not a minisign public"]
    {
        assert_eq!(done.stderr.matches(refused).count(), 1, "{refused}\n{}", done.stderr);
    }
    let lint = run(at, &["plan", "lint", "plan.toml"], "");
    assert_eq!((lint.text(), lint.status), ("'plan.toml', 26 steps: ok\n", 0), "{}", lint.stderr);
    let text = fs::read_to_string(at.join("plan.toml")).unwrap();
    assert!(text.contains("algorithm = \"rsa-oaep\"") && text.contains(&public));
    // SHA-256 of "a module".
    assert!(
        text.contains("module_sha256 = \"f6c0d945dc8a9e01854484f4e9b123945919e553778d4386d1d939451c038a0c\""),
        "{text}"
    );

    let again = run(at, &["plan", "new", "plan.toml"], "");
    again.is(1, &["keyward: error: 'plan.toml' exists already", "keyward: hint: use --force to replace it"]);
    let cut = run(at, &["plan", "new", "other.toml"], "2026-11\n");
    assert_eq!(cut.status, 2);
    assert!(
        cut.stderr.ends_with("keyward: error: a question was not answered; nothing is written\n"),
        "{}",
        cut.stderr
    );
    assert!(!at.join("other.toml").exists());
}

#[test]
fn lint_tells_each_contradiction_on_a_line() {
    let ceremony = ceremony();
    let at = ceremony.directory.path();
    let bad =
        ceremony.text.replacen("threshold = 2", "threshold = 1", 1).replacen("roles = [\"operator\"]", "roles = []", 1);
    fs::write(at.join("bad.toml"), bad + "\n# PIN: 471100\n").unwrap();
    let done = run(at, &["plan", "lint", "bad.toml"], "");
    let lines: Vec<_> = done.text().lines().collect();
    assert_eq!(done.status, 1);
    assert_eq!(lines[0], "people.olga: no role is given");
    assert!(lines.contains(&"people: nobody has the role operator"), "{lines:?}");
    assert!(lines[2].starts_with("tokens.primary.custody: a threshold below 2 is no sharing"), "{lines:?}");
    assert!(lines[3].ends_with("this looks like a PIN or a password") && !done.text().contains("471100"));
    let report = json(&run(at, &["plan", "lint", "--json", "bad.toml"], ""));
    assert_eq!((&report["ok"], report["findings"].as_array().unwrap().len()), (&Value::Bool(false), 4));
    let dry = run(at, &["run", "--dry-run", "bad.toml"], "");
    assert_eq!((dry.status, dry.text()), (2, ""));
    assert!(dry.stderr.ends_with("keyward: error: the plan 'bad.toml' contradicts itself\n"), "{}", dry.stderr);
    fs::write(at.join("none.toml"), "format = 2\npin = \"471100\"\n").unwrap();
    let none = run(at, &["plan", "lint", "none.toml"], "");
    assert!(none.status == 2 && none.stderr.contains("line 2: unknown field `pin`"), "{}", none.stderr);
    assert!(!none.stderr.contains("471100"));
}

#[test]
fn a_plan_is_read_aloud_and_printed_for_paper() {
    let ceremony = ceremony();
    let at = ceremony.directory.path();
    let said = run(at, &["plan", "words", "plan.toml"], "");
    let lines: Vec<_> = said.text().lines().collect();
    assert_eq!((lines.len(), lines[0].len(), lines[2].split(' ').count()), (6, 64, 8), "{lines:?}");
    let told = json(&run(at, &["plan", "words", "--json", "plan.toml"], ""));
    assert_eq!(told["words"].as_array().unwrap().len(), 32);
    assert_eq!(told["sha256"], lines[0]);
    let paper = run(at, &["run", "--dry-run", "plan.toml"], "");
    assert_eq!(paper.status, 0);
    assert!(paper.text().starts_with("# Key ceremony 2026-11-payments\n") && paper.text().contains(lines[2]));
    let missing = run(at, &["run", "plan.toml"], "");
    assert_eq!(missing.status, 2, "{}", missing.stderr);
}

#[test]
fn a_bundle_is_verified_and_told() {
    let ceremony = ceremony();
    let at = ceremony.directory.path();
    let done = run(at, &["verify", "bundle"], "");
    assert_eq!((done.status, done.stderr.as_str()), (0, ""));
    let lines: Vec<_> = done.text().lines().collect();
    assert!(
        lines[0].starts_with("proven: plan, transcript, public keys and report are as they were when walter and wanda")
    );
    assert!(done.text().contains("claimed: no token attests AES keys over PKCS#11"), "{}", done.text());
    assert_eq!(*lines.last().unwrap(), "2026-11-payments, 56 entries, signed by walter and wanda: ok");
    let told = json(&run(at, &["verify", "--json", "bundle"], ""));
    assert_eq!((&told["ok"], &told["signed_by"][1], &told["entries"]), (&true.into(), &"wanda".into(), &56.into()));
    assert_eq!((&told["verdict"], &told["report_reworded"]), (&"verified".into(), &false.into()));

    assert_eq!(run(at, &["verify", "bundle", "--plan", "plan.toml"], "").status, 0);
    fs::write(at.join("other.toml"), Ceremony::new().text).unwrap();
    let other = run(at, &["verify", "bundle", "--plan", "other.toml"], "");
    assert!(
        other.status == 4 && other.text().starts_with("plan.toml: it is not the plan that is known from elsewhere")
    );

    let report = run(at, &["report", "bundle"], "");
    assert_eq!(report.text(), fs::read_to_string(at.join("bundle/report.md")).unwrap());
    let status = run(at, &["status", "bundle"], "");
    assert!(status.text().ends_with("27 of 27 steps are done; closed\n"), "{}", status.text());

    ceremony.change("transcript.jsonl", |text| text.replacen("carol", "mallory", 1));
    let done = run(at, &["verify", "bundle"], "");
    assert!(done.status == 4 && done.text().starts_with("transcript.jsonl: line "), "{}", done.text());
    let told = json(&run(at, &["verify", "--json", "bundle"], ""));
    assert_eq!(told["ok"], false);
    for command in [&["status", "bundle"][..], &["report", "bundle"]] {
        let done = run(at, command, "");
        assert!(
            done.status == 4 && done.stderr.starts_with("keyward: error: the transcript is not as it was"),
            "{}",
            done.stderr
        );
    }
    assert_eq!(run(at, &["verify", "nothing"], "").status, 1);
}

#[test]
fn status_of_a_ceremony_that_goes_on() {
    let ceremony = Ceremony::new();
    let mut journal = ceremony.begin();
    let steps = keyward::ceremony::script(&ceremony.plan);
    for step in &steps[..3] {
        ceremony.step(&mut journal, step);
    }
    let at = ceremony.directory.path();
    let told = json(&run(at, &["status", "--json", "bundle"], ""));
    assert_eq!((&told["in_use"], &told["next"]), (&true.into(), &"token/primary/share:carol".into()));
    assert_eq!((&told["steps"][2]["state"], &told["steps"][3]["state"]), (&"done".into(), &"waiting".into()));
    drop(journal);
    let told = run(at, &["status", "bundle"], "");
    assert!(told.text().ends_with("3 of 27 steps are done; next is token/primary/share:carol\n"), "{}", told.text());
    assert!(told.text().starts_with("STEP "));
    let head = ceremony.bundle().transcript().unwrap().head().unwrap();
    for line in keyward::ceremony::words::lines(&head) {
        assert!(told.text().contains(&line), "{}", told.text());
    }
}

#[test]
fn a_witness_signs_what_she_was_shown_and_nothing_that_is_wrong() {
    let ceremony = ceremony();
    let at = ceremony.directory.path();
    fs::remove_file(at.join("bundle/signatures/wanda.minisig")).unwrap();
    let sign = ["sign", "bundle", "--key", "wanda.key"];
    run(at, &sign, "").is(
        2,
        &[
            "keyward: error: nothing is signed: it was not confirmed",
            "keyward: hint: at a terminal you are asked; in a script, add --yes",
        ],
    );
    let missing = run(at, &["verify", "bundle"], "");
    assert!(missing.status == 4 && missing.text().contains("the signature of the witness wanda is missing"));
    fs::write(at.join("stranger.key"), witness().0).unwrap();
    let stranger = run(at, &["sign", "bundle", "--key", "stranger.key", "--yes"], "");
    assert!(stranger.status == 2 && stranger.stderr.contains("is no witness's of this plan"), "{}", stranger.stderr);

    // Nothing that is not as it should be is signed.
    let report = fs::read_to_string(at.join("bundle/report.md")).unwrap();
    fs::write(at.join("bundle/report.md"), report.replace("olga", "mallory")).unwrap();
    let refused = run(at, &[&sign[..], &["--yes"]].concat(), "");
    assert_eq!(refused.status, 4);
    assert!(
        refused.text().starts_with("report.md: it is not the report that the transcript makes\n"),
        "{}",
        refused.text()
    );
    assert_eq!(refused.stderr, "keyward: error: nothing is signed: the bundle is not as it should be\n");
    assert!(!at.join("bundle/signatures/wanda.minisig").exists());
    fs::write(at.join("bundle/report.md"), report).unwrap();

    let signed = run(at, &[&sign[..], &["--yes"]].concat(), "");
    assert_eq!(signed.status, 0, "{}", signed.stderr);
    let words = run(at, &["plan", "words", "plan.toml"], "");
    assert!(words.text().lines().skip(2).all(|line| signed.text().contains(line)), "{}", signed.text());
    assert!(signed.text().ends_with("signed as wanda\n"));
    assert_eq!(run(at, &["verify", "bundle"], "").status, 0);
    let again = run(at, &[&sign[..], &["--yes"]].concat(), "");
    assert_eq!(again.status, 1, "{}", again.stderr);
}

fn minisign(at: &Path, args: &[&str]) -> String {
    let output = Command::new("minisign").current_dir(at).args(args).stdin(Stdio::null()).output();
    let output = output.expect("minisign is missing: `softhsm/install minisign` installs it");
    let told = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "minisign {args:?}: {told}");
    told
}

#[test]
fn keys_and_signatures_are_those_of_minisign() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    minisign(at, &["-G", "-W", "-p", "wanda.pub", "-s", "wanda.key"]);
    let (secret, public) = (at.join("wanda.key"), at.join("wanda.pub"));
    let (secret, public) = (fs::read_to_string(secret).unwrap(), fs::read_to_string(public).unwrap());
    let key = public.parse().unwrap();
    let text = Answers { witnesses: vec![(fixture::name("wanda"), key)], ..Answers::example() }.to_toml();
    let mut ceremony = Ceremony::of(text, Vec::new());
    ceremony.directory = directory;
    ceremony.run();
    let at = ceremony.directory.path();

    // What Keyward signs with its key, it verifies.
    let signed = run(at, &["sign", "bundle", "--key", "wanda.key", "--yes"], "");
    assert_eq!(signed.status, 0, "{}", signed.stderr);
    let statement = run(at, &["sign", "bundle", "--statement"], "");
    assert!(statement.text().starts_with("keyward ceremony statement 1\nceremony 2026-11-payments\nrun "));
    assert_eq!(statement.text().lines().count(), 8);
    fs::write(at.join("statement"), statement.text()).unwrap();
    let signature = "bundle/signatures/wanda.minisig";
    let verified = minisign(at, &["-Vm", "statement", "-p", "wanda.pub", "-x", signature]);
    assert!(verified.contains("Trusted comment: 2026-11-payments as witness wanda"), "{verified}");

    // And what it signs, Keyward does.
    fs::remove_file(at.join(signature)).unwrap();
    minisign(at, &["-Sm", "statement", "-s", "wanda.key", "-x", signature]);
    let done = run(at, &["verify", "bundle"], "");
    assert!(done.status == 0 && done.text().ends_with("signed by wanda: ok\n"), "{}", done.text());
    // The form without a hash before it is from before 2016, and is not taken.
    fs::remove_file(at.join(signature)).unwrap();
    minisign(at, &["-Slm", "statement", "-s", "wanda.key", "-x", signature]);
    assert_eq!(run(at, &["verify", "bundle"], "").status, 4);
    assert!(secret.starts_with("untrusted comment: "));
}

#[test]
fn deviations_have_an_exit_status_of_their_own() {
    let ceremony = Ceremony::new();
    let mut journal = ceremony.begin();
    let told = ["nobody comes in", "the caretaker did", "he looked at nothing"];
    journal.exception(None, told, keyward::ceremony::Decision::Accepted, &fixture::name("olga")).unwrap();
    for step in keyward::ceremony::script(&ceremony.plan) {
        ceremony.step(&mut journal, &step);
    }
    journal.close().unwrap();
    ceremony.bundle().write_report().unwrap();
    ceremony.secrets.iter().for_each(|(name, secret)| fixture::sign(&ceremony.bundle(), name, secret));
    let at = ceremony.directory.path();
    let done = run(at, &["verify", "bundle"], "");
    assert_eq!(done.status, 8, "{}", done.text());
    let last = done.text().lines().last().unwrap();
    assert!(last.ends_with("signed by walter and wanda: intact, with 1 deviation accepted"), "{last}");
    let told = json(&run(at, &["verify", "--json", "bundle"], ""));
    assert_eq!((&told["ok"], &told["verdict"]), (&false.into(), &"deviations".into()));
}

/// One would wait for a writer, or read what is no file.
#[test]
fn pipe_in_the_place_of_a_plan_is_refused() {
    let ceremony = ceremony();
    let at = ceremony.directory.path();
    rustix::fs::mkfifoat(rustix::fs::CWD, at.join("pipe"), rustix::fs::Mode::RUSR).unwrap();
    let done = run(at, &["verify", "bundle", "--plan", "pipe"], "");
    assert!(done.status == 1 && done.stderr.contains("cannot read 'pipe'"), "{}", done.stderr);
}
