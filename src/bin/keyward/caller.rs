//! Who runs this program, as the kernel and the user database say: the environment says what the caller likes.

use keyward::key::Principal;
use keyward::{Error, ErrorKind, Result};
use rustix::process::{getegid, getgid, getgroups, getuid};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;

/// What stands before what is not the name of a user or group: no user has a name with a colon (passwd(5)).
const NOT_A_NAME: &str = "uid:";
/// What the log has before the name of a user of a container.
const IN_CONTAINER: &str = "container:";

/// What the configuration makes of the caller.
#[derive(Clone, Copy)]
pub(crate) struct Rules {
    /// Whether policies are in force: what is not known of the caller could be what one of them forbids.
    pub(crate) has_policies: bool,
    /// Whether the users of a container count as users.
    pub(crate) container_uids: bool,
}

/// Returns the principal in whose name this program asks.
///
/// # Errors
/// `PolicyDenied` if the user id may be chosen by the caller; with policies, if the user or one of the groups is not in
/// the database.
pub(crate) fn caller(rules: Rules) -> Result<Principal> {
    let in_container = in_user_namespace()
        .map_err(|error| denied("cannot determine whether user ids are those of this host").with_source(error))?;
    if in_container && !rules.container_uids {
        // Whoever makes a user namespace maps any id to their own (user_namespaces(7)).
        return Err(denied("this process is in a user namespace, where the caller may have chosen the user id")
            .with_hint("if the users of this container are to count, set container_uids = true in the configuration"));
    }
    let principal = user(rules)?;
    let name = format!("{IN_CONTAINER}{}", principal.name());
    if in_container { principal.recorded_as(name) } else { Ok(principal) }
}

fn user(rules: Rules) -> Result<Principal> {
    let id = getuid().as_raw();
    let Some(user) = uzers::get_user_by_uid(id) else {
        let message = format!("user {id} is not in the user database, so nothing is known of its groups");
        return if rules.has_policies { Err(denied(message)) } else { Principal::new(format!("{NOT_A_NAME}{id}")) };
    };
    let mut groups = BTreeSet::new();
    // Those of the database, which take effect at the next login, and those that this process has.
    match user.groups() {
        Some(found) => groups.extend(found.iter().map(|group| text(group.name())).collect::<Result<Vec<_>>>()?),
        None if rules.has_policies => return Err(denied(format!("cannot look up the groups of user {id}"))),
        None => {}
    }
    let own = getgroups()
        .map_err(|error| denied("cannot read the groups of this process").with_source(io::Error::from(error)))?;
    for group in own.into_iter().chain([getgid(), getegid()]) {
        match uzers::get_group_by_gid(group.as_raw()) {
            Some(group) => groups.extend([text(group.name())?]),
            None if rules.has_policies => {
                return Err(denied(format!("group {} of this process is not in the group database", group.as_raw())));
            }
            None => {}
        }
    }
    Principal::new(text(user.name())?)?.in_groups(groups)
}

fn text(name: &OsStr) -> Result<String> {
    let name = name.to_str().map(ToOwned::to_owned);
    name.ok_or_else(|| denied("the name of this user or of one of its groups is not UTF-8"))
}

fn denied(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::PolicyDenied, message.into())
}

/// Whether user ids are mapped: not in the namespace that the system begins with, which maps each id to itself.
fn in_user_namespace() -> io::Result<bool> {
    match cfg!(target_os = "linux") {
        true => std::fs::read_to_string("/proc/self/uid_map").map(|map| !is_initial(&map)),
        false => Ok(false),
    }
}

fn is_initial(map: &str) -> bool {
    let fields: Vec<_> = map.split_whitespace().collect();
    fields == ["0", "0", "4294967295"]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_identity_map_is_that_of_the_system() {
        assert!(is_initial("         0          0 4294967295\n"));
        for map in ["", "0 1000 1\n", "1000 1000 1\n", "0 0 1\n", "0 0 1000\n1000 1000 4294966295\n"] {
            assert!(!is_initial(map), "{map:?}");
        }
    }
}
