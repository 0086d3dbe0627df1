//! A ceremony that went as planned, and ones that did not.

use crate::fixture::{Ceremony, begin, name, sign};
use keyward::ErrorKind;
use keyward::ceremony::{
    Bundle, Decision, Fact, Journal, Status, Step, StepId, StepKind, StepStatus, Verdict, Verification, Verify, report,
    script,
};

pub(crate) fn verify(bundle: &Bundle) -> Verification {
    Verify::new(bundle).run().unwrap()
}

/// What verify says, each finding a line.
pub(crate) fn findings(bundle: &Bundle) -> Vec<String> {
    verify(bundle).findings.iter().map(ToString::to_string).collect()
}

#[test]
fn a_ceremony_that_was_done_and_signed_verifies() {
    let ceremony = Ceremony::new();
    let found = verify(&ceremony.run());
    assert_eq!(found.findings, []);
    assert_eq!((found.verdict(), found.is_report_reworded), (Verdict::Verified, false));
    let signed: Vec<_> = found.signed_by.iter().map(ToString::to_string).collect();
    assert_eq!(signed, ["walter", "wanda"]);
    assert!(found.proven[0].contains("walter and wanda"), "{:?}", found.proven);
    assert_eq!(found.seen.len(), 2);
    assert!(found.claimed.iter().any(|line| line.contains("no token attests AES keys over PKCS#11")));
    // Two keys on two tokens, each with what a living token can be compared with.
    assert_eq!(found.keys.len(), 4);
    assert!(found.keys.iter().all(|key| key.canary.is_some() && key.serial.is_some()));
}

#[test]
fn a_report_is_the_same_whenever_it_is_made() {
    let ceremony = Ceremony::new();
    let bundle = ceremony.run();
    let made = report(&bundle.plan().unwrap(), &bundle.transcript().unwrap());
    assert_eq!(made, report(&bundle.plan().unwrap(), &bundle.transcript().unwrap()));
    for told in ["| `key/a/box/restore-test` | olga |", "CKA_NEVER_EXTRACTABLE", "share 2 of 3, 2 needed", "None."] {
        assert!(made.contains(told), "{told}\n{made}");
    }
    assert!(!made.contains("REHEARSAL") && !made.contains("NOT FINISHED"));
}

#[test]
fn a_rehearsal_says_so_everywhere() {
    let ceremony = Ceremony::new();
    let bundle = Bundle::create(&ceremony.path(), &ceremony.text).unwrap();
    let journal = Journal::begin(&bundle, begin().rehearsal(true)).unwrap();
    drop(journal);
    let transcript = bundle.transcript().unwrap();
    assert!(report(&ceremony.plan, &transcript).contains("**REHEARSAL: the keys of this run are worth nothing.**"));
    assert!(Status::of(&ceremony.plan, &transcript).rehearsal && verify(&bundle).rehearsal);
    let statement = keyward::ceremony::Statement::new(&transcript, b"").unwrap();
    assert!(statement.to_string().contains("\nrehearsal yes\n"));
}

/// Neither passes for a ceremony in which everything was done as planned.
#[test]
fn rehearsal_or_deviations_have_a_verdict_of_their_own() {
    let verdict = |rehearsal: bool, deviates: bool| {
        let ceremony = Ceremony::new();
        let bundle = Bundle::create(&ceremony.path(), &ceremony.text).unwrap();
        let mut journal = Journal::begin(&bundle, begin().rehearsal(rehearsal)).unwrap();
        for step in script(&ceremony.plan) {
            if deviates && step.kind == StepKind::CheckHost {
                let told = ["a network that is off", "it is on", "it leads nowhere"];
                journal.exception(None, told, Decision::Accepted, &name("olga")).unwrap();
            }
            ceremony.step(&mut journal, &step);
        }
        journal.close().unwrap();
        bundle.write_report().unwrap();
        ceremony.secrets.iter().for_each(|(witness, secret)| sign(&bundle, witness, secret));
        let found = Verify::new(&bundle).plan_is(keyward::ceremony::Plan::hash(&ceremony.text)).run().unwrap();
        assert_eq!(found.findings, []);
        found.verdict()
    };
    assert_eq!(verdict(false, false), Verdict::Verified);
    assert_eq!(verdict(false, true), Verdict::Deviations);
    assert_eq!(verdict(true, false), Verdict::Rehearsal);
    assert_eq!(verdict(true, true), Verdict::Rehearsal);
}

#[test]
fn status_names_the_next_step() {
    let ceremony = Ceremony::new();
    let mut journal = ceremony.begin();
    let steps = script(&ceremony.plan);
    for step in &steps[..2] {
        ceremony.step(&mut journal, step);
    }
    journal.intent(&steps[2].id, &steps[2].confirmed_by).unwrap();
    journal.failed(&steps[2].id, ErrorKind::PinIncorrect, Vec::new()).unwrap();
    journal.intent(&steps[2].id, &steps[2].confirmed_by).unwrap();
    let status = Status::of(&ceremony.plan, &ceremony.bundle().transcript().unwrap());
    let states: Vec<_> = status.steps.iter().map(|(_, state)| *state).take(4).collect();
    assert_eq!(states, [StepStatus::Done, StepStatus::Done, StepStatus::Open, StepStatus::Waiting]);
    assert_eq!(status.next, Some(StepId::from("token/primary/initialize")));
    assert!(ceremony.bundle().is_in_use());
    drop(journal);
    assert!(!ceremony.bundle().is_in_use());
}

/// Everything but for one step, which is done as `change` says.
pub(crate) fn with_step(ceremony: &Ceremony, id: &str, change: impl Fn(&mut Journal, &Step, Vec<Fact>)) -> Vec<String> {
    let mut journal = ceremony.begin();
    let mut changed = false;
    for step in script(&ceremony.plan) {
        if step.id.as_str() == id {
            journal.intent(&step.id, &step.confirmed_by).unwrap();
            let facts = ceremony.facts(journal.run(), &step, &journal);
            change(&mut journal, &step, facts);
            changed = true;
        } else {
            ceremony.step(&mut journal, &step);
        }
    }
    assert!(changed, "{id}");
    journal.close().unwrap();
    let bundle = ceremony.bundle();
    bundle.write_report().unwrap();
    let found = Verify::new(&bundle).before_signing().run().unwrap();
    found.findings.iter().map(ToString::to_string).collect()
}

#[test]
fn every_step_and_every_restore_test_is_asked_for() {
    for left_out in script(&Ceremony::new().plan) {
        let ceremony = Ceremony::new();
        let mut journal = ceremony.begin();
        for step in script(&ceremony.plan) {
            let needs_backup = matches!(step.kind, StepKind::RestoreTest { .. })
                && left_out.id.as_str() == step.id.as_str().replace("restore-test", "backup");
            if step.id != left_out.id && !needs_backup {
                ceremony.step(&mut journal, &step);
            }
        }
        journal.close().unwrap();
        ceremony.bundle().write_report().unwrap();
        let found = findings(&ceremony.bundle());
        assert!(found.contains(&format!("{}: it was not done", left_out.id)), "{} {found:?}", left_out.id);
    }
}

#[test]
fn a_failed_step_is_not_done_until_it_is_done_again() {
    let ceremony = Ceremony::new();
    let failed = |journal: &mut Journal, step: &Step, _| {
        journal.failed(&step.id, ErrorKind::TokenUnavailable, Vec::new()).unwrap();
    };
    let found = with_step(&ceremony, "key/payments/canary", failed);
    assert!(found.contains(&"key/payments/canary: it failed, and was not done again".to_owned()), "{found:?}");

    let ceremony = Ceremony::new();
    let found = with_step(&ceremony, "key/payments/canary", |journal, step, facts| {
        journal.failed(&step.id, ErrorKind::TokenUnavailable, Vec::new()).unwrap();
        let told = ["an answer", "none", "the token was unplugged"];
        journal.exception(Some(&step.id), told, Decision::Again, &name("olga")).unwrap();
        journal.intent(&step.id, &step.confirmed_by).unwrap();
        journal.done(&step.id, facts).unwrap();
    });
    assert_eq!(found, [""; 0]);
}

#[test]
fn only_the_person_whom_the_plan_names_confirms_a_step() {
    let ceremony = Ceremony::new();
    let mut journal = ceremony.begin();
    let step = &script(&ceremony.plan)[0];
    journal.intent(&step.id, &name("mallory")).unwrap();
    drop(journal);
    let found = findings(&ceremony.bundle());
    assert!(
        found.contains(&"host/check: line 2: confirmed by mallory, and the plan says by olga".to_owned()),
        "{found:?}"
    );
}

#[test]
fn steps_are_done_in_the_order_of_the_plan_and_once() {
    let ceremony = Ceremony::new();
    let mut journal = ceremony.begin();
    let mut steps = script(&ceremony.plan);
    steps.swap(0, 1);
    for step in &steps {
        ceremony.step(&mut journal, step);
    }
    let again = steps.iter().find(|step| step.id.as_str() == "key/payments/canary").unwrap();
    ceremony.step(&mut journal, again);
    journal.close().unwrap();
    let found = findings(&ceremony.bundle());
    assert!(found.iter().any(|f| f.contains("it was done before host/check had its outcome")), "{found:?}");
    assert!(
        found.iter().any(|f| f.starts_with("key/payments/canary: line ") && f.ends_with("is done again")),
        "{found:?}"
    );
}
