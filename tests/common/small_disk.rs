//! A small file system of its own, to be filled.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

/// A file system in memory, for as long as it is in scope.
pub(crate) struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// Of so many KiB. Says so, past the test's captured output, where mounting is not permitted: this is to be seen.
    pub(crate) fn mount(kib: u32) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={kib}k"), "keyward-test"]).arg(directory.path());
        if mount.output().is_ok_and(|output| output.status.success()) {
            return Some(Self(directory));
        }
        let _ = writeln!(std::io::stderr(), "NOT TESTED: a full disk (mounting a tmpfs is not permitted)");
        None
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Leaves no room at all.
    pub(crate) fn fill(&self) {
        let mut file = fs::File::create(self.path("filler")).unwrap();
        while file.write_all(&[1; 512]).is_ok() {}
    }

    /// Makes room again.
    pub(crate) fn free(&self) {
        fs::remove_file(self.path("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}
