//! What is written, and when.

use crate::{KEK, Place, alice, event, never, operate, refusal};
use keyward::audit::{Ended, Entry, Event, EventKey, Filter, Line, Outcome, RecordResult, history};
use keyward::key::Operation;
use keyward::{EncryptionContext, Error, ErrorKind, KekId, KeyName, KeyVersion};
use std::fs;
use std::os::unix::fs::PermissionsExt;

fn parsed(place: &Place) -> Vec<Line> {
    place.lines().iter().map(|line| Line::parse(line.as_bytes()).unwrap()).collect()
}

#[test]
fn an_intent_is_in_the_file_before_anything_is_done_and_its_outcome_after() {
    let place = Place::new();
    let log = place.open(never());
    let pending = log.begin(event()).unwrap();
    let lines = parsed(&place);
    assert_eq!(lines.len(), 2);
    let Entry::Intent { request, principal, operation, keys, context, wraps } = &lines[1].entry else { panic!() };
    assert_eq!((principal.as_str(), operation.as_str()), ("alice", "GenerateDataKey"));
    assert_eq!((*request, keys.len(), wraps.len()), (pending.request(), 1, 1));
    assert_eq!(context.get("tenant").map(String::as_str), Some("acme"));
    assert_eq!(lines[1].pid, std::process::id());

    let error = Error::new(ErrorKind::TokenUnavailable, "said by the token: s3cret");
    let name: KeyName = "payments".parse().unwrap();
    let key = EventKey::new(Some(KEK), Some(&name), Some(KeyVersion::FIRST));
    pending.finish(Outcome::of::<()>(&Err(error)).key(key));
    log.flush().unwrap();
    let lines = parsed(&place);
    let Entry::Outcome { outcome, error, keys, .. } = &lines[2].entry else { panic!() };
    assert_eq!((*outcome, error.as_deref()), (Ended::Failed, Some("TokenUnavailable")));
    assert_eq!((keys[0].version, keys[0].name.as_deref()), (Some(1), Some("payments")));
    assert!(!fs::read_to_string(place.path()).unwrap().contains("s3cret"));
    assert_eq!(place.path().metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn what_nobody_finished_is_unknown_and_what_is_refused_is_one_line() {
    let place = Place::new();
    let log = place.open(never());
    drop(log.begin(event()).unwrap());
    let panicked = std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let _pending = log.begin(event()).unwrap();
            panic!("on purpose");
        });
        thread.join().is_err()
    });
    assert!(panicked);
    log.refused(event(), &refusal());
    log.close().unwrap();
    let found = history(&place.path(), &Filter::default()).unwrap();
    assert_eq!(found.broken, None);
    let unknown = RecordResult::Ended(Ended::Unknown);
    assert_eq!(
        found.operations.iter().map(|one| one.result).collect::<Vec<_>>(),
        [unknown, unknown, RecordResult::Refused]
    );
    assert_eq!(found.operations[2].error.as_deref(), Some("PolicyDenied"));
    assert!(!fs::read_to_string(place.path()).unwrap().contains("may say anything"));
}

#[test]
fn a_closed_log_refuses_and_still_takes_the_outcomes_of_what_it_let_through() {
    let place = Place::new();
    let log = place.open(place.signed(never()));
    let pending = log.begin(event()).unwrap();
    log.close().unwrap();
    let error = log.begin(event()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.to_string().ends_with("is closed; nothing was done"), "{error}");
    pending.finish(Outcome::of(&Ok(())));
    drop(log);
    let found = history(&place.path(), &Filter::default()).unwrap();
    assert_eq!(found.operations[0].result, RecordResult::Ended(Ended::Ok));
    // After the first line and the intent, the outcome is signed too.
    assert_eq!(place.ok().heads, 3);
}

#[test]
fn wraps_are_counted_at_intents_and_remembered() {
    let place = Place::new();
    let other = KekId::from_bytes([8; 16]);
    let log = place.open(place.signed(never().sign_every(10)));
    for _ in 0..20 {
        operate(&log);
    }
    drop(log.begin(event()).unwrap());
    let rewrap = Event::new(Operation::Rewrap, &alice()).wraps(other);
    log.begin(rewrap).unwrap().finish(Outcome::of::<()>(&Err(refusal())));
    // Reading wraps nothing, and neither does what is refused.
    log.begin(Event::new(Operation::Unwrap, &alice()).key(KEK)).unwrap().finish(Outcome::of(&Ok(())));
    log.refused(event(), &refusal());
    log.flush().unwrap();
    assert_eq!((log.wraps(KEK), log.wraps(other)), (21, 1));
    drop(log);
    for options in [place.signed(never()), never().sign_every(3)] {
        let log = place.open(options);
        let before = log.wraps(KEK);
        assert!(before >= 21 && log.wraps(other) == 1, "{before}");
        for _ in 0..7 {
            operate(&log);
        }
        drop(log);
        let log = place.open(never());
        assert_eq!(log.wraps(KEK), before + 7);
    }
    let report = place.ok();
    assert_eq!(report.wraps.values().copied().collect::<Vec<_>>(), [35, 1]);
}

#[test]
fn a_long_log_is_opened_from_its_end() {
    let place = Place::new();
    let log = place.open(never().sign_every(50));
    let mut long = EncryptionContext::new();
    long.insert("k", "\u{1}".repeat(8000)).unwrap();
    for _ in 0..60 {
        operate(&log);
        log.begin(event().context(&long)).unwrap().finish(Outcome::unknown());
    }
    drop(log);
    assert!(place.path().metadata().unwrap().len() > 2_000_000);
    // Bytes in the middle that are not read are not missed here; verifying finds them.
    let mut bytes = fs::read(place.path()).unwrap();
    bytes[300_000] = b'\n';
    fs::write(place.path(), bytes).unwrap();
    let log = place.open(never());
    assert_eq!(log.wraps(KEK), 120);
    operate(&log);
    drop(log);
    assert!(place.verify().finding.is_some());
}

#[test]
fn a_filter_finds_what_it_names() {
    let place = Place::new();
    let log = place.open(never());
    operate(&log);
    let bob = keyward::key::Principal::new("bob").unwrap();
    let other: KeyName = "other".parse().unwrap();
    log.begin(Event::new(Operation::Unwrap, &bob).key(&other)).unwrap().finish(Outcome::of::<()>(&Err(refusal())));
    log.refused(Event::new(Operation::DestroyKey, &bob).key(&other), &refusal());
    log.close().unwrap();
    let all = history(&place.path(), &Filter::default()).unwrap().operations;
    let count = |change: &dyn Fn(&mut Filter)| {
        let mut filter = Filter::default();
        change(&mut filter);
        history(&place.path(), &filter).unwrap().operations.iter().map(|one| one.seq).collect::<Vec<_>>()
    };
    let seqs: Vec<_> = all.iter().map(|one| one.seq).collect();
    assert_eq!(count(&|filter| filter.principal = Some("bob".into())), seqs[1..]);
    assert_eq!(count(&|filter| filter.key = Some("payments".into())), seqs[..1]);
    assert_eq!(count(&|filter| filter.operation = Some("Unwrap".into())), seqs[1..2]);
    assert_eq!(count(&|filter| filter.result = Some("refused".into())), seqs[2..]);
    assert_eq!(count(&|filter| filter.result = Some("failed".into())), seqs[1..2]);
    let time = Line::parse(place.lines()[usize::try_from(seqs[1]).unwrap() - 1].as_bytes()).unwrap().timestamp();
    assert_eq!(count(&|filter| filter.since = time), seqs[1..]);
    assert_eq!(count(&|filter| filter.until = time), seqs[..1]);
}

#[test]
fn a_file_that_is_no_log_is_left_alone() {
    for content in ["not a log", "not a log\n", "{\"seq\":1,\"time\":\"x\"}\n"] {
        let place = Place::new();
        fs::write(place.path(), content).unwrap();
        let error = keyward::audit::AuditLog::open(&place.path(), never()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Tampered);
        assert_eq!(fs::read_to_string(place.path()).unwrap(), content);
    }
}

#[test]
fn a_log_that_was_changed_under_its_writer_takes_no_more() {
    let place = Place::new();
    let log = place.open(never());
    operate(&log);
    log.flush().unwrap();
    let good = fs::read(place.path()).unwrap();
    let refuses = |bytes: &[u8], case: &str| {
        fs::write(place.path(), bytes).unwrap();
        let error = log.begin(event()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Tampered, "{case}");
        assert!(error.to_string().ends_with("cannot be written; nothing was done"), "{case}: {error}");
        assert!(error.hint().unwrap().contains("keyward audit verify"), "{case}");
    };
    refuses(&good[..good.len() - 10], "cut");
    let again = place.lines()[..].to_vec();
    assert!(again.len() >= 2);
    let doubled = [&good[..], crate::text(&lines_of(&good)[1..2]).as_bytes()].concat();
    refuses(&doubled, "a line twice");
    fs::write(place.path(), &good).unwrap();
    operate(&log);
    // Another file in its place, too: that of another log, or none.
    let other = Place::new();
    drop(other.open(never()));
    fs::rename(other.path(), place.path()).unwrap();
    assert!(log.begin(event()).is_err());
    fs::remove_file(place.path()).unwrap();
    assert!(log.begin(event()).is_err());
}

fn lines_of(bytes: &[u8]) -> Vec<String> {
    std::str::from_utf8(bytes).unwrap().lines().map(ToOwned::to_owned).collect()
}
