//! Managed keys on several tokens.

use super::*;
use keyward::KeyProvider;
use keyward::key::KeyDescription;
use keyward::provider::managed_key;

fn labels(switch: &Memory) -> Vec<String> {
    switch.inner().list_keys().unwrap().iter().map(KeyDescription::label).collect()
}

#[test]
fn it_is_made_on_all_siblings() {
    let (switches, failover) = siblings(2);
    let key = managed_key(&failover, "default").unwrap();
    assert!(key.made.is_some() && key.name.is_managed());
    assert_eq!(managed_key(&failover, "default").unwrap().made, None);
    for switch in &switches {
        assert_eq!(labels(switch), ["keyward/default:1", "records:1"]);
    }
}

#[test]
fn it_is_completed_where_a_sibling_has_none() {
    for with in 0..2 {
        let (switches, failover) = siblings(2);
        managed_key(switches[with].inner(), "default").unwrap();
        let key = managed_key(&failover, "default").unwrap();
        assert!(switches.iter().all(|switch| labels(switch).len() == 2));
        failover.generate_data_key(&key.name, &context(), keyward::DataKeyLength::Bytes32).unwrap();
    }
}

#[test]
fn it_is_used_and_not_made_while_a_sibling_is_down() {
    let (switches, failover) = siblings(2);
    switches[1].off();
    assert_kind(managed_key(&failover, "default"), ErrorKind::TokenUnavailable);
    assert_eq!(labels(&switches[0]), ["records:1"]);
    switches[1].on();
    managed_key(&failover, "default").unwrap();
    switches[1].off();
    assert_eq!(managed_key(&failover, "default").unwrap().made, None);
}

#[test]
fn many_at_once_make_one() {
    let token = MemoryProvider::new();
    let made = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| managed_key(&token, "default").unwrap())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap().made).collect::<Vec<_>>()
    });
    assert_eq!(made.iter().flatten().count(), 1);
    assert_eq!(token.list_keys().unwrap().len(), 1);
}
