//! A log on a disk without room: nothing is asked of a key.

use super::*;
use crate::small_disk::SmallDisk;

#[test]
fn where_the_disk_is_full_nothing_is_asked_of_a_key() {
    let Some(disk) = SmallDisk::mount(64) else { return };
    let spy = spy();
    let (_, wrapped) = spy.generate_data_key(&key(), &context(), DataKeyLength::Bytes32).unwrap();
    let log = AuditLog::open(&disk.path("audit.log"), AuditOptions::default()).unwrap();
    let governed = governed(&spy).log(log);
    governed.unwrap_data_key(&wrapped, &context()).unwrap();

    disk.fill();
    // The page that is there already takes a few lines more.
    until_refused(&governed, &wrapped);
    spy.asked();
    for operation in Operation::ALL {
        for way in ways(operation) {
            assert_kind(way(&governed, &wrapped), ErrorKind::Io);
            let asked = spy.asked();
            assert!(asked.iter().all(|what| matches!(*what, "describe" | "list")), "{operation}: {asked:?}");
        }
    }
    // With room again it goes on by itself.
    disk.free();
    governed.unwrap_data_key(&wrapped, &context()).unwrap();
}

fn until_refused(governed: &impl KeyProvider, wrapped: &WrappedKeys) {
    let refused = (0..1000).find_map(|_| governed.unwrap_data_key(wrapped, &context()).err());
    assert_eq!(refused.expect("a full disk refuses in the end").kind(), ErrorKind::Io);
}
