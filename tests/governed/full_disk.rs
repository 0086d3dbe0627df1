//! A log on a disk without room: nothing is asked of a key.

use super::*;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

/// A file system of 64 KiB, for as long as it is in scope.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=64k", "keyward-test"]).arg(directory.path());
        mount.output().is_ok_and(|output| output.status.success()).then(|| Self(directory))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.path()).status();
    }
}

#[test]
fn where_the_disk_is_full_nothing_is_asked_of_a_key() {
    let Some(disk) = SmallDisk::mount() else {
        // Past the test's captured output: this is to be seen.
        let _ = writeln!(std::io::stderr(), "NOT TESTED: a full disk (mounting a tmpfs is not permitted)");
        return;
    };
    let spy = spy();
    let (_, wrapped) = spy.generate_data_key(&key(), &context(), DataKeyLength::Bytes32).unwrap();
    let log = AuditLog::open(&disk.path().join("audit.log"), AuditOptions::default()).unwrap();
    let governed = governed(&spy).log(log);
    governed.unwrap_data_key(&wrapped, &context()).unwrap();

    let filler = disk.path().join("filler");
    let mut file = fs::File::create(&filler).unwrap();
    while file.write_all(&[1; 512]).is_ok() {}
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
    drop(file);
    fs::remove_file(&filler).unwrap();
    governed.unwrap_data_key(&wrapped, &context()).unwrap();
}

fn until_refused(governed: &impl KeyProvider, wrapped: &WrappedKeys) {
    let refused = (0..1000).find_map(|_| governed.unwrap_data_key(wrapped, &context()).err());
    assert_eq!(refused.expect("a full disk refuses in the end").kind(), ErrorKind::Io);
}
