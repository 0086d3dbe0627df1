//! What goes wrong in a room: each stops with a clear line, and the ceremony goes on afterwards.

use crate::plans::{AES_GCM, Parts, Planned, WRITING, built_fault_module, imported, name, sibling, wrapped};
use crate::room::{Instead, Script, accept, stop};
use crate::small_disk::SmallDisk;
use crate::whole::{assert_closed, resume, run};
use keyward::ErrorKind;
use keyward::ceremony::{Bundle, Consent, Ended, Engine, Entry, Ruling, StepId, Venue, Wanted};
use keyward::testkit::SoftToken;
use std::cell::RefCell;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::rc::Rc;

fn one_key() -> Planned {
    Planned::new(&Parts::of(vec![sibling("payments", AES_GCM.0, AES_GCM.1)]))
}

fn paper(planned: &Planned) -> PathBuf {
    planned.directory.path().join("paper")
}

/// A ceremony that was left before this step, by people who have their shares.
fn left_at(planned: &Planned, step: &str) {
    let mut room = Script::new(&paper(planned));
    room.leave_at = Some(step.into());
    assert_eq!(run(planned, &mut room).unwrap(), Ended::Left);
}

/// The answers of whoever types shares of this token, in order; afterwards the usual ones.
fn typing(token: &str, answers: Vec<Option<String>>) -> Instead {
    let (wanted, mut answers) = (name(token), answers.into_iter());
    Box::new(move |asked| match asked {
        Wanted::Share { token, .. } if **token == wanted => answers.next(),
        _ => None,
    })
}

#[test]
fn a_share_that_is_wrong_is_named_as_soon_as_it_is_typed() {
    let planned = one_key();
    let other = one_key();
    left_at(&other, "key/payments/generate");
    left_at(&planned, "key/payments/generate");
    let room = Script::new(&paper(&planned));
    let (first, third) = (room.share(&name("primary"), 1), room.share(&name("primary"), 3));
    let of_second = room.share(&name("second"), 2);
    let foreign = Script::new(&paper(&other)).share(&name("primary"), 2);
    let mut mistyped = third.clone().into_bytes();
    mistyped[12] = if mistyped[12] == b'7' { b'8' } else { b'7' };
    let mistyped = String::from_utf8(mistyped).unwrap();
    let mut room = Script::new(&paper(&planned));
    room.instead = typing(
        "primary",
        [&mistyped, &foreign, &of_second, &first, &first, "no share at all", &third.to_lowercase()]
            .map(|text| Some(text.to_owned()))
            .into(),
    );
    assert_closed(resume(&planned, &mut room));
    assert_eq!(room.troubles, [""; 0]);
    let refused: Vec<_> = room.said.iter().filter_map(|said| said.strip_prefix("refused: ")).collect();
    assert_eq!(
        refused,
        [
            "a sign of this share is wrong: its checksum does not fit",
            "share 1 is of another ceremony",
            "share 1 is of another token of this ceremony",
            "share 2 is the same one as share 1: number 1",
            "this is not a share: signs are missing, or there are too many, or one is wrong",
        ]
    );
    planned.assert_verifies();
    // Who opened the token is told.
    let transcript = Bundle::open(&planned.path()).unwrap().transcript().unwrap();
    let opened: Vec<_> = transcript
        .lines()
        .iter()
        .filter_map(|line| match &line.entry {
            Entry::Unlocked { token, custodians, .. } => Some((token.as_str(), custodians.clone())),
            _ => None,
        })
        .collect();
    assert_eq!(opened, [("primary", vec![name("carol"), name("erin")]), ("second", vec![name("carol"), name("erin")])]);
}

#[test]
fn too_few_shares_open_nothing_and_the_ceremony_can_be_resumed() {
    let planned = one_key();
    left_at(&planned, "key/payments/generate");
    let mut room = Script::new(&paper(&planned));
    let first = room.share(&name("primary"), 1);
    room.instead = typing("primary", vec![Some(first), None]);
    let error = resume(&planned, &mut room).unwrap_err();
    assert_eq!(error.to_string(), "1 of 2 shares are given: too few");
    assert_eq!(room.troubles, ["1 of 2 shares are given: too few"]);
    assert_closed(resume(&planned, &mut Script::new(&paper(&planned))));
    planned.assert_verifies();
}

#[test]
fn a_share_that_is_typed_back_wrong_is_shown_again() {
    let planned = one_key();
    let mut room = Script::new(&paper(&planned));
    let mut times = 0;
    let at = paper(&planned);
    room.instead = Box::new(move |asked| {
        if !matches!(asked, Wanted::ShareBack { by, .. } if by.as_str() == "dave") {
            return None;
        }
        times += 1;
        let share = fs::read_to_string(at.join("primary-2")).unwrap();
        match times {
            // The third group, then nothing at all: it is shown once more.
            1 => Some(Some(format!("{}0000{}", &share[..10], &share[14..]))),
            2 => Some(None),
            _ => None,
        }
    });
    assert_closed(run(&planned, &mut room));
    let refused: Vec<_> = room.said.iter().filter_map(|said| said.strip_prefix("refused: ")).collect();
    assert_eq!(refused, ["what was typed is not the share: look at group 3"]);
    planned.assert_verifies();
}

#[test]
fn shares_of_a_pin_that_was_lost_are_handed_out_anew_and_the_old_ones_are_refused() {
    let planned = one_key();
    left_at(&planned, "token/primary/share:dave");
    let old = Script::new(&paper(&planned)).share(&name("primary"), 1);
    let mut room = Script::new(&paper(&planned));
    room.instead = typing("primary", vec![Some(old.clone())]);
    assert_closed(resume(&planned, &mut room));
    assert_ne!(Script::new(&paper(&planned)).share(&name("primary"), 1), old);
    assert!(room.said.contains(&"refused: share 1 is none that was handed out last".to_owned()), "{:?}", room.said);
    planned.assert_verifies();
}

#[test]
fn shares_that_are_all_out_set_the_pin_after_an_interruption() {
    let planned = one_key();
    left_at(&planned, "token/primary/set-pin");
    let old = Script::new(&paper(&planned)).share(&name("primary"), 1);
    let mut room = Script::new(&paper(&planned));
    // The security officer has to type the PIN again, and gets it wrong first.
    let mut times = 0;
    room.instead = Box::new(move |asked| match asked {
        Wanted::OfficerPin { .. } => {
            times += 1;
            (times == 1).then(|| Some("wrong-officer-pin".into()))
        }
        _ => None,
    });
    room.rulings.push_back(Ruling::Again);
    assert_closed(resume(&planned, &mut room));
    assert_eq!(room.troubles.len(), 1);
    assert_eq!(Script::new(&paper(&planned)).share(&name("primary"), 1), old);
    planned.assert_verifies();
    let transcript = Bundle::open(&planned.path()).unwrap().transcript().unwrap();
    let failed = &transcript.progress().attempts(&StepId::from("token/primary/set-pin"))[0];
    assert_eq!(failed.outcome, Some(keyward::ceremony::Outcome::Failed));
    assert!(transcript.lines().iter().any(|line| matches!(
        &line.entry,
        Entry::Outcome { error: Some(error), .. } if error == "PinIncorrect"
    )));
}

/// A copy of a module. It stays as long as the tokens: no host is in order that runs code whose file is gone, as this
/// process would for the tests after it.
fn copied(module: PathBuf, name: &str) -> PathBuf {
    let tokens = PathBuf::from(std::env::var_os("SOFTHSM2_CONF").unwrap());
    let copy = tempfile::tempdir_in(tokens.parent().unwrap()).unwrap().keep().join(name);
    fs::copy(module, &copy).unwrap();
    copy
}

/// A module of the test's own, so that it can be changed.
fn with_own_module() -> (Planned, PathBuf) {
    let mut parts = Parts::of(vec![sibling("payments", AES_GCM.0, AES_GCM.1)]);
    let module = copied(SoftToken::module_path(), "module.so");
    parts.module.clone_from(&module);
    (Planned::new(&parts), module)
}

/// Changes a module where it lies. What it begins with is the same.
fn change(module: &PathBuf) {
    fs::File::options().append(true).open(module).unwrap().write_all(b"changed").unwrap();
}

#[test]
fn a_module_with_another_hash_stops_everything_before_it_is_loaded() {
    let (planned, module) = with_own_module();
    fs::write(&module, "no module at all").unwrap();
    let mut room = Script::new(&paper(&planned));
    let error = run(&planned, &mut room).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ModuleUnavailable);
    assert_eq!(
        error.to_string(),
        "the module of 'primary' had another hash than the plan says; the module of 'second' had another hash than the \
         plan says"
    );
    fs::copy(SoftToken::module_path(), &module).unwrap();
    assert_closed(resume(&planned, &mut Script::new(&paper(&planned))));
    planned.assert_verifies();
}

#[test]
fn a_module_that_was_changed_meanwhile_is_found_by_who_resumes_and_people_decide() {
    let (planned, module) = with_own_module();
    left_at(&planned, "key/payments/generate");
    change(&module);
    let mut room = Script::new(&paper(&planned));
    assert_eq!(resume(&planned, &mut room).unwrap_err().kind(), ErrorKind::ModuleUnavailable);
    assert!(!room.said.iter().any(|said| said.contains("confirm") || said.starts_with("done")), "{:?}", room.said);
    let mut room = Script::new(&paper(&planned)).decide_on([Ruling::Again, accept("the vendor's update of today")]);
    assert_closed(resume(&planned, &mut room));
    assert_eq!(room.troubles.len(), 2);
    let deviations = planned.assert_verifies().deviations;
    assert!(deviations[0].ends_with("accepted by olga: the vendor's update of today"), "{deviations:?}");
}

#[test]
fn what_makes_a_key_what_it_is_cannot_be_accepted_and_a_ceremony_can_be_ended() {
    let planned = one_key();
    left_at(&planned, "key/payments/generate");
    // Somebody is asked for shares and has none; it is decided that this was it.
    let mut room = Script::new(&paper(&planned)).decide_on([Ruling::Again, stop("the shares are lost")]);
    room.instead = typing("primary", vec![None, None]);
    assert_eq!(resume(&planned, &mut room).unwrap(), Ended::Stopped);
    let error = resume(&planned, &mut Script::new(&paper(&planned))).unwrap_err();
    assert_eq!(error.to_string(), "this ceremony has ended");
    let report = fs::read_to_string(planned.path().join("report.md")).unwrap();
    assert!(report.contains("Decided by olga: **stopped**, because the shares are lost."), "{report}");
    assert!(report.contains("Decided by olga: **again**, because it is tried again."), "{report}");
}

#[test]
fn a_reason_that_looks_like_a_secret_is_asked_for_again() {
    let (planned, module) = with_own_module();
    change(&module);
    let rulings = [accept("the PIN: 123456 was wrong"), accept("an update")];
    let mut room = Script::new(&paper(&planned)).decide_on(rulings);
    // Left at once: what it would do with such a module is not of interest.
    room.leave_at = Some("token/primary/identify".into());
    assert_eq!(run(&planned, &mut room).unwrap(), Ended::Left);
    assert!(room.said.contains(&"refused: this is not recorded: this looks like a PIN or a password".to_owned()));
    let text = fs::read_to_string(planned.path().join("transcript.jsonl")).unwrap();
    assert!(!text.contains("123456") && text.contains("an update"));
}

#[test]
fn a_full_disk_stops_a_step_before_it_is_done() {
    let Some(disk) = SmallDisk::mount(512) else { return };
    let disk = Rc::new(disk);
    let mut planned = one_key();
    planned.directory = tempfile::tempdir_in(disk.path("")).unwrap();
    let papers = tempfile::tempdir().unwrap();
    let full = Rc::new(RefCell::new(Vec::new()));
    let mut room = Script::new(papers.path()).decide_on([Ruling::Again, Ruling::Again]);
    let (events, mine) = (Rc::clone(&full), Rc::clone(&disk));
    room.at = Box::new(move |what| {
        let mut events = events.borrow_mut();
        match what {
            "before key/payments/generate" => mine.fill(),
            _ if what.starts_with("trouble") => {
                events.push(what.to_owned());
                // The second time somebody has made room.
                if events.len() == 2 {
                    mine.free();
                }
            }
            _ => {}
        }
    });
    assert_closed(run(&planned, &mut room));
    let troubles = full.borrow();
    assert_eq!(troubles.len(), 2, "{troubles:?}");
    for trouble in troubles.iter() {
        assert!(trouble.contains("cannot write the transcript") && trouble.contains("No space left"), "{trouble}");
    }
    planned.assert_verifies();
}

/// Every function that changes a token says once that it failed, after it did what it was asked to, or instead.
#[test]
fn a_token_that_fails_is_asked_again_and_makes_nothing_twice() {
    for how in ["late CKR_DEVICE_ERROR", "answer CKR_DEVICE_ERROR", "late CKR_FUNCTION_FAILED"] {
        let keys = vec![
            sibling("payments", AES_GCM.0, AES_GCM.1),
            wrapped("archive"),
            imported("legacy", "imported-components"),
        ];
        let (planned, module) = with_faults(keys);
        let script: String = WRITING.iter().map(|function| format!("{function} 1 {how}\n")).collect();
        fs::write(module.with_extension("so.script"), script).unwrap();
        let mut room = Script::new(&paper(&planned)).decide_on(vec![Ruling::Again; 30]);
        assert_closed(run(&planned, &mut room));
        // Some are mended without asking anybody.
        assert!(room.troubles.len() >= 3, "{how}: {:?}", room.troubles);
        planned.assert_verifies();
    }
}

fn with_faults(keys: Vec<String>) -> (Planned, PathBuf) {
    let mut parts = Parts::of(keys);
    let module = copied(built_fault_module(), "libsofthsm2-fault.so");
    parts.module.clone_from(&module);
    (Planned::new(&parts), module)
}

#[test]
fn what_nobody_expected_stands_in_the_transcript() {
    let planned = one_key();
    let mut room = Script::new(&paper(&planned));
    let exception = |happened: &str| Consent::Exception {
        expected: "the door stays shut".into(),
        happened: happened.into(),
        reason: "nothing was done meanwhile".into(),
        by: name("wanda"),
    };
    room.exceptions.extend([exception("PIN: 123456"), exception("a fire drill")]);
    assert_closed(run(&planned, &mut room));
    assert!(room.said.iter().any(|said| said.starts_with("refused: this is not recorded")), "{:?}", room.said);
    let deviations = planned.assert_verifies().deviations;
    assert_eq!(
        deviations,
        [
            "line 2, no step: expected: the door stays shut; happened: a fire drill; accepted by wanda: nothing was done \
          meanwhile"
        ]
    );
}

#[test]
fn what_is_not_admitted_is_not_done() {
    let planned = one_key();
    let asked = RefCell::new(Vec::new());
    let refuse = |from: usize| {
        let asked = &asked;
        move |operation, key: &keyward::KeyName, hsm: &keyward::hsm::HsmProvider| {
            asked.borrow_mut().push((operation, key.to_string(), hsm.token().info().label.clone()));
            match asked.borrow().len() > from {
                true => Err(keyward::Error::new(ErrorKind::PolicyDenied, "not today")),
                false => Ok(()),
            }
        }
    };
    let bundle = planned.create();
    let mut room = Script::new(&paper(&planned));
    let engine = Engine::begin(&bundle, "test", Venue::Tokens, &mut room).unwrap().admit(refuse(1));
    assert_eq!(engine.run().unwrap_err().kind(), ErrorKind::PolicyDenied);
    // The key on the first token was made, and its sibling was not.
    let transcript = bundle.transcript().unwrap();
    assert!(transcript.progress().done(&StepId::from("key/payments/canary")).is_some());
    assert!(transcript.progress().done(&StepId::from("key/payments/backup")).is_none());
    let mut room = Script::new(&paper(&planned));
    let engine = Engine::resume(&bundle, "test", Venue::Tokens, None, &mut room).unwrap().admit(refuse(9));
    assert_closed(engine.run());
    let plan = bundle.plan().unwrap();
    let labels = [0, 1, 1].map(|at| plan.tokens[at].label.clone());
    let wanted = labels.map(|label| (keyward::key::Operation::CreateKey, "payments".to_owned(), label));
    assert_eq!(*asked.borrow(), wanted);
    planned.assert_verifies();
}
