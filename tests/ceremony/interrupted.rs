//! Runs that are interrupted, and two at once.

use crate::complete::findings;
use crate::fixture::{Ceremony, begin, name, share};
use keyward::ErrorKind;
use keyward::ceremony::{
    Bundle, Decision, Entry, InterimStatement, Journal, Status, StepId, Verify, WitnessSecret, script,
};
use std::fs::{self, OpenOptions};
use std::io::Write;

#[test]
fn a_torn_end_is_cut_off_by_resume_and_by_nobody_else() {
    let ceremony = Ceremony::new();
    let mut journal = ceremony.begin();
    let steps = script(&ceremony.plan);
    ceremony.step(&mut journal, &steps[0]);
    journal.intent(&steps[1].id, &steps[1].confirmed_by).unwrap();
    let run = journal.run();
    drop(journal);
    let path = ceremony.path().join("transcript.jsonl");
    let good = fs::read(&path).unwrap();
    // Every part of a last line that the power may have left.
    let whole = good.split_inclusive(|byte| *byte == b'\n').next_back().unwrap().to_vec();
    let start = good.len() - whole.len();
    for kept in (1..whole.len() - 1).step_by(7) {
        let torn = &good[..start + kept];
        fs::write(&path, torn).unwrap();
        let bundle = ceremony.bundle();
        assert_eq!(bundle.transcript().unwrap().torn().unwrap().length, kept as u64);
        assert!(!Verify::new(&bundle).run().unwrap().is_intact());
        assert_eq!(fs::read(&path).unwrap(), torn, "verify changed it");
        let resumed = Journal::resume(&bundle, "test", None).unwrap();
        assert_eq!(resumed.run(), run);
        assert!(fs::read(&path).unwrap().starts_with(&good[..start]));
        let Entry::Resumed { torn_bytes, torn_sha256, .. } = &resumed.lines().last().unwrap().entry else {
            panic!("it does not say that it goes on");
        };
        assert_eq!((*torn_bytes, torn_sha256.is_some()), (kept as u64, true));
        assert_eq!(resumed.progress().open(), None);
    }
    // More than what says that it goes on would write over.
    fs::write(&path, [&good[..], &[b'x'; 5000]].concat()).unwrap();
    drop(Journal::resume(&ceremony.bundle(), "test", None).unwrap());
    assert_eq!(ceremony.bundle().transcript().unwrap().torn(), None);
    // A line that lacks its newline alone is whole.
    fs::write(&path, &good[..good.len() - 1]).unwrap();
    let resumed = Journal::resume(&ceremony.bundle(), "test", None).unwrap();
    // Nobody knows how it ended.
    assert_eq!(resumed.progress().open(), None);
    assert_eq!(resumed.progress().attempts(&steps[1].id)[0].outcome, None);
    drop(resumed);
    assert_eq!(ceremony.bundle().transcript().unwrap().torn(), None);
}

#[test]
fn a_run_that_is_interrupted_at_every_line_ends_as_one_that_was_not() {
    let ceremony = Ceremony::new();
    drop(ceremony.begin());
    for step in script(&ceremony.plan) {
        let mut journal = Journal::resume(&ceremony.bundle(), "test", None).unwrap();
        journal.intent(&step.id, &step.confirmed_by).unwrap();
        drop(journal);
        let mut journal = Journal::resume(&ceremony.bundle(), "test", None).unwrap();
        assert_eq!(journal.progress().attempts(&step.id)[0].outcome, None);
        ceremony.step(&mut journal, &step);
    }
    let mut journal = Journal::resume(&ceremony.bundle(), "test", None).unwrap();
    let head = journal.head();
    assert_ne!(journal.close().unwrap(), head);
    drop(journal);
    let bundle = ceremony.bundle();
    bundle.write_report().unwrap();
    let found = Verify::new(&bundle).before_signing().run().unwrap();
    assert_eq!(found.findings, []);
    let error = Journal::resume(&bundle, "test", None).unwrap_err();
    assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::InvalidArgument, "this ceremony has ended"));
}

#[test]
fn shares_are_handed_out_again_until_the_pin_is_set_and_not_after() {
    let ceremony = Ceremony::new();
    let mut journal = ceremony.begin();
    let steps = script(&ceremony.plan);
    let of = |id: &str| steps.iter().find(|step| step.id.as_str() == id).unwrap();
    for step in &steps {
        if step.id.as_str() == "token/primary/set-pin" {
            for custodian in ["carol", "dave", "erin"] {
                ceremony.step(&mut journal, of(&format!("token/primary/share:{custodian}")));
            }
        }
        ceremony.step(&mut journal, step);
    }
    let journal = {
        journal.close().unwrap();
        ceremony.bundle().write_report().unwrap();
        Verify::new(&ceremony.bundle()).before_signing().run().unwrap()
    };
    assert_eq!(journal.findings, []);

    let late = Ceremony::new();
    let mut journal = late.begin();
    for step in &steps {
        late.step(&mut journal, step);
    }
    late.step(&mut journal, of("token/primary/share:dave"));
    journal.close().unwrap();
    let found = findings(&late.bundle());
    assert!(found.iter().any(|f| f.ends_with("it is done again after token/primary/set-pin")), "{found:?}");
}

#[test]
fn two_runs_do_not_share_a_bundle() {
    let ceremony = Ceremony::new();
    let journal = ceremony.begin();
    let error = Journal::resume(&ceremony.bundle(), "test", None).unwrap_err();
    assert!(error.kind() == ErrorKind::Io && error.to_string().starts_with("another run has"), "{error}");
    assert!(Journal::begin(&ceremony.bundle(), begin()).is_err());
    drop(journal);
    Journal::resume(&ceremony.bundle(), "test", None).unwrap();
    let error = Journal::begin(&ceremony.bundle(), begin()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutputExists);
}

#[test]
fn a_bundle_is_made_once_and_never_over_something_else() {
    let ceremony = Ceremony::new();
    let bundle = Bundle::create(&ceremony.path(), &ceremony.text).unwrap();
    // As one that was interrupted.
    Bundle::create(&ceremony.path(), &ceremony.text).unwrap();
    let other = ceremony.text.replace("threshold = 2", "threshold = 3");
    assert_eq!(Bundle::create(&ceremony.path(), &other).unwrap_err().kind(), ErrorKind::OutputExists);
    fs::write(ceremony.path().join("keys/x"), "x").unwrap();
    assert_eq!(Bundle::create(&ceremony.path(), &ceremony.text).unwrap_err().kind(), ErrorKind::OutputExists);
    fs::remove_file(ceremony.path().join("keys/x")).unwrap();
    // What is left of a first line that was never whole was on nobody's mind.
    fs::write(ceremony.path().join("transcript.jsonl"), "{\"seq\":1").unwrap();
    assert_eq!(Journal::resume(&bundle, "test", None).unwrap_err().kind(), ErrorKind::InvalidArgument);
    Journal::begin(&bundle, begin()).unwrap();
    assert_eq!(Bundle::create(&ceremony.path(), &ceremony.text).unwrap_err().kind(), ErrorKind::OutputExists);
    assert_eq!(bundle.plan_text().unwrap(), ceremony.text);
}

#[test]
fn nothing_goes_on_with_another_plan_or_a_changed_transcript() {
    let ceremony = Ceremony::new();
    drop(ceremony.begin());
    let text = fs::read_to_string(ceremony.path().join("plan.toml")).unwrap();
    fs::write(ceremony.path().join("plan.toml"), format!("{text}#\n")).unwrap();
    let error = Journal::resume(&ceremony.bundle(), "test", None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotAuthentic);
    fs::write(ceremony.path().join("plan.toml"), text).unwrap();
    ceremony.change("transcript.jsonl", |text| text.replace("\"pid\":", "\"pid\":1"));
    let error = Journal::resume(&ceremony.bundle(), "test", None).unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (
            ErrorKind::NotAuthentic,
            "the transcript is not as it was written: line 1: changed: its hash is not that of its bytes"
        )
    );
}

#[test]
fn what_cannot_follow_is_refused_and_nothing_is_written() {
    let ceremony = Ceremony::new();
    let mut journal = ceremony.begin();
    let (olga, one, two) = (name("olga"), StepId::from("host/check"), StepId::from("token/primary/identify"));
    assert!(journal.done(&one, Vec::new()).unwrap_err().to_string().ends_with("ends without having begun"));
    journal.intent(&one, &olga).unwrap();
    assert_eq!(journal.progress().open(), Some(&one));
    let error = journal.intent(&two, &olga).unwrap_err();
    assert!(error.to_string().ends_with("step token/primary/identify begins before host/check has ended"), "{error}");
    assert!(journal.done(&two, Vec::new()).is_err());
    assert!(journal.intent(&one, &olga).is_err());
    journal.exception(Some(&one), ["a", "b", "c"], Decision::Stopped, &olga).unwrap();
    let len = journal.lines().len();
    assert!(journal.done(&one, Vec::new()).unwrap_err().to_string().ends_with("that the ceremony ends"));
    assert_eq!(journal.lines().len(), len);
    drop(journal);
    assert_eq!(ceremony.bundle().transcript().unwrap().lines().len(), len);
    assert_eq!(Journal::resume(&ceremony.bundle(), "test", None).unwrap_err().to_string(), "this ceremony has ended");
}

#[test]
fn who_put_a_pin_together_again_is_told() {
    let ceremony = Ceremony::new();
    let mut journal = ceremony.begin();
    let digests = vec![share(journal.run(), &name("primary"), 1).digest(&journal.run())];
    journal.unlocked(&name("primary"), vec![name("carol")], digests).unwrap();
    drop(journal);
    let transcript = ceremony.bundle().transcript().unwrap();
    let told = keyward::ceremony::report(&ceremony.plan, &transcript);
    assert!(told.contains("carol put the PIN of primary together again"), "{told}");
}

#[test]
fn what_others_wrote_behind_a_transcript_is_no_torn_end() {
    let ceremony = Ceremony::new();
    drop(ceremony.begin());
    let mut file = OpenOptions::new().append(true).open(ceremony.path().join("transcript.jsonl")).unwrap();
    file.write_all(b"something\n").unwrap();
    assert_eq!(Journal::resume(&ceremony.bundle(), "test", None).unwrap_err().kind(), ErrorKind::NotAuthentic);
}

#[test]
fn what_looks_like_a_secret_is_not_recorded() {
    let ceremony = Ceremony::new();
    let mut journal = ceremony.begin();
    let share = share(journal.run(), &name("primary"), 1).to_text().to_string();
    let before = fs::read(ceremony.path().join("transcript.jsonl")).unwrap();
    for text in [share.as_str(), "the PIN: 471100", "two\nlines", "", &"x".repeat(2001)] {
        let told = ["an answer", text, "because"];
        let error = journal.exception(None, told, Decision::Again, &name("olga")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(text.is_empty() || !error.to_string().contains(text));
    }
    assert_eq!(fs::read(ceremony.path().join("transcript.jsonl")).unwrap(), before);
}

#[test]
fn a_transcript_that_was_rewritten_at_a_pause_is_refused() {
    let ceremony = Ceremony::new();
    let steps = script(&ceremony.plan);
    let mut journal = ceremony.begin();
    ceremony.step(&mut journal, &steps[0]);
    drop(journal);
    let bundle = ceremony.bundle();
    let path = ceremony.path().join("transcript.jsonl");
    let other = fs::read(&path).unwrap();
    let head = bundle.transcript().unwrap().head().unwrap();
    assert_eq!(Status::of(&ceremony.plan, &bundle.transcript().unwrap()).head, Some(head));
    // One more step, and a witness signs what there is.
    let mut journal = Journal::resume(&bundle, "test", None).unwrap();
    ceremony.step(&mut journal, &steps[1]);
    drop(journal);
    let statement = InterimStatement::new(&bundle.transcript().unwrap()).unwrap();
    let (witness, secret) = &ceremony.secrets[0];
    let key = WitnessSecret::open(secret, None).unwrap();
    let signature = key.sign(statement.to_string().as_bytes(), "a test").unwrap();
    bundle.write_interim_signature(witness, statement.entries, &signature).unwrap();
    let good = fs::read(&path).unwrap();
    drop(Journal::resume(&bundle, "test", None).unwrap());

    // The same steps again, as an attacker writes them who has the bundle meanwhile.
    fs::rename(ceremony.path().join("signatures"), ceremony.directory.path().join("aside")).unwrap();
    fs::write(&path, &other).unwrap();
    let mut journal = Journal::resume(&bundle, "test", None).unwrap();
    ceremony.step(&mut journal, &steps[1]);
    drop(journal);
    let rewritten = fs::read(&path).unwrap();
    assert_eq!(bundle.transcript().unwrap().lines().len() as u64, statement.entries);
    fs::rename(ceremony.directory.path().join("aside"), ceremony.path().join("signatures")).unwrap();
    for bytes in [&rewritten, &other] {
        fs::write(&path, bytes).unwrap();
        let error = Journal::resume(&bundle, "test", None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotAuthentic, "{error}");
        assert_eq!(fs::read(&path).unwrap(), *bytes, "resume changed it");
        let found = Verify::new(&bundle).before_signing().run().unwrap().findings;
        assert!(found.iter().any(|found| found.place.contains('@')), "{found:?}");
    }
    fs::write(&path, good).unwrap();
    drop(Journal::resume(&bundle, "test", None).unwrap());
}
