//! A disk without room: a step is refused before it is done, and what was written stays.

use crate::complete::findings;
use crate::fixture::{Ceremony, begin};
use crate::small_disk::SmallDisk;
use keyward::ErrorKind;
use keyward::ceremony::{Bundle, Fact, Journal, StepId, Verify, script};

fn on(disk: &SmallDisk) -> Ceremony {
    let mut ceremony = Ceremony::new();
    ceremony.directory = tempfile::tempdir_in(disk.path("")).unwrap();
    ceremony
}

#[test]
fn a_step_whose_intent_finds_no_room_is_not_begun_and_the_ceremony_goes_on() {
    let Some(disk) = SmallDisk::mount(512) else { return };
    let ceremony = on(&disk);
    let mut journal = ceremony.begin();
    let steps = script(&ceremony.plan);
    ceremony.step(&mut journal, &steps[0]);
    disk.fill();
    // The page that is there already takes a few lines more. Room for what came of a step is kept when it is begun.
    let mut at = 1;
    let error = loop {
        match journal.intent(&steps[at].id, &steps[at].confirmed_by) {
            Ok(()) => {
                let facts = ceremony.facts(journal.run(), &steps[at], &journal);
                journal.done(&steps[at].id, facts).expect("an outcome finds room where its intent did");
                at += 1;
            }
            Err(error) => break error,
        }
    };
    assert!(at < steps.len() / 2, "{at} steps were done on a disk that is full");
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.to_string().starts_with("cannot write the transcript"), "{error}");
    assert_eq!(ceremony.bundle().transcript().unwrap().lines(), journal.lines());
    assert_eq!(journal.progress().open(), None);
    disk.free();
    for step in &steps[at..] {
        ceremony.step(&mut journal, step);
    }
    journal.close().unwrap();
    let bundle = ceremony.bundle();
    disk.fill();
    assert_eq!(bundle.write_report().unwrap_err().kind(), ErrorKind::Io);
    disk.free();
    bundle.write_report().unwrap();
    assert!(Verify::new(&bundle).before_signing().run().unwrap().is_intact());
}

#[test]
fn an_outcome_that_is_larger_than_the_room_can_be_told_again() {
    let Some(disk) = SmallDisk::mount(512) else { return };
    let ceremony = on(&disk);
    let mut journal = ceremony.begin();
    let step = &script(&ceremony.plan)[0];
    journal.intent(&step.id, &step.confirmed_by).unwrap();
    disk.fill();
    let mut facts = ceremony.facts(journal.run(), step, &journal);
    facts.push(Fact::Note { text: "long ".repeat(20_000) });
    assert_eq!(journal.done(&step.id, facts.clone()).unwrap_err().kind(), ErrorKind::Io);
    assert_eq!(journal.progress().open(), Some(&step.id));
    assert_eq!(ceremony.bundle().transcript().unwrap().torn(), None, "a part of it is there");
    disk.free();
    journal.done(&step.id, facts).unwrap();
    assert!(journal.progress().done(&step.id).is_some());
    drop(journal);
    assert_eq!(ceremony.bundle().transcript().unwrap().torn(), None);
}

#[test]
fn a_bundle_that_cannot_be_made_whole_can_be_made_again() {
    let Some(disk) = SmallDisk::mount(64) else { return };
    let ceremony = on(&disk);
    disk.fill();
    assert_eq!(Bundle::create(&ceremony.path(), &ceremony.text).unwrap_err().kind(), ErrorKind::Io);
    disk.free();
    let bundle = Bundle::create(&ceremony.path(), &ceremony.text).unwrap();
    disk.fill();
    assert_eq!(Journal::begin(&bundle, begin()).unwrap_err().kind(), ErrorKind::Io);
    disk.free();
    Journal::begin(&bundle, begin()).unwrap();
    assert!(findings(&bundle).contains(&format!("{}: it was not done", StepId::from("host/check"))));
}
