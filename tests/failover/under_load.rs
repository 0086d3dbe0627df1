//! Many threads, while a member goes down and comes back.

use super::*;
use keyward::{DataKeyLength, KeyProvider, KeyRef};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Does everything from 8 threads while the member at `unsteady` goes down and up again.
fn nothing_is_lost((switches, failover): (Vec<Memory>, Failover<Memory>), unsteady: usize) {
    const OUTAGES: usize = 20;
    let over = AtomicBool::new(false);
    let done = AtomicUsize::new(0);
    let work = || {
        let mut kept: Option<(DataKey, keyward::WrappedKeys)> = None;
        while !over.load(Ordering::SeqCst) {
            let (data_key, wrapped) =
                failover.generate_data_key(&key(), &context(), DataKeyLength::Bytes32).expect("generate");
            assert_same(&failover.unwrap_data_key(&wrapped, &context()).expect("unwrap"), &data_key);
            let moved =
                failover.rewrap_data_key(&wrapped, &context(), &key(), keyward::Origin::Unverified).expect("rewrap");
            assert_same(&failover.unwrap_data_key(&moved, &context()).expect("unwrap what was moved"), &data_key);
            let again = failover.wrap_data_key(&key(), &context(), &data_key).expect("wrap");
            // What was protected before, in another state of the members.
            if let Some((data_key, wrapped)) = kept.replace((data_key, again)) {
                assert_same(&failover.unwrap_data_key(&wrapped, &context()).expect("unwrap an earlier one"), &data_key);
            }
            failover.describe_key(KeyRef::Name(&key())).expect("describe");
            done.fetch_add(1, Ordering::SeqCst);
        }
    };
    std::thread::scope(|scope| {
        // Also where an assertion below fails, so that the threads end.
        struct Over<'a>(&'a AtomicBool);
        impl Drop for Over<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        let _over = Over(&over);
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(work)).collect();
        for _ in 0..OUTAGES {
            for is_on in [false, true] {
                match is_on {
                    false => switches[unsteady].off(),
                    true => switches[unsteady].on(),
                }
                let before = done.load(Ordering::SeqCst);
                wait_until("progress", || {
                    done.load(Ordering::SeqCst) > before + 20 || threads.iter().any(|thread| thread.is_finished())
                });
                if !is_on {
                    let noticed = || !failover.health()[unsteady].available;
                    wait_until("the outage noticed", || noticed() || threads.iter().any(|thread| thread.is_finished()));
                }
            }
            wait_until_all_are_up(&failover);
        }
    });
    assert!(failover.health()[unsteady].failures >= OUTAGES as u64);
    assert_eq!(failover.health()[1 - unsteady].failures, 0);
}

#[test]
fn replicas_lose_no_operation() {
    // The second is not asked while the first is up, so it is the first that goes.
    nothing_is_lost(replicas(2), 0);
}

#[test]
fn siblings_lose_no_operation() {
    nothing_is_lost(siblings(2), 0);
    nothing_is_lost(siblings(2), 1);
}
