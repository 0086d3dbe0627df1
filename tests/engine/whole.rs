//! Ceremonies that go through.

use crate::plans::{Parts, Planned, name};
use crate::room::{OFFICER_PIN, Script, USER_PIN};
use keyward::ErrorKind;
use keyward::ceremony::{Bundle, Ended, Engine, Venue, script, shared_pin};
use keyward::testkit::SoftToken;
use keyward::token::{Pin, Token, TokenOptions, TokenUri};
use std::fs;
use std::path::Path;

pub(crate) fn run(planned: &Planned, room: &mut Script) -> keyward::Result<Ended> {
    Engine::begin(&planned.create(), "test", Venue::Tokens, room)?.run()
}

pub(crate) fn resume(planned: &Planned, room: &mut Script) -> keyward::Result<Ended> {
    let bundle = Bundle::open(&planned.path())?;
    Engine::resume(&bundle, "test", Venue::Tokens, None, room)?.run()
}

#[track_caller]
pub(crate) fn assert_closed(answer: keyward::Result<Ended>) {
    assert!(matches!(answer, Ok(Ended::Closed { .. })), "{answer:?}");
}

/// All files below a directory.
fn files(directory: &Path) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => all.extend(files(&path)),
            false => all.push(fs::read(path).unwrap()),
        }
    }
    all
}

#[test]
fn keys_on_two_fresh_tokens_with_siblings_and_a_trusted_wrap() {
    let planned = Planned::new(&Parts::new());
    let paper = planned.directory.path().join("paper");
    let mut room = Script::new(&paper);
    assert_closed(run(&planned, &mut room));
    assert_eq!(room.troubles, [""; 0]);
    let found = planned.assert_verifies();
    assert_eq!(found.keys.len(), 6);
    assert!(found.keys.iter().all(|key| key.serial.is_some() && key.canary.is_some() || key.label == "archive:1"));
    assert_eq!(found.deviations, [""; 0]);
    // That a key was outside is not left unsaid.
    let exported = "'archive:1' was exported from primary once, when it was made: it was extractable".to_owned();
    assert!(found.seen.contains(&exported), "{:?}", found.seen);
    // Each step was read aloud to whoever confirms it, and told when it was done.
    for step in script(&Bundle::open(&planned.path()).unwrap().plan().unwrap()) {
        assert!(room.said.contains(&format!("{}: {}", step.confirmed_by, step.announce)), "{}", step.id);
        assert!(room.said.iter().any(|said| said.starts_with(&format!("done {}:", step.id))), "{}", step.id);
    }
    // No secret is anywhere in the bundle.
    let mut secrets = vec![OFFICER_PIN.to_owned(), USER_PIN.to_owned()];
    for token in ["primary", "second"] {
        for index in 1..=3 {
            let share = room.share(&name(token), index);
            secrets.extend([share.replace('-', ""), share[10..20].to_owned(), share]);
        }
    }
    for file in files(&planned.path()) {
        let text = String::from_utf8_lossy(&file);
        assert!(secrets.iter().all(|secret| !text.contains(secret)), "{text}");
    }
    // Any custodians open a token for a service.
    room.brings = [2, 1];
    let bundle = Bundle::open(&planned.path()).unwrap();
    let pin = shared_pin(&bundle, &name("second"), &mut room).unwrap();
    let uri: TokenUri = format!("pkcs11:token={}", bundle.plan().unwrap().tokens[1].label).parse().unwrap();
    let uri = uri.or_module_path(Some(SoftToken::module_path()));
    Token::open_with(&uri, TokenOptions::default().pin(Pin::new(pin.as_str()))).unwrap();
    assert!(shared_pin(&bundle, &name("third"), &mut room).is_err());
    // It has ended.
    let error = resume(&planned, &mut room).unwrap_err();
    assert_eq!((error.kind(), error.to_string()), (ErrorKind::InvalidArgument, "this ceremony has ended".into()));
}

#[test]
fn a_ceremony_that_is_left_before_every_step_ends_as_one_that_was_not() {
    let planned = Planned::new(&Parts::new());
    let paper = planned.directory.path().join("paper");
    let steps = script(&planned.create().plan().unwrap());
    let mut first = true;
    for step in &steps {
        let mut room = Script::new(&paper);
        room.leave_at = Some(step.id.to_string());
        let ended = if first { run(&planned, &mut room) } else { resume(&planned, &mut room) };
        assert_eq!(ended.unwrap(), Ended::Left, "{}", step.id);
        first = false;
    }
    assert_closed(resume(&planned, &mut Script::new(&paper)));
    planned.assert_verifies();
}
