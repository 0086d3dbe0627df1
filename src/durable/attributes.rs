//! Owner, group, access control list, extended attributes and mode of a file, and which of them go along to another.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use xattr::FileExt;

/// The access control list of a file on Linux (acl(5)).
const ACL: &str = "system.posix_acl_access";

/// What vouches for the content that was there, or gives it rights, and must not go to another (capabilities(7), IMA).
const OF_THE_CONTENT: [&str; 3] = ["security.capability", "security.ima", "security.evm"];

/// An attribute of a replaced file that its replacement could not be given.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LostAttribute {
    /// The user who owns it.
    Owner,
    /// The group.
    Group,
    /// The access control list.
    AccessControlList,
    /// An extended attribute of this name, or all of them if they cannot be read.
    Extended(Option<OsString>),
}

impl fmt::Display for LostAttribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owner => f.write_str("owner"),
            Self::Group => f.write_str("group"),
            Self::AccessControlList => f.write_str("access control list"),
            Self::Extended(Some(name)) => write!(f, "extended attribute '{}'", name.display()),
            Self::Extended(None) => f.write_str("extended attributes"),
        }
    }
}

/// Returns the permissions for a new file that is made from `source`: those of `source`, and its owner's alone if it
/// has an access control list. The bits of the group are the mask of the list then (acl(5)); as rights of the group
/// they would let members read what the list may deny them.
///
/// # Errors
/// Returns an error if they cannot be read.
pub fn creation_mode(source: &File) -> io::Result<u32> {
    let mode = source.metadata()?.permissions().mode() & 0o777;
    Ok(if has_acl(source)? { mode & 0o700 } else { mode })
}

fn has_acl(file: &File) -> io::Result<bool> {
    match file.get_xattr(ACL) {
        Ok(list) => Ok(list.is_some()),
        Err(error) if is_unsupported(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

fn is_unsupported(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Unsupported
        || error.raw_os_error() == Some(rustix::io::Errno::OPNOTSUPP.raw_os_error())
}

/// Gives `new` the owner, the group, the access control list, the extended attributes and the mode of `old`, in this
/// order: a change of owner may clear what comes after it, and nobody gains a right before the file has its owner.
/// `new` must be open to its owner alone. What cannot be given narrows the mode, and is returned.
///
/// # Errors
/// Returns an error if attributes cannot be read, or the mode cannot be set.
pub(super) fn transfer(old: &File, new: &File) -> io::Result<Vec<LostAttribute>> {
    let (from, to) = (old.metadata()?, new.metadata()?);
    let mut lost = Vec::new();
    // Each by itself: who may not give a file away may give it to a group that they are in.
    if from.uid() != to.uid() && std::os::unix::fs::fchown(new, Some(from.uid()), None).is_err() {
        lost.push(LostAttribute::Owner);
    }
    if from.gid() != to.gid() && std::os::unix::fs::fchown(new, None, Some(from.gid())).is_err() {
        lost.push(LostAttribute::Group);
    }
    transfer_extended(old, new, &mut lost);
    let mode = from.permissions().mode() & 0o777;
    new.set_permissions(Permissions::from_mode(narrowed(mode, &lost)))?;
    Ok(lost)
}

fn transfer_extended(old: &File, new: &File, lost: &mut Vec<LostAttribute>) {
    let names = match old.list_xattr() {
        Ok(names) => names,
        Err(error) if is_unsupported(&error) => return,
        Err(_) => return lost.push(LostAttribute::Extended(None)),
    };
    for name in names.filter(|name| !OF_THE_CONTENT.iter().any(|one| name == one)) {
        let given = match old.get_xattr(&name) {
            Ok(Some(value)) => match new.get_xattr(&name) {
                // Labels that the system itself gives to new files are there already.
                Ok(Some(there)) if there == value => Ok(()),
                _ => new.set_xattr(&name, &value),
            },
            // Removed meanwhile.
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        if given.is_err() {
            lost.push(match is_acl(&name) {
                true => LostAttribute::AccessControlList,
                false => LostAttribute::Extended(Some(name)),
            });
        }
    }
}

/// Also those of other systems: `system.nfs4_acl`.
fn is_acl(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b"system.") && name.as_encoded_bytes().windows(3).any(|part| part == b"acl")
}

/// The mode without what would be the right of someone else than before.
fn narrowed(mode: u32, lost: &[LostAttribute]) -> u32 {
    let (owner, group, others) = (mode >> 6 & 7, mode >> 3 & 7, mode & 7);
    let has_lost = |attribute| lost.contains(&attribute);
    if has_lost(LostAttribute::AccessControlList) {
        return owner << 6;
    }
    // Another group gets nothing. The members of the old one are among all others now, and so may its owner be.
    let (group, others) = if has_lost(LostAttribute::Group) { (0, others & group) } else { (group, others) };
    let (group, others) =
        if has_lost(LostAttribute::Owner) { (group & owner, others & owner) } else { (group, others) };
    owner << 6 | group << 3 | others
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_narrows_the_mode() {
        use LostAttribute::*;
        for (mode, lost, narrow) in [
            (0o664, vec![], 0o664),
            (0o664, vec![Group], 0o604),
            (0o604, vec![Group], 0o600),
            (0o664, vec![AccessControlList], 0o600),
            (0o664, vec![Owner], 0o664),
            (0o464, vec![Owner], 0o444),
            (0o640, vec![Owner, Group], 0o600),
            (0o644, vec![Extended(None)], 0o644),
        ] {
            assert_eq!(narrowed(mode, &lost), narrow, "{mode:o} {lost:?}");
        }
    }

    #[test]
    fn attributes_go_along() {
        let (old, new) = (tempfile::NamedTempFile::new().unwrap(), tempfile::NamedTempFile::new().unwrap());
        old.as_file().set_permissions(Permissions::from_mode(0o754)).unwrap();
        let has_attributes = old.as_file().set_xattr("user.keyward", b"1").is_ok();
        assert_eq!(transfer(old.as_file(), new.as_file()).unwrap(), []);
        assert_eq!(new.as_file().metadata().unwrap().permissions().mode() & 0o777, 0o754);
        let value = new.as_file().get_xattr("user.keyward").unwrap_or_default();
        assert_eq!(value.as_deref(), has_attributes.then_some(&b"1"[..]));
        assert_eq!(creation_mode(old.as_file()).unwrap(), 0o754);
    }
}
