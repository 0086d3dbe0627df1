//! Ceremonies at a terminal, on tokens of SoftHSM.

mod components;
mod multiplexers;
mod people;
mod rehearsals;
mod screen;

use keyward::ceremony::{Bundle, Decision, Entry, Fact};
use people::{Asked, OFFICER_PIN, People, SIBLING, TRUSTED, key};
use std::fs;
use std::os::unix::fs::PermissionsExt;

const BUNDLE: &str = "2026-11-payments";

/// What a transcript says, without what is different each time.
fn entries(people: &People, bundle: &str) -> Vec<Entry> {
    let transcript = Bundle::open(&people.path(bundle)).unwrap().transcript().unwrap();
    transcript.lines().iter().map(|line| line.entry.clone()).collect()
}

fn count(entries: &[Entry], is: impl Fn(&Entry) -> bool) -> usize {
    entries.iter().filter(|entry| is(entry)).count()
}

/// No secret of anybody's is in a file, on standard output, or in what stays on the screen.
#[track_caller]
fn assert_no_secret_stays(people: &People, bundle: &str, screen: &mut screen::Screen) {
    let files = people.all_files(bundle);
    let (stays, log) = (screen.all_that_stays(), screen.log());
    let secrets = people.secrets();
    assert!(secrets.len() > 3 && !screen.is_second());
    for secret in &secrets {
        assert!(!files.contains(secret) && !files.contains(&secret.to_lowercase()), "in the bundle");
        assert!(!stays.contains(secret) && !stays.contains(&secret.to_lowercase()), "on the screen");
        // What is shown has its groups apart, and what is typed has none: so nothing typed came back.
        assert!(!log.contains(secret) && !log.contains(&secret.to_lowercase()), "echoed");
    }
    for share in people.shares.values().chain(&people.old) {
        let shown = share.split('-').filter(|group| stays.contains(&format!(": {group}"))).count();
        assert_eq!(shown, 0, "groups of a share are left on the screen");
    }
    assert_eq!(fs::read(people.path("stdout")).unwrap(), b"");
}

#[test]
fn a_whole_ceremony_at_a_terminal_is_closed_signed_and_verified() {
    let keys = key("payments", "aes-gcm", "\"encrypt\", \"decrypt\"", SIBLING)
        + &key("a/box", "rsa-oaep-sha1", "\"decrypt\"", SIBLING)
        + &key("vault", "aes-kw", "\"wrap\", \"unwrap\"", TRUSTED);
    let mut people = People::new(&keys, 6);
    let mut screen = people.start(&["run", "plan.toml"]);

    // Another name confirms nothing.
    let (asked, said) = people.asked(&mut screen);
    assert_eq!(asked, Asked::Confirm("olga".into(), "host/check".into()));
    let words = people.run(&["plan", "words", "plan.toml"]);
    assert!(words.text().lines().skip(2).all(|line| said.contains(line)), "{said}");
    assert!(said.contains("The clock of this host says "), "{said}");
    for wrong in ["oscar", "", "olga olga", "OLGA"] {
        screen.line(wrong);
        let said = people.asked(&mut screen).1;
        assert!(said.contains("Nothing is confirmed: that is not 'olga'."), "{said}");
        assert_eq!(count(&entries(&people, BUNDLE), |entry| matches!(entry, Entry::Intent { .. })), 0);
    }
    // Nor does what was typed before anything was asked.
    screen.line("olga\rolga\rolga");
    let (asked, _) = people.asked(&mut screen);
    assert_eq!(asked, Asked::Confirm("olga".into(), "token/primary/identify".into()));
    screen.line("nobody");
    assert!(people.asked(&mut screen).1.starts_with("nobody\n  Nothing is confirmed"));
    people.answer(&screen, &asked);

    // Two new PINs that differ are asked for again.
    people.answer_until(&mut screen, |asked| *asked == Asked::Officer);
    screen.line("one-officer-pin");
    people.asked(&mut screen);
    screen.line("other-officer-pin");
    let (asked, said) = people.asked(&mut screen);
    assert!(asked == Asked::Officer && said.contains("The two are not the same."), "{said}");
    people.answer(&screen, &asked);

    // A share is seen by its custodian alone, and its wrong group is told.
    people.answer_until(&mut screen, |asked| *asked == Asked::Written);
    assert!(screen.is_second());
    people.answer(&screen, &Asked::Written);
    let (asked, said) = people.asked(&mut screen);
    assert_eq!(asked, Asked::Back("primary".into(), "carol".into()));
    assert!(
        said.ends_with("type your share of 'primary' back (nothing to see it once more):\n    ") && !screen.is_second()
    );
    let share = people.shares.values().next().unwrap().clone();
    let groups: Vec<_> = share.split('-').collect();
    let wrong = if groups[6] == "0000" { "1111" } else { "0000" };
    screen.line(&[&groups[..6], &[wrong], &groups[7..]].concat().join(" "));
    let (asked, said) = people.asked(&mut screen);
    assert!(said.contains("Not taken: what was typed is not the share: look at group 7"), "{said}");
    // One star for each sign that is secret.
    assert!(said.starts_with("**** **** **** **** **** **** **** **** **** **** ****\n"), "{said}");
    // It is shown once more to who cannot read it.
    screen.line("");
    assert_eq!(people.asked(&mut screen).0, Asked::Ready);
    assert_eq!(asked, Asked::Back("primary".into(), "carol".into()));
    screen.line("");
    people.answer_until(&mut screen, |asked| *asked == Asked::Share("primary".into(), 2));

    // The share of another token, and one that is there already.
    let first = people.shares[&("primary".into(), "erin".into())].clone();
    screen.line(&first);
    let said = people.asked(&mut screen).1;
    assert!(said.contains("Not taken: "), "{said}");
    people.answer(&screen, &Asked::Share("primary".into(), 2));

    let said = people.until_step(&mut screen, "witness/walter/sign-off");
    for seen in ["Seen:", "  recorded", "digit by digit.", "true: CKA_", "the PIN was put together from 2 shares"] {
        assert!(said.contains(seen), "{seen}\n{said}");
    }
    screen.line("walter");
    let (status, last) = screen.end();
    assert_eq!(status.code(), Some(0), "{last}");
    assert!(last.contains("2026-11-payments is done, and its transcript is closed.") && !last.contains("REHEARSAL"));
    assert!(last.contains("keyward ceremony sign 2026-11-payments --key KEY"), "{last}");
    assert_no_secret_stays(&people, BUNDLE, &mut screen);
    assert_eq!(screen.modes(), (true, 2));
    let all = entries(&people, BUNDLE);
    assert!(matches!(all[0], Entry::Begun { rehearsal: false, ref tool, .. } if tool == env!("CARGO_PKG_VERSION")));
    assert_eq!(count(&all, |entry| matches!(entry, Entry::Exception { .. })), 0);
    // What is mapped into the program stands there, and what came with the module.
    let libraries = |step: &str, name: &str| {
        count(&all, |entry| match entry {
            Entry::Outcome { step: of, facts, .. } if of.as_str() == step => facts.iter().any(|fact| match fact {
                Fact::Libraries { files } => files.iter().any(|file| file.path.contains(name)),
                _ => false,
            }),
            _ => false,
        })
    };
    assert_eq!((libraries("host/check", "libc."), libraries("host/check", "softhsm")), (1, 0));
    assert_eq!(libraries("token/primary/identify", "softhsm"), 1);

    for witness in ["wanda", "walter"] {
        let signed = people.run(&["sign", BUNDLE, "--key", &format!("{witness}.key"), "--yes"]);
        assert_eq!(signed.status, 0, "{}", signed.stderr);
        // The words of the plan and of the head, as they stood in the room.
        let words = signed.text().lines().filter(|line| line.starts_with("    "));
        let words: Vec<_> = words.map(str::trim).collect();
        assert!(words.len() == 8 && words.iter().all(|line| last.contains(line)), "{words:?}\n{last}");
    }
    let twice = people.run(&["sign", BUNDLE, "--key", "wanda.key", "--yes"]);
    assert!(twice.status == 1 && twice.stderr.contains("to sign anew, remove that file"), "{}", twice.stderr);
    let verified = people.run(&["verify", BUNDLE, "--plan", "plan.toml"]);
    assert_eq!(verified.status, 0, "{}", verified.text());
    assert!(verified.text().ends_with("signed by walter and wanda: ok\n"), "{}", verified.text());
    a_service_gets_the_pin(&mut people);
    let again = people.start(&["resume", BUNDLE]).end();
    assert!(again.0.code() == Some(2) && again.1.contains("there is nothing to go on with"), "{}", again.1);
    let again = people.start(&["run", "plan.toml"]).end();
    assert!(again.0.code() == Some(1) && again.1.contains("`keyward ceremony resume 2026-11-payments`"), "{}", again.1);
}

#[test]
fn who_leaves_goes_on_later_and_the_shares_are_typed_again() {
    let mut people = People::with_one_key();
    let mut screen = people.start(&["run", "plan.toml"]);
    people.until_step(&mut screen, "key/payments/generate");
    screen.line("leave");
    let (status, last) = screen.end();
    assert_eq!((status.code(), screen.modes()), (Some(0), (true, 2)));
    assert!(last.contains("to go on: keyward ceremony resume 2026-11-payments"), "{last}");
    // The words of the head are the same at the pause and when it goes on.
    let head = keyward::ceremony::Bundle::open(&people.path(BUNDLE)).unwrap().transcript().unwrap().head().unwrap();
    let words = keyward::ceremony::words::lines(&head);
    assert!(words.iter().all(|line| last.contains(line)), "{last}");
    assert_no_secret_stays(&people, BUNDLE, &mut screen);

    let mut screen = people.start(&["resume", BUNDLE]);
    let said = people.until_step(&mut screen, "key/payments/generate");
    assert!(words.iter().all(|line| said.contains(line)), "{said}");
    assert!(said.contains("13 of 22 steps are done.") && !said.contains("token/primary/share:carol"), "{said}");
    screen.line("olga");
    let said = people.answer_until(&mut screen, |asked| *asked == Asked::Share("primary".into(), 2));
    let who = "The token 'primary' is opened: 2 of carol, dave and erin type their shares, one after the other.";
    assert!(said.contains(who), "{said}");
    // What is no share at all, and one that is given up: nothing is opened, and people decide.
    screen.line("0000-0000");
    assert!(people.asked(&mut screen).1.contains("Not taken: "));
    screen.line("");
    let (asked, said) = people.asked(&mut screen);
    assert!(asked == Asked::Decide && said.contains("too few"), "{said}");
    screen.line("accept");
    assert_eq!(people.asked(&mut screen).0, Asked::Decide);
    screen.line("again");
    people.until_step(&mut screen, "witness/walter/sign-off");
    // The end of the input is as good as leaving.
    screen.write("\x04");
    assert_eq!(screen.end().0.code(), Some(0));
    assert_no_secret_stays(&people, BUNDLE, &mut screen);
    let mut screen = people.start(&["resume", BUNDLE]);
    people.until_step(&mut screen, "witness/walter/sign-off");
    screen.line("walter");
    assert_eq!(screen.end().0.code(), Some(0));
    let all = entries(&people, BUNDLE);
    assert_eq!(count(&all, |entry| matches!(entry, Entry::Resumed { .. })), 2);
    assert_eq!(count(&all, |entry| matches!(entry, Entry::Unlocked { .. })), 2);
    let found = people.run(&["verify", BUNDLE]);
    // Nobody has signed it yet, and nothing else is wrong.
    let wrong =
        found.text().lines().filter(|line| !line.contains("signature of the witness") && line.contains(".json"));
    assert_eq!(wrong.count(), 0, "{}", found.text());
}

#[test]
fn ctrl_c_while_a_share_is_shown_restores_the_screen_and_the_ceremony_goes_on() {
    let mut people = People::with_one_key();
    let mut screen = people.start(&["run", "plan.toml"]);
    people.answer_until(&mut screen, |asked| matches!(asked, Asked::Back(..)));
    screen.line("");
    people.answer_until(&mut screen, |asked| *asked == Asked::Written);
    // Neither Ctrl-Z nor Ctrl-\ leaves it there.
    screen.write("\x1a\x1c");
    assert!(screen.is_second() && screen.modes() == (false, 0));
    screen.write("\x03");
    assert_eq!(screen.signal(), Some(signal_hook::consts::SIGINT));
    assert_eq!((screen.is_second(), screen.modes()), (false, (true, 2)));
    assert_no_secret_stays(&people, BUNDLE, &mut screen);
    // Where something is typed that is not shown, too.
    let mut screen = people.start(&["resume", BUNDLE]);
    people.answer_until(&mut screen, |asked| matches!(asked, Asked::Back(..)));
    assert_eq!(screen.modes(), (false, 0));
    screen.write("half a sha\x03");
    assert_eq!(screen.signal(), Some(signal_hook::consts::SIGINT));
    assert_eq!(screen.modes(), (true, 2));
    assert!(!screen.log().contains("half a sha"));

    let mut screen = people.start(&["resume", BUNDLE]);
    people.until_step(&mut screen, "witness/walter/sign-off");
    assert!(people.old.len() >= 2, "the shares of the PIN that was lost are other ones");
    screen.line("walter");
    let (status, last) = screen.end();
    assert_eq!(status.code(), Some(0), "{last}");
    assert_no_secret_stays(&people, BUNDLE, &mut screen);
}

#[test]
fn a_terminal_with_one_screen_is_wiped_and_one_that_nobody_tested_is_refused() {
    let mut people = People::with_one_key();
    for term in ["dumb", "vt100", "rxvt"] {
        let (status, last) = people.start_at(term, &["run", "plan.toml"]).end();
        assert!(status.code() == Some(2) && last.contains("shares of PINs could stay on this terminal"), "{last}");
        assert!(!people.path(BUNDLE).exists());
    }

    let mut screen = people.start_at("linux", &["run", "plan.toml"]);
    let said = people.answer_until(&mut screen, |asked| *asked == Asked::Written);
    assert!(said.contains("carol comes to the screen") && screen.all_that_stays_on_one().contains(" 11: "));
    people.answer(&screen, &Asked::Written);
    people.answer_until(&mut screen, |asked| matches!(asked, Asked::Back(..)));
    let stays = screen.all_that_stays_on_one();
    let share = people.shares.values().next().unwrap();
    assert!(share.split('-').all(|group| !stays.contains(group)), "{stays}");
    assert!(stays.contains("carol has written it down, and it is gone from the screen."), "{stays}");
}

/// What is typed while a share is shown has no echo, which would scroll it away, and a share that does not fit is not shown.
#[test]
fn share_is_never_scrolled_away() {
    let mut people = People::with_one_key();
    let mut screen = people.start(&["run", "plan.toml"]);
    people.answer_until(&mut screen, |asked| *asked == Asked::Ready);
    screen.resize(13, 120);
    screen.line("");
    let (asked, said) = people.asked(&mut screen);
    assert_eq!(asked, Asked::Ready);
    assert!(said.contains("The window has 13 lines of 120, and the share needs 14"), "{said}");
    screen.resize(40, 120);
    screen.line("");
    assert_eq!(people.asked(&mut screen).0, Asked::Written);
    let before = screen.contents();
    screen.write(&"typed in the wrong place ".repeat(40));
    people.answer(&screen, &Asked::Written);
    let said = people.answer_until(&mut screen, |asked| matches!(asked, Asked::Back(..)));
    assert!(!said.contains("typed in the wrong place") && !before.contains("typed in"), "{said}");
    // The window changes while a share is on it: people are to look.
    screen.line("");
    people.answer_until(&mut screen, |asked| *asked == Asked::Written);
    screen.resize(30, 100);
    people.answer(&screen, &Asked::Written);
    let said = people.answer_until(&mut screen, |asked| matches!(asked, Asked::Back(..)));
    assert!(said.contains("THE WINDOW CHANGED ITS SIZE while share 1 of 'primary' was on it."), "{said}");
    assert!(said.contains("\x1b[3J"), "what can be scrolled back to is forgotten");
}

/// Also on a terminal that is not trusted with them.
#[test]
fn shares_that_go_to_files_are_never_on_the_screen() {
    let mut people = People::with_one_key();
    let plan = fs::read_to_string(people.path("plan.toml")).unwrap();
    fs::write(people.path("plan.toml"), plan.replace("threshold = 2,", "threshold = 2, handout = \"file\",")).unwrap();
    let mut screen = people.start_at("vt100", &["run", "plan.toml"]);
    let confirm = "'leave' to go on later: ";
    while !screen.until(&[confirm, "PIN for 'primary': ", "once more: "]).contains("share:carol") {
        let last = screen.last_line();
        screen.line(if last.ends_with(confirm) { last.split(',').next().unwrap() } else { OFFICER_PIN });
    }
    screen.line("carol");
    let prompt = "carol, a new file for your share, on a medium of your own: ";
    let mut said = screen.until(&[prompt]);
    for (wrong, why) in [
        (format!("{BUNDLE}/share"), "a share has no place in the bundle"),
        (format!("./{BUNDLE}/keys/../share"), "a share has no place in the bundle"),
        ("plan.toml".into(), "cannot write 'plan.toml'"),
        ("nowhere/share".into(), "cannot write 'nowhere/share'"),
    ] {
        screen.line(&wrong);
        said = screen.until(&[prompt]);
        assert!(said.contains(why), "{said}");
    }
    assert!(!said.contains("looks away"), "{said}");
    screen.line("share");
    screen.until(&["(nothing to see it once more):\n    "]);
    assert_eq!(fs::metadata(people.path("share")).unwrap().permissions().mode() & 0o777, 0o600);
    let (token, custodian, share) = people::written(&fs::read_to_string(people.path("share")).unwrap());
    assert_eq!((token.as_str(), custodian.as_str()), ("primary", "carol"));
    let log = screen.log();
    assert!(share.split('-').all(|group| !log.contains(&format!(": {group}"))), "{log}");
    people.shares.insert((token, custodian), share.clone());
    screen.line(&share);
    assert!(screen.until(&[confirm]).contains("recorded"));
    assert!(!people.all_files(BUNDLE).contains(&share));
}

/// Other code than is installed could give random numbers of its own and read what is typed.
#[test]
fn program_with_other_code_than_is_installed_holds_no_ceremony() {
    let people = People::with_one_key();
    for variable in ["LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT"] {
        let (status, last) = people.start_with(variable, "", &["run", "plan.toml"]).end();
        let told = format!("the variable {variable} has other code loaded than is installed");
        assert!(status.code() == Some(5) && last.contains(&told), "{last}");
    }
    assert!(!people.path(BUNDLE).exists());
}

fn stop(screen: &mut screen::Screen, id: &str) {
    screen.line("stop");
    screen.until(&["(nothing to go back): "]);
    screen.line("wanda");
    screen.until(&["for everybody to read: "]);
    screen.line("oscar has forgotten it");
    screen.until(&["to end it for good: "]);
    screen.line(id);
}

#[test]
fn people_accept_what_is_not_as_planned_or_stop_for_good() {
    let mut people = People::with_one_key();
    let plan = fs::read_to_string(people.path("plan.toml")).unwrap();
    let line = plan.lines().find(|line| line.starts_with("tool_sha256")).unwrap();
    let other = format!("tool_sha256 = \"{}\"", "ab".repeat(32));
    fs::write(people.path("plan.toml"), plan.replace(line, &other)).unwrap();
    let mut screen = people.start(&["run", "plan.toml"]);
    people.asked(&mut screen);
    screen.line("olga");
    let (asked, said) = people.asked(&mut screen);
    assert!(asked == Asked::Decide && said.contains("NOT AS IT SHOULD BE at host/check"), "{said}");
    assert!(said.ends_with("again, leave, accept, stop? "), "{said}");

    screen.line("accept");
    screen.until(&["(nothing to go back): "]);
    screen.line("mallory");
    assert!(screen.until(&["(nothing to go back): "]).contains("The plan has no such person."));
    screen.line("wanda");
    screen.until(&["for everybody to read: "]);
    // A secret in the wrong place is not recorded.
    screen.line(&format!("the PIN: {OFFICER_PIN}"));
    let (asked, said) = people.asked(&mut screen);
    assert!(
        asked == Asked::Decide && said.contains("Not taken: this is not recorded: this looks like a PIN"),
        "{said}"
    );
    screen.line("accept");
    screen.until(&["(nothing to go back): "]);
    screen.line("wanda");
    screen.until(&["for everybody to read: "]);
    screen.line("it was built again");
    // What happens in the room can be recorded too.
    people.until_step(&mut screen, "token/primary/initialize");
    screen.line("note");
    screen.until(&["what was expected (nothing to go back): "]);
    screen.line("nobody comes in");
    screen.until(&["what happened instead: "]);
    screen.line("the caretaker came in");
    screen.until(&["(nothing to go back): "]);
    screen.line("walter");
    screen.until(&["for everybody to read: "]);
    screen.line("no share was in sight");
    people.until_step(&mut screen, "token/primary/initialize");
    screen.line("oscar");
    people.answer_until(&mut screen, |asked| *asked == Asked::Officer);
    // Given up: it cannot be accepted that a token is not initialized.
    screen.line("");
    let (asked, said) = people.asked(&mut screen);
    assert!(asked == Asked::Decide && said.ends_with("\nagain, leave, stop? "), "{said}");
    stop(&mut screen, "yes");
    assert!(screen.until(&["stop? "]).contains("It does not end here."));
    stop(&mut screen, BUNDLE);
    let (status, last) = screen.end();
    assert!(status.code() == Some(1) && last.contains("it was decided that the ceremony ends here"), "{last}");
    let all = entries(&people, BUNDLE);
    let decided: Vec<_> = all
        .iter()
        .filter_map(|entry| match entry {
            Entry::Exception { decision, reason, by, .. } => Some((*decision, reason.as_str(), by.as_str())),
            _ => None,
        })
        .collect();
    let accepted = (Decision::Accepted, "it was built again", "wanda");
    let noted = (Decision::Accepted, "no share was in sight", "walter");
    assert_eq!(decided, [accepted, noted, (Decision::Stopped, "oscar has forgotten it", "wanda")]);
    let again = people.start(&["resume", BUNDLE]).end();
    assert!(again.0.code() == Some(2) && again.1.contains("it was decided that it ends"), "{}", again.1);
}

#[test]
fn policies_decide_about_the_keys_of_a_ceremony_too() {
    let mut people = People::with_one_key();
    fs::write(people.path("none.cedar"), "forbid(principal, action, resource);\n").unwrap();
    let log = "[audit]\nlog = \"audit.log\"\n";
    fs::write(people.path("keyward.toml"), format!("policy = \"none.cedar\"\n{log}")).unwrap();
    let mut screen = people.start(&["run", "plan.toml", "--config", "keyward.toml"]);
    people.until_step(&mut screen, "key/payments/generate");
    screen.line("olga");
    let (asked, said) = people.asked(&mut screen);
    assert!(asked == Asked::Decide && said.contains("happened: "), "{said}");
    assert!(said.contains("polic"), "{said}");
    screen.line("leave");
    assert_eq!(screen.end().0.code(), Some(3));
    let log = fs::read_to_string(people.path("audit.log")).unwrap();
    assert!(log.contains("\"error\":\"PolicyDenied\"") && log.contains("payments"), "{log}");

    fs::write(people.path("none.cedar"), "permit(principal, action, resource);\n").unwrap();
    let mut screen = people.start(&["resume", BUNDLE, "--config", "keyward.toml"]);
    people.until_step(&mut screen, "key/payments/attributes");
    screen.line("leave");
    assert_eq!(screen.end().0.code(), Some(0));
}

#[test]
fn without_a_terminal_nothing_begins() {
    let people = People::with_one_key();
    for args in [&["run", "plan.toml"][..], &["run", "--rehearse", "plan.toml"]] {
        people.run(args).is(
            2,
            &[
                "keyward: error: a ceremony needs a terminal, and there is none",
                "keyward: hint: start it at the console or in a terminal window, without pipes: people confirm every step",
            ],
        );
    }
    let mut left: Vec<_> =
        fs::read_dir(people.path("")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    left.sort();
    assert_eq!(left, ["plan.toml", "softhsm2.conf", "tokens", "walter.key", "wanda.key"]);
    let refused = people.run(&["run", "--dry-run", "--rehearse", "plan.toml"]);
    assert_eq!(refused.status, 2);
}

/// Custodians open a token for a service. The PIN is in the file alone, which its owner alone may read.
fn a_service_gets_the_pin(people: &mut People) {
    let mut screen = people.start(&["pin", BUNDLE, "primary", "--out", "pin"]);
    let opening = people.asked(&mut screen);
    assert_eq!(opening.0, Asked::Share("primary".into(), 1), "{}", opening.1);
    // Nobody has enough shares: nothing is left.
    screen.line("");
    let (status, said) = screen.end();
    assert!(status.code() == Some(2) && said.contains("0 of 2 shares") | said.contains("no share is given"), "{said}");
    assert!(!people.path("pin").exists());

    let mut screen = people.start(&["pin", BUNDLE, "primary", "--out", "pin"]);
    for _ in 0..2 {
        let (asked, _) = people.asked(&mut screen);
        people.answer(&screen, &asked);
    }
    let (status, said) = screen.end();
    assert_eq!(status.code(), Some(0), "{said}");
    let pin = fs::read_to_string(people.path("pin")).unwrap();
    assert_eq!(pin.len(), 24);
    assert!(!screen.log().contains(&pin));
    assert_eq!(fs::metadata(people.path("pin")).unwrap().permissions().mode() & 0o777, 0o600);
    let uri = format!(
        "pkcs11:token=payments-primary?module-path={}&pin-source=file:{}",
        crate::bench::module().display(),
        people.path("pin").display()
    );
    // Against the living token, as a service finds it.
    let verified = people.run(&["verify", BUNDLE, "--token", &uri]);
    assert_eq!(verified.status, 0, "{}{}", verified.text(), verified.stderr);
    assert!(
        verified.text().contains("'payments:1' on primary opened the canary of the ceremony"),
        "{}",
        verified.text()
    );

    let (status, said) = people.start(&["pin", BUNDLE, "primary", "--out", "pin"]).end();
    assert!(status.code() == Some(1) && said.contains("'pin' exists already"), "{said}");
    let (status, said) = people.start(&["pin", BUNDLE, "third", "--out", "other"]).end();
    assert!(status.code() == Some(2) && said.contains("the plan has no token 'third'"), "{said}");
    assert!(!people.path("other").exists());
}
