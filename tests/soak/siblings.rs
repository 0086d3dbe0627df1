//! Two tokens of which one is always there.

use super::faulty::Faulty;
use super::load::Load;
use super::{run_alone, seconds};
use keyward::provider::{Failover, Member};
use keyward::{AlgorithmChoice, KeyAdmin, KeyName, KeyProvider, WrappingAlgorithm};
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn no_operation_is_lost_while_one_of_two_tokens_dies() {
    run_alone("siblings::child_with_two_tokens", &[]);
}

#[test]
#[ignore = "run by `no_operation_is_lost_while_one_of_two_tokens_dies`"]
fn child_with_two_tokens() {
    let tokens = [Faulty::new(), Faulty::new()];
    let (session, call) = (Duration::from_millis(1500), Duration::from_millis(300));
    let open = |token: &Faulty| token.open(token.options().session_timeout(session).call_timeout(call)).unwrap();
    let both =
        Failover::siblings([Member::new("one", open(&tokens[0])), Member::new("two", open(&tokens[1]))]).unwrap();
    let keys: Vec<KeyName> = ["a", "b"].map(|name| name.parse().unwrap()).to_vec();
    for (key, algorithm) in keys.iter().zip([WrappingAlgorithm::AesGcm, WrappingAlgorithm::AesKw]) {
        both.create_key(key, AlgorithmChoice::Exactly(algorithm)).unwrap();
    }
    // Written while both were there: at the end either opens it alone.
    let context = keyward::EncryptionContext::new();
    let (data_key, wrapped) = both.generate_data_key(&keys[0], &context, keyward::DataKeyLength::Bytes32).unwrap();

    let end = Instant::now() + seconds();
    let load = Load::default();
    load.run(&both, &keys, 2 * (session + call) + Duration::from_secs(2), |load| {
        for (turn, trouble) in ["* * dead", "* * hang", "* * answer CKR_DEVICE_REMOVED"].into_iter().cycle().enumerate()
        {
            let token = &tokens[turn % 2];
            token.script(trouble);
            thread::sleep(Duration::from_millis(700));
            token.well();
            load.is_back();
            // Until both are up, so that never both are down.
            let began = Instant::now();
            while both.health().iter().any(|member| !member.available) {
                assert!(began.elapsed() < Duration::from_secs(20), "{:?}", both.health());
                thread::sleep(Duration::from_millis(5));
            }
            // And until no operation is under way that has seen this one down.
            thread::sleep(2 * call);
            if Instant::now() > end {
                break;
            }
        }
    });
    load.nothing_was_lost();
    for token in &tokens {
        let opened = open(token).unwrap_data_key(&wrapped, &context).unwrap();
        assert_eq!(opened.expose_secret(), data_key.expose_secret());
    }
}
