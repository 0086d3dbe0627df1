//! The policies and the audit log that the configuration names, around the tokens.

use crate::app::{App, Provider};
use keyward::audit::{AuditLog, AuditOptions};
use keyward::key::{HeadKeeper, Principal};
use keyward::policy::Policies;
use keyward::provider::Governed;
use keyward::{Error, ErrorKind, Result};
use std::sync::Arc;

/// The tokens that keep the log, once it is known that they must.
pub(crate) type Keepers = Vec<Arc<dyn HeadKeeper>>;

/// The provider, governed where the configuration says so. `keepers` sign the log.
pub(crate) fn govern(app: &App, provider: Provider, keepers: impl FnOnce() -> Result<Keepers>) -> Result<Provider> {
    Ok(match rules(app, provider, keepers)? {
        Ok(governed) => Box::new(governed),
        Err(provider) => provider,
    })
}

/// Around anything that keys are asked of; what came in where nothing governs it.
pub(crate) fn rules<P>(
    app: &App,
    inner: P,
    keepers: impl FnOnce() -> Result<Keepers>,
) -> Result<Result<Governed<P>, P>> {
    let config = app.config();
    if config.policy.is_none() && config.audit.is_none() {
        return Ok(Err(inner));
    }
    let mut governed = Governed::new(inner, caller()?);
    if let Some(path) = &config.policy {
        governed = governed.policies(Policies::read(path)?);
    }
    if let Some(audit) = &config.audit {
        let mut options = app.audit_options(AuditOptions::default());
        if audit.sign {
            options = keepers()?.into_iter().fold(options, AuditOptions::keeper);
        }
        governed = governed.log(AuditLog::open(&audit.log, options).map_err(without_key)?);
        if let Some(hosts) = audit.hosts {
            governed = governed.hosts(hosts);
        }
        if let Some(max) = config.max_gcm_wraps {
            governed = governed.max_gcm_wraps(max);
        }
    }
    Ok(Ok(governed))
}

/// Adds what to do where no token has an audit key.
fn without_key(error: Error) -> Error {
    match error.kind() {
        ErrorKind::KeyNotFound => {
            error.with_hint("`keyward audit init` makes it; without it, set sign = false in the table [audit]")
        }
        _ => error,
    }
}

/// Who runs this program, by the user id that the kernel gives: the environment says what anybody likes.
fn caller() -> Result<Principal> {
    let id = uzers::get_current_uid();
    let Some(user) = uzers::get_user_by_uid(id) else { return Principal::new(format!("uid-{id}")) };
    let text = |name: &std::ffi::OsStr| {
        name.to_str().map(ToOwned::to_owned).ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidArgument,
                format!("the name of user {id} or of one of its groups is not UTF-8"),
            )
        })
    };
    let groups = user.groups().unwrap_or_default();
    let groups = groups.iter().map(|group| text(group.name())).collect::<Result<Vec<_>>>()?;
    Principal::new(text(user.name())?)?.in_groups(groups)
}
