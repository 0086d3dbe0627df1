//! The policies and the audit log that the configuration names, around the tokens.

use crate::app::{App, Provider};
use crate::caller::{Rules, caller};
use keyward::audit::{AuditLog, AuditOptions};
use keyward::key::HeadKeeper;
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
    let rules = Rules { has_policies: config.policy.is_some(), container_uids: config.container_uids };
    let mut governed = Governed::new(inner, caller(rules)?);
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
