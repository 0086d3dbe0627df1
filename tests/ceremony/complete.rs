//! A ceremony that went as planned, and ones that did not.

use crate::fixture::{Ceremony, begin, hash, name, share};
use keyward::ErrorKind;
use keyward::ceremony::{
    Begin, Bundle, Decision, Fact, Journal, Status, Step, StepId, StepKind, StepStatus, Verification, Verify, report,
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
    assert!(found.is_ok() && !found.rehearsal && found.deviations.is_empty());
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
    let journal = Journal::begin(&bundle, Begin { rehearsal: true, ..begin() }).unwrap();
    drop(journal);
    let transcript = bundle.transcript().unwrap();
    assert!(report(&ceremony.plan, &transcript).contains("**REHEARSAL: the keys of this run are worth nothing.**"));
    assert!(Status::of(&ceremony.plan, &transcript).rehearsal && verify(&bundle).rehearsal);
    let statement = keyward::ceremony::Statement::new(&transcript, "").unwrap();
    assert!(statement.to_string().contains("\nrehearsal yes\n"));
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
fn with_step(ceremony: &Ceremony, id: &str, change: impl Fn(&mut Journal, &Step, Vec<Fact>)) -> Vec<String> {
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
fn what_was_seen_must_be_what_the_plan_says() {
    fn changed(id: &str, change: impl Fn(&mut Fact)) -> Vec<String> {
        with_step(&Ceremony::new(), id, |journal, step, mut facts| {
            facts.iter_mut().for_each(&change);
            journal.done(&step.id, facts).unwrap();
        })
    }
    let other = hash("other");
    type Change<'a> = (&'a str, Box<dyn Fn(&mut Fact)>, &'a str);
    fn attribute(name: &'static str, is: bool) -> Box<dyn Fn(&mut Fact)> {
        Box::new(move |fact| {
            if let Fact::Key { attributes, .. } = fact {
                attributes.insert(name.into(), is);
            }
        })
    }
    let cases: Vec<Change<'_>> = vec![
        (
            "host/check",
            Box::new(move |fact| {
                if let Fact::Host { tool_sha256, .. } = fact {
                    *tool_sha256 = other;
                }
            }),
            "the program had another hash than the plan says",
        ),
        (
            "host/check",
            Box::new(|fact| {
                if let Fact::Host { modules, .. } = fact {
                    modules.clear();
                }
            }),
            "the module of 'primary' had another hash than the plan says",
        ),
        (
            "token/second/initialize",
            Box::new(|fact| {
                if let Fact::Token { label, .. } = fact {
                    *label = "x".into();
                }
            }),
            "the label was 'x', and the plan says '2026-11-payments-b'",
        ),
        (
            "token/primary/share:dave",
            Box::new(|fact| {
                if let Fact::Share { index, .. } = fact {
                    *index = 1;
                }
            }),
            "it is another share than the plan says",
        ),
        (
            "token/primary/set-pin",
            Box::new(|fact| {
                if let Fact::Recombined { digests } = fact {
                    digests.pop();
                }
            }),
            "the PIN was put together from fewer shares than the threshold",
        ),
        (
            "token/primary/set-pin",
            Box::new(move |fact| {
                if let Fact::Recombined { digests } = fact {
                    digests.push(other);
                }
            }),
            "the PIN was put together from a share that was not handed out",
        ),
        (
            "key/payments/generate",
            Box::new(|fact| {
                if let Fact::Key { id, .. } = fact {
                    *id = keyward::ceremony::Id::from_bytes([3; 16]);
                }
            }),
            "the CKA_ID of the key is not the one that this run gives it",
        ),
        (
            "key/payments/attributes",
            Box::new(|fact| {
                if let Fact::Key { check_value, .. } = fact {
                    *check_value = Some("ffffff".into());
                }
            }),
            "the key that was read back has another check value than the one that was made",
        ),
        ("key/payments/attributes", attribute("CKA_EXTRACTABLE", true), "CKA_EXTRACTABLE is true, and must be false"),
        (
            "key/payments/attributes",
            attribute("CKA_NEVER_EXTRACTABLE", false),
            "CKA_NEVER_EXTRACTABLE is false, and must be true",
        ),
        ("key/payments/attributes", attribute("CKA_UNWRAP", true), "CKA_UNWRAP is true, and must be false"),
        ("key/payments/backup", attribute("CKA_LOCAL", false), "CKA_LOCAL is false, and must be true"),
        (
            "key/payments/attributes",
            Box::new(|fact| {
                if let Fact::Key { attributes, .. } = fact {
                    attributes.remove("CKA_SENSITIVE");
                }
            }),
            "CKA_SENSITIVE is not told, and must be true",
        ),
        (
            "key/payments/restore-test",
            Box::new(move |fact| {
                if let Fact::Restored { digest, .. } = fact {
                    *digest = other;
                }
            }),
            "what the second token opened is not the data key of the canary",
        ),
        (
            "token/second/inventory",
            Box::new(|fact| {
                if let Fact::Inventory { objects, .. } = fact {
                    objects.push(objects[0].clone());
                }
            }),
            "there were 5 objects, and the plan says 4",
        ),
    ];
    for (id, change, what) in cases {
        let found = changed(id, change);
        assert!(found.contains(&format!("{id}: {what}")), "{id}: {what}\n{found:?}");
    }
}

#[test]
fn a_share_that_was_handed_out_twice_is_found() {
    let ceremony = Ceremony::new();
    let found = with_step(&ceremony, "token/primary/share:dave", |journal, step, mut facts| {
        let first = share(journal.run(), &name("primary"), 1).digest(&journal.run());
        if let Fact::Share { digest, .. } = &mut facts[0] {
            *digest = first;
        }
        journal.done(&step.id, facts).unwrap();
    });
    assert!(found.contains(&"token/primary/share:dave: the same share was handed out twice".to_owned()), "{found:?}");
}

/// A token that is there already, with three objects and a PIN that somebody knows.
#[test]
fn what_is_on_a_token_before_must_be_what_the_plan_says() {
    let there = |ceremony: Ceremony| {
        let shared = "custody = { length = 24, threshold = 2, custodians = [\"carol\", \"dave\", \"erin\"] }";
        let text = ceremony
            .text
            .replacen("serial = \"free\"", "serial = \"serial-primary\"", 1)
            .replacen("initialize = true", "initialize = false", 1)
            .replacen(shared, "custody = { typed_by = \"oscar\" }", 1)
            .replacen("objects_before = 0", "objects_before = 3", 1)
            .replacen("objects_after = 4", "objects_after = 7", 1);
        Ceremony::of(text, ceremony.secrets)
    };
    let good = there(Ceremony::new());
    assert_eq!(findings(&good.run()), [""; 0]);
    let found = with_step(&there(Ceremony::new()), "token/primary/identify", |journal, step, mut facts| {
        if let Fact::Inventory { objects, .. } = &mut facts[1] {
            objects.pop();
        }
        journal.done(&step.id, facts).unwrap();
    });
    assert_eq!(found, ["token/primary/identify: there were 2 objects before, and the plan says 3"]);
    let found = with_step(&there(Ceremony::new()), "token/primary/identify", |journal, step, mut facts| {
        facts.pop();
        journal.done(&step.id, facts).unwrap();
    });
    assert_eq!(found, ["token/primary/identify: it is not told which objects were on the token before"]);
    let found = with_step(&there(Ceremony::new()), "token/primary/identify", |journal, step, mut facts| {
        if let Fact::Token { serial, .. } = &mut facts[0] {
            *serial = "other".into();
        }
        journal.done(&step.id, facts).unwrap();
    });
    assert!(
        found.contains(
            &"token/primary/identify: the serial number was other, and the plan says serial-primary".to_owned()
        ),
        "{found:?}"
    );
}

#[test]
fn a_pin_is_put_together_again_from_shares_that_were_handed_out() {
    let unlocked = |digests: &[u8], tokens: &str, run: Option<u8>| {
        let ceremony = Ceremony::new();
        let token = name(tokens);
        let found = with_step(&ceremony, "key/payments/canary", |journal, step, facts| {
            let of = run.map_or(journal.run(), |run| keyward::ceremony::Id::from_bytes([run; 16]));
            let digests = digests.iter().map(|index| share(of, &token, *index).digest(&of)).collect();
            journal.done(&step.id, facts).unwrap();
            journal.unlocked(&token, vec![name("carol"), name("erin")], digests).unwrap();
        });
        found.into_iter().map(|finding| finding.split_once(": ").unwrap().1.to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(unlocked(&[2, 3], "primary", None), [""; 0]);
    let (few, foreign) = (
        "the PIN was put together from fewer shares than the threshold",
        "the PIN was put together from a share that was not handed out",
    );
    assert_eq!(unlocked(&[2], "primary", None), [few]);
    assert_eq!(unlocked(&[2, 2], "primary", None), [few]);
    assert_eq!(unlocked(&[2, 3], "primary", Some(1)), [foreign]);
    assert_eq!(unlocked(&[2, 3], "third", None), ["the PIN of 'third' is not shared"]);
}

#[test]
fn people_may_accept_the_surroundings_and_nothing_of_a_key() {
    let deviate = |id: &str| {
        let ceremony = Ceremony::new();
        let found = with_step(&ceremony, id, |journal, step, _| {
            let told = ["what the plan says", "something else", "we checked it by hand"];
            journal.exception(Some(&step.id), told, Decision::Accepted, &name("olga")).unwrap();
            journal.done(&step.id, Vec::new()).unwrap();
        });
        (found, Verify::new(&ceremony.bundle()).before_signing().run().unwrap().deviations)
    };
    let (found, deviations) = deviate("host/check");
    assert_eq!(found, [""; 0]);
    assert!(
        deviations[0].ends_with("happened: something else; accepted by olga: we checked it by hand"),
        "{deviations:?}"
    );
    let (found, _) = deviate("key/payments/attributes");
    assert!(!found.is_empty());
    let (found, _) = deviate("key/payments/restore-test");
    assert_eq!(found, ["key/payments/restore-test: it is not told what the second token opened"]);
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
