//! Whether a file system may be trusted with a write into the middle of a file.

use std::fs::File;

/// The types (`statfs`, `f_type`) of local file systems that write whole blocks, of which a device
/// writes all or nothing, or never overwrite a block in place. On others, over a network or in user
/// space, what a failure does to the bytes beside a write is up to somebody else.
#[cfg(target_os = "linux")]
const TRUSTED: [(&str, u64); 8] = [
    ("ext2, ext3, ext4", 0xef53),
    ("xfs", 0x5846_5342),
    ("btrfs", 0x9123_683e),
    ("zfs", 0x2fc1_2fc1),
    ("bcachefs", 0xca45_1a4e),
    ("f2fs", 0xf2f5_2010),
    ("tmpfs", 0x0102_1994),
    // Containers: what is below is one of the others, nearly always.
    ("overlayfs", 0x794c_7630),
];

/// Whether slots may be changed in place here.
pub(super) fn takes_writes_in_place(file: &File) -> bool {
    #[cfg(target_os = "linux")]
    {
        // The type is a signed word on some targets and unsigned on others.
        #[allow(clippy::cast_sign_loss, clippy::unnecessary_cast)]
        let kind = rustix::fs::fstatfs(file).map(|stat| (stat.f_type as u64) & 0xffff_ffff);
        kind.is_ok_and(|kind| TRUSTED.iter().any(|(_, trusted)| *trusted == kind))
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = file;
        false
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn proc_is_not_trusted_and_where_tests_write_is() {
        assert!(!takes_writes_in_place(&File::open("/proc/self/status").unwrap()));
        assert!(takes_writes_in_place(&tempfile::tempfile().unwrap()));
    }
}
