//! Keys with an id that was settled before.

use super::*;
use keyward::key::KeyState;
use keyward::{AlgorithmChoice, KeyVersion};

#[test]
fn a_planned_key_is_made_once_however_often_it_is_asked_for() {
    for algorithm in algorithms() {
        let hsm = provider();
        let plan = plan("records", algorithm);
        let made = hsm.create_planned(&plan).unwrap();
        assert_eq!((made.kek_id, made.algorithm, made.state), (plan.kek_id, algorithm, KeyState::Active));
        assert_eq!((made.provenance, &made.problems[..]), (Provenance::Generated, &[][..]));
        let inventory = hsm.inventory().unwrap();
        assert_eq!(hsm.create_planned(&plan).unwrap(), made, "{algorithm}");
        assert_eq!(hsm.inventory().unwrap(), inventory);
        assert_opens(&hsm, &hsm, &plan.name);
    }
}

#[test]
fn a_plan_that_meets_another_key_is_refused() {
    let hsm = provider();
    let records = plan("records", WrappingAlgorithm::AesGcm);
    hsm.create_planned(&records).unwrap();
    let before = hsm.inventory().unwrap();
    // Its name and version are another's; its id is that of another name, version or algorithm.
    let cases = [
        plan("records", WrappingAlgorithm::AesGcm),
        PlannedKey::new(name("other"), records.algorithm, records.kek_id),
        records.clone().version("2".parse().unwrap()),
        PlannedKey::new(records.name.clone(), WrappingAlgorithm::AesKw, records.kek_id),
    ];
    for other in cases {
        assert_kind(hsm.create_planned(&other), ErrorKind::KeyExists);
        assert_eq!(hsm.inventory().unwrap(), before, "{other:?}");
    }
}

#[test]
fn a_planned_version_takes_the_place_of_the_one_before() {
    let hsm = provider();
    let key = name("records");
    hsm.create_key(&key, AlgorithmChoice::Exactly(WrappingAlgorithm::AesGcm)).unwrap();
    let second = plan("records", WrappingAlgorithm::AesGcm).version("2".parse().unwrap());
    assert_eq!(hsm.create_planned(&second).unwrap().kek_id, second.kek_id);
    let states: Vec<_> = hsm.list_keys().unwrap().iter().map(|key| (key.version, key.state)).collect();
    assert_eq!(states, [(KeyVersion::FIRST, KeyState::Retired), (second.version, KeyState::Active)]);
}
