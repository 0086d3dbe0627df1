//! Going down and coming back.

use super::*;
use keyward::{DataKeyLength, KeyProvider};
use std::sync::mpsc;
use std::time::SystemTime;

fn works(failover: &Failover<Memory>) {
    failover.generate_data_key(&key(), &context(), DataKeyLength::Bytes32).unwrap();
}

#[test]
fn a_member_that_is_down_costs_no_call() {
    let (switches, failover) = replicas(2);
    switches[0].off();
    for _ in 0..100 {
        works(&failover);
    }
    assert_eq!((switches[0].calls(), switches[1].calls()), (1, 100));
}

#[test]
fn a_member_that_is_back_is_noticed_and_serves_again() {
    let (switches, failover) = replicas(2);
    let started = SystemTime::now();
    switches[0].off();
    works(&failover);
    let health = failover.health();
    assert_eq!((health[0].name.as_str(), health[0].available), ("first", false));
    assert_eq!(health[0].last_error.as_deref(), Some("switched to TokenUnavailable"));
    assert!(health[0].failures >= 1);
    assert!(health[0].since.unwrap() >= started);
    assert_eq!((health[1].available, health[1].since, health[1].failures), (true, None, 0));

    wait_until("a probe", || failover.health()[0].failures > 1);
    switches[0].on();
    wait_until_all_are_up(&failover);
    let back = &failover.health()[0];
    assert!(back.since.unwrap() > health[0].since.unwrap());
    let (first, second) = (switches[0].calls(), switches[1].calls());
    works(&failover);
    assert_eq!((switches[0].calls(), switches[1].calls()), (first + 1, second));

    // And once more: the thread that ended starts again.
    switches[0].off();
    works(&failover);
    switches[0].on();
    wait_until_all_are_up(&failover);
}

#[test]
fn nobody_is_probed_while_all_are_up() {
    let (switches, failover) = replicas(2);
    works(&failover);
    switches[0].off();
    works(&failover);
    switches[0].on();
    wait_until_all_are_up(&failover);
    let probes = switches[0].probes();
    // Longer than the time between the first probes.
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!((switches[0].probes(), switches[1].probes()), (probes, 0));
}

#[test]
fn where_all_are_down_each_is_tried_in_order() {
    for (switches, failover) in [replicas(3), siblings(3)] {
        let (_, wrapped) = failover.generate_data_key(&key(), &context(), DataKeyLength::Bytes32).unwrap();
        switches.iter().for_each(|switch| switch.off());
        let calls = || switches.iter().map(|switch| switch.calls()).collect::<Vec<_>>();
        for _ in 0..3 {
            let before = calls();
            let error = failover.unwrap_data_key(&wrapped, &context()).unwrap_err();
            assert!(error.kind().is_unavailable());
            let said = error.to_string();
            let places: Vec<_> = NAMES.iter().map(|name| said.find(name).expect(&said)).collect();
            assert!(places.is_sorted(), "{said}");
            let after = calls();
            assert!(before.iter().zip(&after).all(|(before, after)| before + 1 == *after), "{before:?} {after:?}");
        }
        // The call itself finds out that one is back.
        switches[1].on();
        failover.unwrap_data_key(&wrapped, &context()).unwrap();
        assert!(failover.health()[1].available);
    }
}

#[test]
fn one_that_went_down_in_the_call_is_not_the_end_of_it() {
    // The second is thought to be down, and is not; the first is thought to be up, and is not.
    let (switches, failover) = replicas(2);
    switches[1].off();
    failover.probe();
    assert!(!failover.health()[1].available);
    switches[1].on();
    switches[0].off();
    works(&failover);
}

#[test]
fn a_probe_on_demand_asks_all() {
    let (switches, failover) = siblings(3);
    switches[1].off();
    switches[2].say(ErrorKind::KeyState);
    let available: Vec<_> = failover.probe().into_iter().map(|member| member.available).collect();
    assert_eq!(available, [true, false, true], "an answer of any kind is a sign of life");
    assert!(switches.iter().all(|switch| switch.probes() > 0 && switch.calls() == 0));
    switches[1].on();
    assert!(failover.probe().iter().all(|member| member.available));
}

#[test]
fn a_member_is_opened_when_it_is_needed() {
    let token = Arc::new(MemoryProvider::new());
    token.create_key(&key(), AlgorithmChoice::Auto).unwrap();
    // The first opens at the third try; the second is not needed before that.
    let opens = Arc::new(Switch::new(()));
    let member = |name: &str, opens: &Arc<Switch<()>>| {
        let (opens, token) = (Arc::clone(opens), Arc::clone(&token));
        Member::opening(name, move || opens.open(|| Arc::new(Switch::new(Arc::clone(&token)))))
    };
    let spare = Arc::new(Switch::new(()));
    let failover = Failover::replicas([member("first", &opens), member("second", &spare)]).unwrap();
    assert_eq!(opens.calls(), 0);
    works(&failover);
    works(&failover);
    assert_eq!((opens.calls(), spare.calls()), (1, 0));

    // A token that is down at the start.
    let opens = Arc::new(Switch::new(()));
    opens.off();
    let failover = Failover::replicas([member("first", &opens), member("second", &spare)]).unwrap();
    works(&failover);
    assert_eq!(failover.health()[0].last_error.as_deref(), Some("switched to TokenUnavailable"));
    wait_until("another opening", || opens.calls() > 2);
    opens.on();
    wait_until_all_are_up(&failover);
    let opened = opens.calls();
    works(&failover);
    assert_eq!(opens.calls(), opened);
}

#[test]
fn a_failover_ends_while_a_probe_hangs() {
    let (switches, failover) = replicas(2);
    switches[0].off();
    works(&failover);
    switches[0].hang();
    wait_until("a probe that hangs", || switches[0].probes() > 0 && Arc::strong_count(&switches[0]) > 1);
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        drop(failover);
        sender.send(()).unwrap();
    });
    receiver.recv_timeout(Duration::from_secs(20)).expect("the failover waits for the probe");
    assert_eq!(Arc::strong_count(&switches[1]), 1, "the other member is let go at once");
    switches[0].go_on();
    wait_until("the thread's end", || Arc::strong_count(&switches[0]) == 1);
}

#[test]
fn a_member_that_panics_in_a_probe_does_not_end_the_probing() {
    let (switches, failover) = replicas(2);
    switches[0].panic();
    switches[0].off();
    works(&failover);
    wait_until("the panic", || switches[0].has_panicked());
    switches[0].on();
    wait_until("the return", || {
        works(&failover); // the next call that passes it over starts another thread
        failover.health()[0].available
    });
}
