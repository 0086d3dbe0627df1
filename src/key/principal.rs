//! Who asks.

use crate::error::{Error, ErrorKind, Result};
use std::collections::BTreeSet;
use std::fmt;

/// Who asks for something: a name, and the groups that it is in. Keyward takes the word of the program
/// that it is linked into, which has found out who its caller is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Principal {
    name: String,
    groups: BTreeSet<String>,
    /// What the audit log calls it, if not by its name.
    recorded: Option<String>,
}

impl Principal {
    /// The longest name of a principal or a group, in bytes.
    pub const MAX_LEN: usize = 256;
    /// The most groups that one is in.
    pub const MAX_GROUPS: usize = 1024;

    /// The principal of this name, in no group.
    ///
    /// # Errors
    /// `InvalidArgument` where the name is empty, longer than [`MAX_LEN`](Self::MAX_LEN) bytes, or has a control
    /// character.
    pub fn new(name: impl Into<String>) -> Result<Self> {
        Ok(Self { name: checked("principal", name.into())?, groups: BTreeSet::new(), recorded: None })
    }

    /// The same, in these groups as well.
    ///
    /// # Errors
    /// `InvalidArgument` where one of them is not of the form that a name has, or there are more than
    /// [`MAX_GROUPS`](Self::MAX_GROUPS).
    pub fn in_groups(mut self, groups: impl IntoIterator<Item = impl Into<String>>) -> Result<Self> {
        for group in groups {
            self.groups.insert(checked("group", group.into())?);
            if self.groups.len() > Self::MAX_GROUPS {
                let message = format!("principal '{}' is in more than {} groups", self.name, Self::MAX_GROUPS);
                return Err(Error::new(ErrorKind::InvalidArgument, message));
            }
        }
        Ok(self)
    }

    /// The same, called otherwise in the audit log: with where it comes from, for instance.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn recorded_as(mut self, name: impl Into<String>) -> Result<Self> {
        self.recorded = Some(checked("principal", name.into())?);
        Ok(self)
    }

    /// What the audit log calls it.
    #[must_use]
    pub fn recorded(&self) -> &str {
        self.recorded.as_deref().unwrap_or(&self.name)
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The groups, in order.
    pub fn groups(&self) -> impl ExactSizeIterator<Item = &str> {
        self.groups.iter().map(String::as_str)
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.name)
    }
}

fn checked(what: &str, name: String) -> Result<String> {
    if name.is_empty() || name.len() > Principal::MAX_LEN || name.chars().any(char::is_control) {
        let message = format!("a {what} is named by 1 to {} bytes without control characters", Principal::MAX_LEN);
        return Err(Error::new(ErrorKind::InvalidArgument, message));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_and_groups() {
        let who = Principal::new("alice").unwrap().in_groups(["ops", "audit", "ops"]).unwrap();
        assert_eq!((who.name(), who.groups().collect::<Vec<_>>()), ("alice", vec!["audit", "ops"]));
        for bad in ["", "a\nb", &"x".repeat(257)] {
            assert!(Principal::new(bad).is_err());
            assert!(Principal::new("alice").unwrap().in_groups([bad]).is_err());
        }
        let many = (0..=Principal::MAX_GROUPS).map(|n| n.to_string());
        assert!(Principal::new("alice").unwrap().in_groups(many).is_err());
    }
}
