//! What is recorded, and that nothing is done which is not.

use super::*;
use keyward::audit::{Filter, RecordResult, Verify, history};
use keyward::key::VersionReuse;

#[test]
fn each_operation_is_recorded_with_who_what_and_which_key() {
    for operation in Operation::ALL {
        for way in ways(operation) {
            let (spy, log) = (spy(), Log::new());
            let (_, wrapped) = spy.generate_data_key(&key(), &context(), DataKeyLength::Bytes32).unwrap();
            let opened = log.open();
            let answer = way(&governed(&spy).log(opened.clone()), &wrapped);
            opened.close().unwrap();
            let told = history(&log.path, &Filter::default()).unwrap();
            assert!(told.broken.is_none());
            let [record] = &told.operations[..] else { panic!("{operation}: {told:?}") };
            assert_eq!((&*record.principal, &*record.operation), ("alice", operation.name()));
            match &answer {
                Ok(()) => assert_eq!((record.result.name(), &record.error), ("ok", &None), "{operation}"),
                Err(error) => assert_eq!(record.error.as_deref(), Some(&*format!("{:?}", error.kind()))),
            }
            let named = record.keys.iter().all(|key| key.name.is_some());
            let expected = if operation == Operation::ListKeys { 0 } else { 1 };
            assert!(named && record.keys.len() >= expected, "{operation}: {:?}", record.keys);
            let bound = matches!(
                operation,
                Operation::GenerateDataKey | Operation::Wrap | Operation::Unwrap | Operation::Rewrap
            );
            assert_eq!(record.context.get("tenant").map(String::as_str), bound.then_some("acme"), "{operation}");
        }
    }
}

#[test]
fn what_is_refused_is_recorded_as_well() {
    let (spy, log) = (spy(), Log::new());
    let opened = log.open();
    let nobody = governed(&spy).policies(policies("forbid(principal, action, resource);")).log(opened.clone());
    let (_, wrapped) = spy.generate_data_key(&key(), &context(), DataKeyLength::Bytes32).unwrap();
    let mut count = 0;
    for operation in Operation::ALL {
        for way in ways(operation) {
            assert_kind(way(&nobody, &wrapped), ErrorKind::PolicyDenied);
            count += 1;
        }
    }
    opened.close().unwrap();
    let told = history(&log.path, &Filter::default()).unwrap().operations;
    assert_eq!(told.len(), count);
    assert!(told.iter().all(|record| record.result == RecordResult::Refused));
    assert!(told.iter().all(|record| record.error.as_deref() == Some("PolicyDenied")));
}

#[test]
fn what_cannot_be_recorded_is_not_done() {
    let (spy, log) = (spy(), Log::new());
    let (_, wrapped) = spy.generate_data_key(&key(), &context(), DataKeyLength::Bytes32).unwrap();
    let opened = log.open();
    let governed = governed(&spy).log(opened.clone());
    opened.close().unwrap();
    spy.asked();
    for operation in Operation::ALL {
        for way in ways(operation) {
            assert_kind(way(&governed, &wrapped), ErrorKind::Io);
            let asked = spy.asked();
            assert!(asked.iter().all(|what| matches!(*what, "describe" | "list")), "{operation}: {asked:?}");
        }
    }
    // Listing is looking as well, but it is asked for.
    assert_kind(governed.list_keys(), ErrorKind::Io);
    assert!(spy.asked().is_empty());
}

#[test]
fn many_threads_share_a_log_that_verifies() {
    let (spy, log) = (spy(), Log::new());
    let opened = log.open();
    let governed = governed(&spy).log(opened.clone());
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let governed = &governed;
            scope.spawn(move || {
                let me = governed.as_principal(Principal::new(format!("thread-{thread}")).unwrap());
                for _ in 0..25 {
                    let (_, wrapped) = me.generate_data_key(&key(), &context(), DataKeyLength::Bytes32).unwrap();
                    me.unwrap_data_key(&wrapped, &context()).unwrap();
                }
            });
        }
    });
    opened.close().unwrap();
    let report = Verify::new(&log.path).run().unwrap();
    assert!(report.finding.is_none(), "{report:?}");
    let told = history(&log.path, &Filter::default()).unwrap().operations;
    assert_eq!(told.len(), 8 * 25 * 2);
    assert!(told.iter().all(|record| record.result.name() == "ok"));
}

#[test]
fn what_fails_before_a_key_is_asked_is_a_failure_and_no_refusal() {
    let (spy, log) = (spy(), Log::new());
    let opened = log.open();
    let governed = governed(&spy).log(opened.clone());
    let none: KeyName = "none".parse().unwrap();
    assert_kind(governed.generate_data_key(&none, &context(), DataKeyLength::Bytes32), ErrorKind::KeyNotFound);
    assert_kind(governed.destroy_key(&none, KeyVersion::FIRST, VersionReuse::Refuse), ErrorKind::KeyNotFound);
    opened.close().unwrap();
    let told = history(&log.path, &Filter::default()).unwrap().operations;
    let told: Vec<_> = told.iter().map(|one| (one.result.name(), one.error.as_deref().unwrap())).collect();
    assert_eq!(told, [("failed", "KeyNotFound"), ("failed", "KeyNotFound")]);
}
