//! Whatever is changed in a bundle is found, and said.

use crate::complete::{findings, verify};
use crate::fixture::{Ceremony, copy, sign, witness};
use keyward::ceremony::{Bundle, Line, Verdict, Verify};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::Path;

/// A bundle in order, and what verify says of a copy after each change.
struct Altered {
    ceremony: Ceremony,
}

impl Altered {
    fn new() -> Self {
        let ceremony = Ceremony::new();
        assert_eq!(verify(&ceremony.run()).verdict(), Verdict::Verified);
        Self { ceremony }
    }

    /// Expects a finding that begins and ends like this.
    #[track_caller]
    fn is(&self, change: impl FnOnce(&Path), place: &str, what: &str) -> Vec<String> {
        let copied = tempfile::tempdir().unwrap();
        copy(&self.ceremony.path(), copied.path());
        change(copied.path());
        let found = findings(&Bundle::open(copied.path()).unwrap());
        let is_it = |finding: &String| finding.starts_with(&format!("{place}: ")) && finding.contains(what);
        assert!(found.iter().any(is_it), "{place}: {what}\n{found:#?}");
        found
    }

    fn lines(&self, change: impl FnOnce(&mut Vec<String>)) -> impl FnOnce(&Path) {
        let text = fs::read_to_string(self.ceremony.path().join("transcript.jsonl")).unwrap();
        let mut lines: Vec<String> = text.lines().map(ToOwned::to_owned).collect();
        change(&mut lines);
        move |at| fs::write(at.join("transcript.jsonl"), lines.join("\n") + "\n").unwrap()
    }
}

fn replace(file: &'static str, from: &'static str, to: &'static str) -> impl FnOnce(&Path) {
    move |at| {
        let path = at.join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file}: {from}");
        fs::write(path, text.replacen(from, to, 1)).unwrap();
    }
}

#[test]
fn lines_that_are_changed_removed_reordered_repeated_or_cut_off() {
    let altered = Altered::new();
    let transcript = "transcript.jsonl";
    let changed = altered.lines(|lines| lines[4] = lines[4].replace("made up", "made out"));
    altered.is(changed, transcript, "line 5: changed: its hash is not that of its bytes");
    altered.is(altered.lines(|lines| drop(lines.remove(4))), transcript, "line 5: removed: line 5 should be here");
    altered.is(
        altered.lines(|lines| lines.swap(4, 5)),
        transcript,
        "line 5: reordered: line 5 should be here and comes later",
    );
    altered.is(altered.lines(|lines| lines.insert(5, lines[4].clone())), transcript, "line 6: inserted");
    altered.is(altered.lines(|lines| drop(lines.pop())), transcript, "it is not closed");
    let found = altered.is(altered.lines(|lines| lines.truncate(9)), transcript, "it is not closed");
    assert!(found.iter().any(|f| f == "witness/wanda/sign-off: it was not done"), "{found:?}");
    let torn = |at: &Path| {
        let bytes = fs::read(at.join(transcript)).unwrap();
        fs::write(at.join(transcript), &bytes[..bytes.len() - 20]).unwrap();
    };
    altered.is(torn, transcript, "are no line: a run was interrupted, or it was changed");
    let unended = |at: &Path| {
        let bytes = fs::read(at.join(transcript)).unwrap();
        fs::write(at.join(transcript), &bytes[..bytes.len() - 1]).unwrap();
    };
    altered.is(unended, transcript, "its last line has no end");
    altered.is(|at| fs::write(at.join(transcript), "").unwrap(), transcript, "it is empty");
    altered.is(|at| fs::remove_file(at.join(transcript)).unwrap(), transcript, "cannot read");
    altered.is(altered.lines(|lines| lines.push("{}".into())), transcript, "changed");
}

/// A line with a hash of its own that is right.
fn rehashed(line: &str) -> String {
    let (body, _) = line.rsplit_once(",\"hash\":\"").unwrap();
    let hash = Sha256::new().chain_update(b"keyward.ceremony.v1\0").chain_update(body).finalize();
    let digits: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    let line = format!("{body},\"hash\":\"{digits}\"}}");
    assert!(Line::parse(line.as_bytes()).is_some());
    line
}

#[test]
fn lines_whose_own_hash_is_right() {
    let altered = Altered::new();
    let transcript = "transcript.jsonl";
    let anew = "changed: it does not follow the line before it; one of the two was written anew";
    let changed = altered.lines(|lines| lines[4] = rehashed(&lines[4].replace("made up", "made out")));
    altered.is(changed, transcript, &format!("line 6: {anew}"));
    let after = altered.lines(|lines| {
        let last = Line::parse(lines.last().unwrap().as_bytes()).unwrap();
        let more =
            lines.last().unwrap().replace(&format!("\"seq\":{}", last.seq), &format!("\"seq\":{}", last.seq + 1));
        lines.push(rehashed(&more.replace(&last.prev.to_string(), &last.hash.to_string())));
    });
    altered.is(after, transcript, "the transcript is closed before it");
    let twice = altered.lines(|lines| {
        let (first, last) = (lines[0].clone(), Line::parse(lines[1].as_bytes()).unwrap());
        lines[1] =
            rehashed(&first.replace("\"seq\":1,", "\"seq\":2,").replace(&"0".repeat(64), &last.prev.to_string()));
    });
    altered.is(twice, transcript, "line 2: a transcript begins once");
}

#[test]
fn a_chain_that_was_written_anew_does_not_have_the_signatures() {
    let altered = Altered::new();
    // Another run of the same plan by the same people, whose transcript is in order.
    let other = Ceremony::of(altered.ceremony.text.clone(), altered.ceremony.secrets.clone());
    other.run();
    let swap = |at: &Path| {
        for file in ["transcript.jsonl", "report.md"] {
            fs::copy(other.path().join(file), at.join(file)).unwrap();
        }
    };
    let found =
        altered.is(swap, "signatures/wanda.minisig", "it is not a signature of this transcript, plan and report");
    assert_eq!(found.len(), 2, "{found:?}");
}

#[test]
fn every_byte_of_the_transcript_counts() {
    let altered = Altered::new();
    let path = altered.ceremony.path().join("transcript.jsonl");
    let good = fs::read(&path).unwrap();
    let bundle = altered.ceremony.bundle();
    // Every byte of some lines of every kind would take minutes; one of each stretch of 97 does not.
    for at in (0..good.len()).step_by(97).chain(good.len() - 3..good.len()) {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(&path, &bad).unwrap();
        assert!(!verify(&bundle).is_intact(), "byte {at}");
    }
}

#[test]
fn a_plan_that_was_replaced() {
    let altered = Altered::new();
    let plan = "plan.toml";
    let other = "it is not the plan that the transcript was begun with";
    altered.is(replace(plan, "# No secret", "# no secret"), plan, other);
    altered.is(replace(plan, "threshold = 2", "threshold = 3"), plan, other);
    altered.is(
        replace(plan, "id = \"2026-11-payments\"", "id = \"2026-12\""),
        plan,
        "it is the plan of another ceremony",
    );
    altered.is(
        replace(plan, "threshold = 2", "threshold = 4"),
        plan,
        "tokens.primary.custody: the threshold 4 is over",
    );
    altered.is(replace(plan, "format = 2", "format = 3"), plan, "the format of a plan is 2");
    altered.is(|at| fs::remove_file(at.join("plan.toml")).unwrap(), plan, "cannot read");
}

#[test]
fn a_report_that_was_changed_or_is_missing() {
    let altered = Altered::new();
    // Its bytes are what is signed.
    let other = "it is not a signature of this transcript, plan and report";
    let wanda = "signatures/wanda.minisig";
    assert_eq!(altered.is(replace("report.md", "ok", "OK"), wanda, other).len(), 2);
    altered.is(|at| fs::write(at.join("report.md"), [0xff]).unwrap(), wanda, other);
    altered.is(|at| fs::remove_file(at.join("report.md")).unwrap(), "report.md", "cannot read");
}

/// A later version may word a report otherwise: what the witnesses signed is the file.
#[test]
fn report_that_is_reworded_verifies_if_it_was_signed() {
    let ceremony = Ceremony::new();
    let bundle = ceremony.run();
    let report = ceremony.path().join("report.md");
    fs::write(&report, fs::read_to_string(&report).unwrap().replace("# Report of", "# A report of")).unwrap();
    let signatures = ceremony.path().join("signatures");
    for (witness, secret) in &ceremony.secrets {
        fs::remove_file(signatures.join(format!("{witness}.minisig"))).unwrap();
        // No signature vouches for it yet.
        let found = Verify::new(&bundle).before_signing().run().unwrap();
        let told: Vec<_> = found.findings.iter().map(ToString::to_string).collect();
        assert!(told.contains(&"report.md: it is not the report that the transcript makes".to_owned()), "{told:?}");
        sign(&bundle, witness, secret);
    }
    let found = verify(&bundle);
    assert_eq!((found.findings.as_slice(), found.is_report_reworded), (&[][..], true));
    assert_eq!(found.signed_by.len(), 2);
}

#[test]
fn links_and_pipes_in_a_bundle_are_findings() {
    let altered = Altered::new();
    let elsewhere = tempfile::tempdir().unwrap();
    copy(&altered.ceremony.path(), elsewhere.path());
    for file in ["plan.toml", "transcript.jsonl", "report.md", "keys/a%2Fbox@primary.pem", "signatures/wanda.minisig"] {
        let link = |at: &Path| {
            fs::remove_file(at.join(file)).unwrap();
            std::os::unix::fs::symlink(elsewhere.path().join(file), at.join(file)).unwrap();
        };
        altered.is(link, file, "cannot read");
        // Opening it would wait for a writer.
        let pipe = |at: &Path| {
            fs::remove_file(at.join(file)).unwrap();
            rustix::fs::mkfifoat(rustix::fs::CWD, at.join(file), rustix::fs::Mode::RUSR).unwrap();
        };
        altered.is(pipe, file, "cannot read");
    }
    for directory in ["keys", "signatures"] {
        let copied = tempfile::tempdir().unwrap();
        copy(&altered.ceremony.path(), copied.path());
        fs::remove_dir_all(copied.path().join(directory)).unwrap();
        std::os::unix::fs::symlink(elsewhere.path().join(directory), copied.path().join(directory)).unwrap();
        let error = Verify::new(&Bundle::open(copied.path()).unwrap()).run().unwrap_err();
        assert!(error.to_string().starts_with("cannot read"), "{error}");
    }
}

#[test]
fn a_public_key_that_was_changed_or_is_missing_or_nobody_knows() {
    let altered = Altered::new();
    let key = "keys/a%2Fbox@primary.pem";
    let other = "it is not the public key that the transcript tells of";
    assert_eq!(altered.is(replace(key, "AAAA", "AAAB"), key, other).len(), 1);
    let swap = |at: &Path| {
        fs::copy(at.join("keys/a%2Fbox@second.pem"), at.join(key)).unwrap();
    };
    altered.is(swap, key, other);
    altered.is(move |at| fs::remove_file(at.join(key)).unwrap(), key, "cannot read");
    let known = "the transcript tells of no such file";
    altered.is(|at| fs::write(at.join("keys/x.pem"), "x").unwrap(), "keys/x.pem", known);
    altered.is(|at| fs::write(at.join("notes.txt"), "x").unwrap(), "notes.txt", known);
}

#[test]
fn a_signature_that_is_swapped_missing_changed_or_a_strangers() {
    let altered = Altered::new();
    let (wanda, walter) = ("signatures/wanda.minisig", "signatures/walter.minisig");
    let missing = |at: &Path| fs::remove_file(at.join(wanda)).unwrap();
    altered.is(missing, wanda, "the signature of the witness wanda is missing");
    let swap = |at: &Path| {
        fs::rename(at.join(wanda), at.join("swap")).unwrap();
        fs::rename(at.join(walter), at.join(wanda)).unwrap();
        fs::rename(at.join("swap"), at.join(walter)).unwrap();
    };
    assert_eq!(altered.is(swap, wanda, "it is by another key than the plan says").len(), 2);
    let stranger = |at: &Path| {
        fs::remove_file(at.join(wanda)).unwrap();
        sign(&Bundle::open(at).unwrap(), &"wanda".parse().unwrap(), &witness().0);
    };
    altered.is(stranger, wanda, "it is by another key than the plan says");
    let uninvited = |at: &Path| sign(&Bundle::open(at).unwrap(), &"mallory".parse().unwrap(), &witness().0);
    altered.is(uninvited, "signatures/mallory.minisig", "the plan names no such witness");
    altered.is(replace(wanda, "a test", "a tost"), wanda, "it is not a signature of this transcript");
    altered.is(replace(wanda, "keyward ceremony", "keyward baloney!"), wanda, "as minisign writes them");

    // Every byte of it: also those that minisign itself does not look at.
    let path = altered.ceremony.path().join(wanda);
    let good = fs::read(&path).unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(&path, &bad).unwrap();
        assert!(!verify(&altered.ceremony.bundle()).is_intact(), "byte {at}");
    }
    fs::write(&path, [&good[..], b"more\n"].concat()).unwrap();
    assert!(!verify(&altered.ceremony.bundle()).is_intact());
}

#[test]
fn before_signing_a_signature_may_be_missing_and_must_not_be_wrong() {
    let altered = Altered::new();
    let bundle = altered.ceremony.bundle();
    fs::remove_file(bundle.path().join("signatures/wanda.minisig")).unwrap();
    assert!(Verify::new(&bundle).before_signing().run().unwrap().is_intact());
    let one = bundle.path().join("signatures/walter.minisig");
    fs::write(&one, fs::read_to_string(&one).unwrap().replace("a test", "a tost")).unwrap();
    assert!(!Verify::new(&bundle).before_signing().run().unwrap().is_intact());
}

#[test]
fn a_line_has_one_spelling() {
    let altered = Altered::new();
    let text = fs::read_to_string(altered.ceremony.path().join("transcript.jsonl")).unwrap();
    for line in text.lines() {
        assert_eq!(Line::parse(line.as_bytes()).unwrap().to_bytes(), line.as_bytes());
        assert!(Line::parse(line.replacen(':', ": ", 1).as_bytes()).is_none());
        assert!(Line::parse(&line.as_bytes()[1..]).is_none());
    }
}

/// A bundle whose witnesses, too, are others is in order: only a plan from elsewhere shows it.
#[test]
fn a_bundle_that_others_made_up_whole_is_told_by_its_plan() {
    let (own, forged) = (Ceremony::new(), Ceremony::new());
    let bundle = forged.run();
    assert!(verify(&bundle).is_intact());
    assert!(verify(&bundle).claimed.iter().any(|line| line.contains("compare its words")));
    let known = |text: &str| Verify::new(&bundle).plan_is(keyward::ceremony::Plan::hash(text)).run().unwrap();
    assert!(known(&forged.text).is_intact() && known(&forged.text).claimed.len() == 3);
    let found = known(&own.text).findings;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].to_string(), "plan.toml: it is not the plan that is known from elsewhere");
}
