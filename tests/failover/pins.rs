//! A wrong PIN is never tried again: a few of them lock a token.

use super::*;
use keyward::{DataKeyLength, KeyProvider};
use std::sync::Barrier;

const OF_THE_PIN: [ErrorKind; 3] = [ErrorKind::PinIncorrect, ErrorKind::PinLocked, ErrorKind::PinRequired];

fn opening(kind: ErrorKind) -> (Arc<Switch<()>>, Member<Memory>) {
    let opens = Arc::new(Switch::new(()));
    opens.say(kind);
    let opened = Arc::clone(&opens);
    let token = Arc::new(MemoryProvider::new());
    let member = Member::opening("first", move || opened.open(|| Arc::new(Switch::new(Arc::clone(&token)))));
    (opens, member)
}

fn generate(failover: &Failover<Memory>) -> keyward::Result<()> {
    failover.generate_data_key(&key(), &context(), DataKeyLength::Bytes32).map(drop)
}

#[test]
fn a_pin_that_was_refused_at_opening_is_not_tried_again() {
    for kind in OF_THE_PIN {
        let (opens, member) = opening(kind);
        let failover = Failover::replicas([member]).unwrap();
        for _ in 0..5 {
            // Not even where it is the only one.
            let error = assert_kind(generate(&failover), kind);
            assert!(error.to_string().starts_with("first: "), "{error}");
            assert!(!failover.probe()[0].available);
        }
        opens.on();
        assert_kind(generate(&failover), kind);
        assert_eq!(opens.calls(), 1, "{kind:?}");
        let health = &failover.health()[0];
        assert_eq!((health.failures, health.available), (1, false));
        assert_eq!(health.last_error, Some(format!("switched to {kind:?}")));
    }
}

#[test]
fn many_threads_at_the_start_try_a_pin_once() {
    for kind in OF_THE_PIN {
        let (opens, member) = opening(kind);
        opens.hang();
        let failover = Failover::siblings([member]).unwrap();
        let barrier = Barrier::new(9);
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        barrier.wait();
                        generate(&failover)
                    })
                })
                .collect();
            barrier.wait();
            wait_until("one that opens", || opens.calls() > 0);
            opens.go_on();
            for thread in threads {
                assert_kind(thread.join().unwrap(), ErrorKind::TokenUnavailable);
            }
        });
        assert_eq!(opens.calls(), 1, "{kind:?}");
    }
}

#[test]
fn a_provider_whose_pin_was_refused_later_is_not_asked_again() {
    for kind in OF_THE_PIN {
        let (switches, failover) = replicas(2);
        generate(&failover).unwrap();
        switches[0].say(kind);
        generate(&failover).unwrap();
        switches[0].on();
        failover.probe();
        for _ in 0..5 {
            generate(&failover).unwrap();
        }
        // Longer than the time to the first probe, of which there must be none.
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!((switches[0].calls(), switches[0].probes()), (2, 0), "{kind:?}");
        assert!(!failover.health()[0].available);
        // Where nobody answers, what may go by itself is what is said.
        switches[1].off();
        assert_kind(generate(&failover), ErrorKind::TokenUnavailable);
        assert_eq!(switches[0].calls(), 2);
    }
}

#[test]
fn an_opening_that_fails_otherwise_is_an_answer() {
    let (opens, member) = opening(ErrorKind::InvalidArgument);
    let other = Arc::new(Switch::new(Arc::new(MemoryProvider::new())));
    other.inner().create_key(&key(), AlgorithmChoice::Auto).unwrap();
    let failover = Failover::replicas([member, Member::new("second", other)]).unwrap();
    assert_kind(generate(&failover), ErrorKind::InvalidArgument);
    assert!(failover.health()[0].available);
    assert_eq!(opens.calls(), 1);
}
