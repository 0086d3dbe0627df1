//! Names, successors, replaced keys, and several tokens.

use crate::{FakeKeeper, Place, event, lines, never, operate, text};
use keyward::ErrorKind;
use keyward::audit::{AuditLog, AuditOptions, Diagnosis, LogName, Verify, live_anchors, retire};
use keyward::key::HeadKeeper;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::Ordering;

fn name() -> LogName {
    LogName::of_host().unwrap()
}

fn two_keepers() -> [Arc<FakeKeeper>; 2] {
    let keepers = [FakeKeeper::new(1), FakeKeeper::new(2)];
    keepers[0].trust(&keepers[1]);
    keepers[1].trust(&keepers[0]);
    keepers.map(Arc::new)
}

fn with(keepers: &[Arc<FakeKeeper>; 2]) -> AuditOptions {
    keepers.iter().fold(never(), |options, keeper| options.keeper(keeper.clone()))
}

#[test]
fn a_log_is_anchored_before_its_first_operation() {
    let place = Place::new();
    let log = place.open(place.signed(never()));
    assert_eq!(place.ok().anchor.unwrap().count(), 1);
    drop(log);
}

#[test]
fn a_retired_log_has_a_successor_that_names_it() {
    let place = Place::new();
    let keepers: [Arc<dyn HeadKeeper>; 1] = [place.keeper.clone()];
    assert_eq!(retire(&name(), &keepers).unwrap_err().kind(), ErrorKind::InvalidArgument);
    let log = place.open(place.signed(never()));
    operate(&log);
    let anchor = log.anchor().unwrap();
    drop(log);
    let old = fs::read(place.path()).unwrap();
    fs::remove_file(place.path()).unwrap();
    let gone = AuditLog::open(&place.path(), place.signed(never())).unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::Tampered);
    assert!(gone.hint().unwrap().contains(&format!("keyward audit retire {}", name())), "{gone:?}");

    assert_eq!(live_anchors(&name(), &keepers).unwrap().len(), 1);
    let retired = retire(&name(), &keepers).unwrap();
    assert_eq!((retired.is_retired(), retired.count()), (true, anchor.count()));
    assert!(live_anchors(&name(), &keepers).unwrap().is_empty());
    // The old log is over, and still verifies.
    fs::write(place.path(), &old).unwrap();
    let over = AuditLog::open(&place.path(), place.signed(never())).unwrap_err();
    assert!(over.to_string().contains("was retired at entry"), "{over}");
    assert!(place.ok().anchor.unwrap().is_retired());
    fs::remove_file(place.path()).unwrap();

    let log = place.open(place.signed(never().rotate_at(1)));
    operate(&log);
    log.anchor().unwrap();
    drop(log);
    let report = place.ok();
    assert_ne!(report.log.unwrap(), retired.log());
    let first = lines(&report.files[0]).remove(0);
    assert!(first.contains("\"retired\":") && first.contains(&retired.log().to_string()), "{first}");
    // Its anchor took the place of the retired one, which stays in its files.
    assert_eq!(place.keeper.texts().len(), 1);
    drop(place.open(place.signed(never())));
    for path in &report.files {
        fs::remove_file(path).unwrap();
    }
    fs::write(place.path(), old).unwrap();
    assert_eq!(AuditLog::open(&place.path(), place.signed(never())).unwrap_err().kind(), ErrorKind::Tampered);
}

#[test]
fn two_logs_of_one_name_refuse_each_other() {
    let place = Place::new();
    let other = Place { directory: tempfile::tempdir().unwrap(), keeper: place.keeper.clone() };
    let log = place.open(place.signed(never()));
    let error = AuditLog::open(&other.path(), other.signed(never())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tampered);
    let log_of_another_name = other.open(other.signed(never().name("other".parse().unwrap())));
    operate(&log_of_another_name);
    operate(&log);
    drop((log, log_of_another_name));
    place.ok();
    other.ok();
}

#[test]
fn an_anchor_from_another_history_refuses_a_running_process() {
    let place = Place::new();
    let log = place.open(place.signed(never()));
    operate(&log);
    let other = Place::new();
    let foreign = other.open(other.signed(never()));
    foreign.anchor().unwrap();
    place.keeper.plant(name().as_str(), &other.keeper.texts()[0]);
    let error = log.anchor().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tampered, "{error}");
    assert_eq!(log.begin(event()).unwrap_err().kind(), ErrorKind::Tampered);
    assert_eq!(place.keeper.texts().len(), 2, "nothing is destroyed");
    assert_eq!(place.verify().finding.unwrap().diagnosis, Diagnosis::Replaced);
}

#[test]
fn an_anchor_without_a_signature_does_not_count() {
    let place = Place::new();
    let log = place.open(place.signed(never()));
    let high = place.keeper.texts()[0].replace("count 1", "count 1000");
    place.keeper.plant(name().as_str(), &high);
    operate(&log);
    log.anchor().unwrap();
    drop(log);
    assert_eq!(place.ok().anchors_not_signed, 1);
    drop(place.open(place.signed(never())));
}

#[test]
fn heads_of_a_replaced_key_verify() {
    let place = Place::new();
    let running = place.open(place.signed(never()));
    operate(&running);
    running.anchor().unwrap();
    place.keeper.rotate(9);
    let log = place.open(place.signed(never()));
    operate(&log);
    log.anchor().unwrap();
    // A process that was there before takes the new key's heads, and signs with it.
    operate(&running);
    running.anchor().unwrap();
    drop((log, running));
    let report = place.ok();
    assert_eq!((report.heads, report.heads_not_verified), (4, 0));
    // The public half of the new key alone knows nothing of the old.
    let report = Verify::new(place.path()).key(place.keeper.public_key()).run().unwrap();
    assert_eq!((report.finding, report.heads, report.heads_not_verified), (None, 2, 2));
}

#[test]
fn files_are_moved_away_only_below_the_anchored_line() {
    let place = Place::new();
    let log = place.open(place.signed(never().rotate_at(1000).sign_every(3)));
    for _ in 0..20 {
        operate(&log);
        log.flush().unwrap();
    }
    log.anchor().unwrap();
    for _ in 0..20 {
        operate(&log);
        log.flush().unwrap();
    }
    drop(log);
    let report = place.ok();
    let anchored = report.anchor.unwrap().count();
    let first = |path: &std::path::Path| lines(path)[0].split(',').next().unwrap()[7..].parse::<u64>().unwrap();
    let below = report.files.windows(2).filter(|pair| first(&pair[1]) <= anchored).count();
    assert!(below > 2 && report.files.len() > below + 2);
    for path in &report.files[..below] {
        fs::remove_file(path).unwrap();
    }
    drop(place.open(place.signed(never())));
    let partial = || Verify::new(place.path()).keeper(&*place.keeper).unwrap().partial(true).run().unwrap();
    assert_eq!(partial().finding, None);
    fs::remove_file(&report.files[below]).unwrap();
    let error = AuditLog::open(&place.path(), place.signed(never())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tampered, "{error}");
    assert_eq!(partial().finding.unwrap().diagnosis, Diagnosis::Removed);
}

#[test]
fn every_keeper_that_answers_keeps_the_anchor() {
    let (place, keepers) = (Place::new(), two_keepers());
    let log = place.open(with(&keepers));
    let verify = |keeper: &FakeKeeper| Verify::new(place.path()).keeper(keeper).unwrap().run().unwrap();
    let anchored = || keepers.each_ref().map(|keeper| verify(keeper).anchor.map(|anchor| anchor.count()));
    assert_eq!(anchored(), [Some(1), Some(1)]);
    // The first is away: the other signs, and keeps what comes next.
    keepers[0].set_away(true);
    operate(&log);
    let high = log.anchor().unwrap().count();
    keepers[0].set_away(false);
    assert_eq!(anchored(), [Some(1), Some(high)]);
    drop(log);
    // With the first alone, its lower anchor is what counts. Both bring it up again.
    keepers[1].set_away(true);
    let log = place.open(with(&keepers));
    operate(&log);
    keepers[1].set_away(false);
    let higher = log.anchor().unwrap().count();
    assert_eq!(anchored(), [Some(higher), Some(higher)]);
    assert_eq!(keepers.each_ref().map(|keeper| keeper.texts().len()), [1, 1]);
}

#[test]
fn the_highest_anchor_of_all_keepers_counts() {
    let (place, keepers) = (Place::new(), two_keepers());
    let log = place.open(with(&keepers));
    operate(&log);
    log.flush().unwrap();
    let old = fs::read(place.path()).unwrap();
    keepers[0].set_away(true);
    operate(&log);
    log.anchor().unwrap();
    drop(log);
    keepers[0].set_away(false);
    fs::write(place.path(), &old).unwrap();
    assert_eq!(AuditLog::open(&place.path(), with(&keepers)).unwrap_err().kind(), ErrorKind::Tampered);
    // With the lower one alone the log goes on, until the other is back: then everything is refused.
    keepers[1].set_away(true);
    let log = place.open(with(&keepers));
    operate(&log);
    keepers[1].set_away(false);
    assert_eq!(log.anchor().unwrap_err().kind(), ErrorKind::Tampered);
    assert_eq!(log.begin(event()).unwrap_err().kind(), ErrorKind::Tampered);
}

#[test]
fn a_head_of_a_token_that_is_away_is_no_evidence() {
    // These two do not know each other's keys.
    let (place, keepers) = (Place::new(), [FakeKeeper::new(1), FakeKeeper::new(2)].map(Arc::new));
    let log = place.open(with(&keepers));
    operate(&log);
    log.close().unwrap();
    drop(log);
    keepers[0].set_away(true);
    let log = place.open(with(&keepers));
    operate(&log);
    assert_eq!(log.anchor().unwrap_err().kind(), ErrorKind::TokenUnavailable);
    keepers[0].set_away(false);
    log.anchor().unwrap();
    drop(log);
    let both = Verify::new(place.path()).keeper(&*keepers[0]).unwrap().keeper(&*keepers[1]).unwrap();
    assert_eq!(both.run().unwrap().finding, None);
}

#[test]
fn without_an_answer_the_log_goes_on_and_is_checked_at_the_first() {
    let place = Place::new();
    let log = place.open(place.signed(never()));
    operate(&log);
    log.anchor().unwrap();
    drop(log);
    let good = lines(&place.path());
    place.keeper.set_away(true);
    let log = place.open(place.signed(never()));
    operate(&log);
    log.flush().unwrap();
    let signed = place.keeper.signed.load(Ordering::SeqCst);
    place.keeper.set_away(false);
    log.anchor().unwrap();
    drop(log);
    place.ok();
    // The same of a log that was cut while no token answered.
    fs::write(place.path(), text(&good[..2])).unwrap();
    place.keeper.set_away(true);
    let log = place.open(place.signed(never()));
    operate(&log);
    place.keeper.set_away(false);
    assert_eq!(log.anchor().unwrap_err().kind(), ErrorKind::Tampered);
    assert_eq!(log.begin(event()).unwrap_err().kind(), ErrorKind::Tampered);
    drop(log);
    assert_eq!(place.keeper.signed.load(Ordering::SeqCst), signed + 1);
    assert!(place.verify().finding.is_some());
}

#[test]
fn a_log_that_began_without_an_answer_is_anchored_at_the_first() {
    let place = Place::new();
    place.keeper.set_away(true);
    let log = place.open(place.signed(never()));
    operate(&log);
    place.keeper.set_away(false);
    log.close().unwrap();
    drop(log);
    assert!(place.ok().anchor.is_some());
}

#[test]
fn planted_lines_do_not_hold_off_an_anchor() {
    let place = Place::new();
    let hourly = || place.signed(never().anchor_every(std::time::Duration::from_secs(3600)));
    let written = || place.keeper.written.load(Ordering::SeqCst);
    let run = || {
        let log = place.open(hourly());
        operate(&log);
        log.close().unwrap();
    };
    run();
    let before = written();
    run();
    assert_eq!(written(), before, "an anchor of this hour is there");
    // By the token it was anchored long ago, and by lines of the file just now.
    let old = place.keeper.texts()[0].clone();
    let time = old.lines().find(|line| line.starts_with("time ")).unwrap();
    place.keeper.clear();
    place.keeper.plant(name().as_str(), &old.replace(time, "time 2020-01-31T08:15:00.123456Z"));
    let mut lines = lines(&place.path());
    let last = lines.last().unwrap().clone();
    lines.push(last.replace("\"kind\":\"head\"", "\"kind\":\"anchor\""));
    let planted = crate::forged_chain::chained(&lines, false).pop().unwrap();
    lines.pop();
    fs::write(place.path(), text(&lines) + &planted + "\n").unwrap();
    run();
    assert_eq!(written(), before + 1);
}

#[test]
fn a_slow_writer_does_not_lower_the_anchor() {
    let place = Place::new();
    let (slow, fast) = (place.open(place.signed(never())), place.open(place.signed(never())));
    operate(&slow);
    let hanging = place.keeper.hang();
    std::thread::scope(|scope| {
        let low = scope.spawn(|| slow.anchor().unwrap());
        // The slow one has asked for a signature; both sign when the token answers again.
        (0..20).for_each(|_| operate(&fast));
        let high = scope.spawn(|| fast.anchor().unwrap());
        drop(hanging);
        low.join().unwrap();
        high.join().unwrap();
    });
    let last = fast.anchor().unwrap();
    drop((slow, fast));
    let report = place.ok();
    assert_eq!(report.anchor.unwrap(), last);
    assert_eq!(place.keeper.texts().len(), 1);
}
