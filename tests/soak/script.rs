//! SoftHSM behind the module that injects faults.

use super::faulty::Faulty;
use super::load::Load;
use super::{run_alone, seconds};
use keyward::{AlgorithmChoice, KeyAdmin, KeyName, WrappingAlgorithm};
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn no_operation_is_lost_or_wrong_when_the_token_fails() {
    run_alone("script::child_with_a_failing_token", &[]);
}

#[test]
#[ignore = "run by `no_operation_is_lost_or_wrong_when_the_token_fails`"]
fn child_with_a_failing_token() {
    let faulty = Faulty::new();
    let (session, call) = (Duration::from_millis(1500), Duration::from_millis(300));
    let options = faulty.options().session_timeout(session).call_timeout(call);
    let hsm = faulty.open(options).unwrap();
    let keys: Vec<KeyName> = ["a", "b"].map(|name| name.parse().unwrap()).to_vec();
    for (key, algorithm) in keys.iter().zip([WrappingAlgorithm::AesGcm, WrappingAlgorithm::AesKw]) {
        hsm.create_key(key, AlgorithmChoice::Exactly(algorithm)).unwrap();
    }
    // What goes wrong, and for how long, in milliseconds.
    let troubles = [
        ("* 1 drop-sessions", 100),
        ("* * dead", 400),
        ("* 5 lose-login", 100),
        ("* * hang", 900),
        ("* 5% answer CKR_DEVICE_ERROR", 300),
        ("* 5% late CKR_DEVICE_REMOVED", 300),
        ("* * delay 5ms\n* 7 drop-sessions", 300),
        ("C_Login * answer CKR_DEVICE_ERROR\n* 3 drop-sessions", 400),
        ("* 2% hang", 600),
        ("C_OpenSession * answer CKR_TOKEN_NOT_PRESENT\n* 1 drop-sessions", 300),
    ];
    let end = Instant::now() + seconds();
    Load::default().run(&hsm, &keys, 2 * (session + call) + Duration::from_secs(2), |load| {
        for (script, millis) in troubles.into_iter().cycle() {
            faulty.script(script);
            thread::sleep(Duration::from_millis(millis));
            faulty.well();
            load.is_back();
            thread::sleep(Duration::from_millis(300));
            if Instant::now() > end {
                break;
            }
        }
    });
}
