//! Rehearsals, on tokens that are thrown away.

use super::people::{Asked, People};
use super::{BUNDLE, assert_no_secret_stays};
use std::fs;
use std::os::unix::fs::PermissionsExt;

const REHEARSAL: &str = "2026-11-payments-rehearsal";

#[test]
fn a_rehearsal_is_marked_as_one_and_its_tokens_are_thrown_away() {
    let mut people = People::with_one_key();
    let mut screen = people.start(&["run", "--rehearse", "plan.toml"]);
    let said = people.until_step(&mut screen, "token/primary/share:dave");
    assert!(said.starts_with("REHEARSAL of the key ceremony 2026-11-payments\n"), "{said}");
    let headers = said.lines().filter(|line| line.contains("Step "));
    assert!(headers.map(|line| assert!(line.starts_with("REHEARSAL, Step "), "{line}")).count() > 3);
    people.answer(&screen, &Asked::Confirm("dave".into(), String::new()));
    people.answer_until(&mut screen, |asked| *asked == Asked::Written);
    assert!(screen.contents().contains("THIS IS A REHEARSAL"), "{}", screen.contents());
    people.answer(&screen, &Asked::Written);
    people.until_step(&mut screen, "key/payments/generate");
    screen.line("leave");
    assert_eq!(screen.end().0.code(), Some(0));
    let tokens = people.path(&format!("{REHEARSAL}.tokens"));
    assert_eq!(fs::metadata(&tokens).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::read_dir(tokens.join("tokens")).unwrap().flatten().filter(|entry| entry.path().is_dir()).count(), 2);

    let mut screen = people.start(&["resume", REHEARSAL]);
    people.until_step(&mut screen, "witness/walter/sign-off");
    screen.line("walter");
    let (status, last) = screen.end();
    assert!(status.code() == Some(0) && last.contains("REHEARSAL, 2026-11-payments is done"), "{last}");
    assert!(!tokens.exists() && !people.path(BUNDLE).exists());
    assert_no_secret_stays(&people, REHEARSAL, &mut screen);
    // No token but those was touched.
    assert_eq!(fs::read_dir(people.path("tokens")).unwrap().count(), 0);
    // A script that signs ceremonies signs no rehearsal, and at a terminal another word is typed.
    let sign = ["sign", REHEARSAL, "--key", "wanda.key"];
    let refused = people.run(&[&sign[..], &["--yes"]].concat());
    assert!(refused.status == 2 && refused.stderr.contains("it is a REHEARSAL"), "{}", refused.stderr);
    let mut screen = people.start(&sign);
    screen.until(&["Type rehearsal to sign: "]);
    screen.line(BUNDLE);
    assert_eq!(screen.end().0.code(), Some(1));
    let mut screen = people.start(&sign);
    screen.until(&["Type rehearsal to sign: "]);
    screen.line("rehearsal");
    assert_eq!(screen.end().0.code(), Some(0));
    let walters = ["sign", REHEARSAL, "--key", "walter.key", "--yes", "--rehearsal"];
    assert_eq!(people.run(&walters).status, 0);
    // It never passes for the ceremony.
    let verified = people.run(&["verify", REHEARSAL, "--plan", "plan.toml"]);
    assert_eq!(verified.status, 7, "{}", verified.text());
    let last = verified.text().lines().last().unwrap();
    assert!(
        last.starts_with("REHEARSAL 2026-11-payments, ") && last.ends_with(": a rehearsal, worth nothing"),
        "{last}"
    );
    let told: serde_json::Value =
        serde_json::from_str(people.run(&["verify", REHEARSAL, "--plan", "plan.toml", "--json"]).text()).unwrap();
    assert_eq!((&told["ok"], &told["verdict"]), (&false.into(), &"rehearsal".into()));
}

#[test]
fn a_rehearsal_whose_tokens_are_gone_cannot_go_on_and_one_of_nothing_leaves_nothing() {
    let mut people = People::with_one_key();
    let mut screen = people.start(&["run", "--rehearse", "plan.toml", "--softhsm", "/nowhere.so"]);
    let (status, last) = screen.end();
    assert!(status.code() == Some(5) && last.contains("there is no module '/nowhere.so'"), "{last}");
    assert!(!people.path(REHEARSAL).exists() && !people.path(&format!("{REHEARSAL}.tokens")).exists());

    let mut screen = people.start(&["run", "--rehearse", "plan.toml"]);
    people.until_step(&mut screen, "token/primary/identify");
    screen.line("leave");
    assert_eq!(screen.end().0.code(), Some(0));
    fs::remove_dir_all(people.path(&format!("{REHEARSAL}.tokens"))).unwrap();
    let (status, last) = people.start(&["resume", REHEARSAL]).end();
    assert!(status.code() == Some(5) && last.contains("are gone"), "{last}");
}
