//! When heads are signed and anchored, and what happens when the token does neither.

use crate::{Place, event, never, operate};
use keyward::ErrorKind;
use keyward::audit::{Entry, Line};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

fn heads(place: &Place) -> Vec<(u64, bool)> {
    let lines = place.lines().into_iter().filter_map(|line| Line::parse(line.as_bytes()));
    let heads = lines.filter_map(|line| match line.entry {
        Entry::Head { count, signature, .. } => Some((count, signature.is_some())),
        _ => None,
    });
    heads.collect()
}

#[track_caller]
fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_head_is_signed_after_so_many_lines_after_a_time_and_at_the_end() {
    let place = Place::new();
    let log = place.open(place.signed(never().sign_every(10)));
    for _ in 0..6 {
        operate(&log);
    }
    until("after so many lines", || !heads(&place).is_empty());
    drop(log);
    let before = heads(&place).len();
    let log = place.open(place.signed(never()));
    operate(&log);
    log.close().unwrap();
    assert_eq!(heads(&place).len(), before + 1, "at the end");
    drop(log);
    // Nothing came since, so nothing is signed.
    drop(place.open(place.signed(never())));
    assert_eq!(heads(&place).len(), before + 1);
    let log = place.open(place.signed(never().sign_after(Duration::from_millis(1))));
    operate(&log);
    until("after a time", || heads(&place).len() >= before + 2);
    drop(log);
    let report = place.ok();
    assert!(report.heads >= before as u64 + 2);
}

#[test]
fn anchors_are_written_seldom_and_when_asked_for() {
    let place = Place::new();
    let written = || place.keeper.written.load(Ordering::SeqCst);
    for _ in 0..3 {
        let log = place.open(place.signed(never()));
        operate(&log);
        log.close().unwrap();
    }
    // Once, and not again within the time.
    assert_eq!(written(), 1);
    let log = place.open(place.signed(never().anchor_at_close(true)));
    let anchor = log.anchor().unwrap();
    assert_eq!((written(), place.ok().anchor), (2, Some(anchor)));
    operate(&log);
    drop(log);
    assert_eq!(written(), 3);
    let log = place.open(place.signed(never().anchor_every(Duration::ZERO)));
    operate(&log);
    drop(log);
    assert_eq!(written(), 4);
    let report = place.ok();
    // The line of the head itself comes after it.
    assert_eq!(report.anchor.unwrap().count(), report.last - 1);
}

#[test]
fn a_token_that_does_not_sign_holds_up_nothing() {
    let place = Place::new();
    place.keeper.fails.store(true, Ordering::SeqCst);
    let log = place.open(place.signed(never().sign_every(5).sign_after(Duration::from_millis(5))));
    for _ in 0..20 {
        operate(&log);
    }
    assert_eq!(log.anchor().unwrap_err().kind(), ErrorKind::TokenUnavailable);
    // Heads are written for whoever opens the log next, without a signature.
    until("heads", || heads(&place).len() >= 2);
    assert!(heads(&place).iter().all(|(_, signed)| !signed));
    place.keeper.fails.store(false, Ordering::SeqCst);
    until("it is tried again", || heads(&place).iter().any(|(_, signed)| *signed));
    log.close().unwrap();
    place.ok();
}

#[test]
fn a_token_that_hangs_holds_up_nothing() {
    let place = Place::new();
    let log = place.open(place.signed(never().sign_every(5)));
    let hanging = place.keeper.hang();
    for _ in 0..50 {
        operate(&log);
    }
    log.flush().unwrap();
    // That of the first line was signed before.
    assert_eq!(heads(&place).iter().filter(|(_, signed)| *signed).count(), 1);
    drop(hanging);
    log.close().unwrap();
    let report = place.ok();
    assert!(report.signed_to.unwrap() >= 101, "{report:?}");
}

#[test]
fn a_token_that_keeps_no_anchor_is_told_of_and_holds_up_nothing() {
    let place = Place::new();
    place.keeper.is_full.store(true, Ordering::SeqCst);
    let log = place.open(place.signed(never()));
    operate(&log);
    assert_eq!(log.anchor().unwrap_err().kind(), ErrorKind::TokenUnavailable);
    operate(&log);
    log.close().unwrap();
    let report = place.ok();
    assert!(report.anchor.is_none() && report.heads > 0);
}

#[test]
fn without_a_keeper_nothing_can_be_anchored() {
    let place = Place::new();
    let log = place.open(never());
    assert_eq!(log.anchor().unwrap_err().kind(), ErrorKind::InvalidArgument);
    log.begin(event()).unwrap().finish(keyward::audit::Outcome::unknown());
}
