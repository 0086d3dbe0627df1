//! The signing key and the anchors on a real token.

use crate::{alice, event, never, operate};
use keyward::audit::{AuditLog, Diagnosis, HeadKey, Verify};
use keyward::hsm::AuditKey;
use keyward::key::{AnchorOrder, HeadKeeper, Operation};
use keyward::testkit::SoftToken;
use keyward::{AlgorithmChoice, ErrorKind, KeyAdmin};
use std::fs;
use std::sync::Arc;

#[test]
fn the_key_is_made_once_and_signs() {
    let soft = SoftToken::new();
    assert_eq!(AuditKey::open(soft.open()).unwrap_err().kind(), ErrorKind::KeyNotFound);
    let made = AuditKey::create(soft.open()).unwrap();
    assert_eq!(AuditKey::create(soft.open()).unwrap_err().kind(), ErrorKind::KeyExists);
    let opened = AuditKey::open(soft.open()).unwrap();
    assert_eq!(made.public_key(), opened.public_key());
    assert_eq!(HeadKey::from_pem(&made.public_key().to_pem()).unwrap(), *opened.public_key());
    assert_ne!(made.sign(b"a").unwrap(), opened.sign(b"b").unwrap());
}

#[test]
fn it_is_no_master_key_and_none_is_in_its_way() {
    let soft = SoftToken::new();
    let hsm = soft.provider();
    AuditKey::create(soft.open()).unwrap().set_anchor("log", "text", &|_| Ok(AnchorOrder::Same)).unwrap();
    assert!(hsm.list_keys().unwrap().is_empty());
    hsm.create_key(&"keyward-audit".parse().unwrap(), AlgorithmChoice::Auto).unwrap();
    assert_eq!(hsm.list_keys().unwrap().len(), 1);
    let key = AuditKey::open(soft.open()).unwrap();
    key.sign(b"still").unwrap();
    assert_eq!(key.read(None).unwrap().anchors, ["text"]);
}

#[test]
fn an_anchor_takes_the_place_of_the_one_before() {
    let soft = SoftToken::new();
    let key = AuditKey::create(soft.open()).unwrap();
    assert!(key.read(None).unwrap().anchors.is_empty());
    for text in ["one", "two", "three"] {
        let order = |other: &str| Ok(if other == text { AnchorOrder::Same } else { AnchorOrder::Lower });
        key.set_anchor("a", text, &order).unwrap();
        assert_eq!(key.read(Some("a")).unwrap().anchors, [text]);
    }
    key.set_anchor("b", "other", &|_| Ok(AnchorOrder::Same)).unwrap();
    let mut all = AuditKey::open(soft.open()).unwrap().read(None).unwrap().anchors;
    all.sort();
    assert_eq!(all, ["other", "three"]);
}

#[test]
fn of_many_who_make_it_at_most_one_succeeds() {
    let soft = SoftToken::new();
    let token = soft.open();
    let made: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..6).map(|_| scope.spawn(|| AuditKey::create(token.clone()))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(made.iter().filter(|made| made.is_ok()).count() <= 1);
    // Whoever tries again finds it, or makes it.
    let again = AuditKey::create(token.clone()).map_or_else(|error| error.kind(), |_| ErrorKind::KeyExists);
    assert_eq!(again, ErrorKind::KeyExists);
    AuditKey::open(token).unwrap().sign(b"one").unwrap();
}

#[test]
fn a_log_is_signed_and_anchored_on_the_token() {
    let soft = SoftToken::new();
    let key = Arc::new(AuditKey::create(soft.open()).unwrap());
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.log");
    let options = || never().sign_every(10).keeper(key.clone());
    let log = AuditLog::open(&path, options()).unwrap();
    for _ in 0..15 {
        operate(&log);
    }
    let anchor = log.anchor().unwrap();
    log.close().unwrap();
    drop(log);

    let verify = || Verify::new(&path).key(key.public_key().clone());
    let report = verify().keeper(&*key).unwrap().run().unwrap();
    assert_eq!((report.finding, report.anchor), (None, Some(anchor.clone())));
    assert!(report.heads >= 1);
    let text = fs::read_to_string(&path).unwrap();
    let cut: String = text.lines().take(12).map(|line| format!("{line}\n")).collect();
    fs::write(&path, cut).unwrap();
    let found = verify().keeper(&*key).unwrap().run().unwrap().finding.unwrap();
    assert_eq!((found.diagnosis, found.seq), (Diagnosis::Cut, Some(13)));
    assert_eq!(
        found.explanation,
        format!("the token has seen {0} entries; the last {1} are gone", anchor.count(), anchor.count() - 12)
    );
}

#[test]
fn where_the_log_cannot_be_written_the_token_is_not_asked() {
    let soft = SoftToken::new();
    let hsm = soft.provider();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.log");
    let log = AuditLog::open(&path, never()).unwrap();
    fs::remove_file(&path).unwrap();
    let name = "payments".parse().unwrap();
    let create = || {
        let pending = log.begin(keyward::audit::Event::new(Operation::CreateKey, &alice()).key(&name))?;
        let answer = hsm.create_key(&name, AlgorithmChoice::Auto);
        pending.finish(keyward::audit::Outcome::of(&answer));
        answer
    };
    assert_eq!(create().unwrap_err().kind(), ErrorKind::Tampered);
    assert!(hsm.list_keys().unwrap().is_empty());
    assert!(log.begin(event()).is_err());
}
