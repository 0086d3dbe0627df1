//! What was seen in each step must be what the plan says.

use crate::complete::{findings, with_step};
use crate::fixture::{Ceremony, hash, name, share};
use keyward::ceremony::{Decision, Fact, Id, Verify};

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
            "host/check",
            Box::new(|fact| {
                if let Fact::Libraries { .. } = fact {
                    *fact = Fact::Note { text: "nothing".into() };
                }
            }),
            "the libraries of the program are not recorded",
        ),
        (
            "token/second/initialize",
            Box::new(|fact| {
                if let Fact::Token { random, .. } = fact {
                    *random = None;
                }
            }),
            "what the token's generator gave is not recorded",
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
                    *id = Id::from_bytes([3; 16]);
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
            "key/payments/generate",
            Box::new(|fact| {
                if let Fact::Key { label, algorithm, public_key, .. } = fact {
                    (*label, *algorithm, *public_key) = ("x:1".into(), "aes-kw".into(), Some(hash("x")));
                }
            }),
            "the label of the key was 'x:1', and the plan says 'payments:1'",
        ),
        (
            "key/payments/generate",
            Box::new(|fact| {
                if let Fact::Key { algorithm, .. } = fact {
                    *algorithm = "aes-kw".into();
                }
            }),
            "the key is for aes-kw, and the plan says aes-gcm",
        ),
        (
            "key/a/box/attributes",
            Box::new(|fact| {
                if let Fact::Key { public_key, .. } = fact {
                    *public_key = None;
                }
            }),
            "whether the key has a public half is not as its algorithm needs it",
        ),
        (
            "key/payments/attributes",
            Box::new(|fact| {
                if let Fact::Key { id, .. } = fact {
                    *id = Id::from_bytes([3; 16]);
                }
            }),
            "the key that was read back has another CKA_ID than the one that was made",
        ),
        (
            "key/payments/canary",
            Box::new(|fact| {
                if let Fact::Canary { id, .. } = fact {
                    *id = Id::from_bytes([3; 16]);
                }
            }),
            "the canary is of another key",
        ),
        (
            "key/payments/backup",
            Box::new(move |fact| {
                if let Fact::Canary { digest, .. } = fact {
                    *digest = other;
                }
            }),
            "it is not told that the canary was wrapped to the sibling as well",
        ),
        (
            "key/payments/restore-test",
            Box::new(|fact| {
                if let Fact::Restored { id, .. } = fact {
                    *id = Id::from_bytes([3; 16]);
                }
            }),
            "it was opened with another key than the backup",
        ),
        (
            "token/second/inventory",
            Box::new(|fact| {
                if let Fact::Inventory { objects, .. } = fact {
                    objects[0].label = "planted:1".into();
                }
            }),
            "there were 0 keys 'payments:1' on the token, and not one",
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

/// A plan that destroys a key: on a token that is there already.
#[test]
fn what_was_destroyed_must_be_gone() {
    let destroying = || {
        let ceremony = Ceremony::new();
        let shared = "custody = { length = 24, threshold = 2, custodians = [\"carol\", \"dave\", \"erin\"] }";
        let text = ceremony
            .text
            .replacen("initialize = true", "initialize = false", 1)
            .replacen("serial = \"free\"", "serial = \"serial-primary\"", 1)
            .replacen(shared, "custody = { typed_by = \"oscar\" }", 1)
            .replacen("objects_before = 0", "objects_before = 3", 1)
            .replacen("objects_after = 4", "objects_after = 6", 1)
            + "[[destroy]]\ntoken = \"primary\"\nkey = \"old:1\"\n";
        Ceremony::of(text, ceremony.secrets)
    };
    let step = "token/primary/destroy:old:1";
    let one_less = |ceremony: &Ceremony, found: u32| {
        with_step(ceremony, step, |journal, step, mut facts| {
            if let Fact::Destroyed { found: left, .. } = &mut facts[0] {
                *left = found;
            }
            journal.done(&step.id, facts).unwrap();
        })
    };
    // The fixture's inventory knows of nothing that is gone.
    let inventory = "token/primary/inventory: there were 7 objects, and the plan says 6".to_owned();
    assert_eq!(one_less(&destroying(), 0), std::slice::from_ref(&inventory));
    let left = format!("{step}: it is not told that the search for it found nothing");
    assert_eq!(one_less(&destroying(), 1), [left, inventory]);
}
