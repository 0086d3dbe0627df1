//! The policies and the audit log that the configuration names, around the tokens.

use crate::app::{App, Provider};
use keyward::audit::{AuditLog, AuditOptions};
use keyward::hsm::AuditKey;
use keyward::key::Principal;
use keyward::policy::Policies;
use keyward::provider::Governed;
use keyward::token::Token;
use keyward::{Error, ErrorKind, Result};
use std::sync::Arc;

/// The provider, governed where the configuration says so. `token` signs the log.
pub(crate) fn govern(app: &App, provider: Provider, token: impl FnOnce() -> Result<Token>) -> Result<Provider> {
    Ok(match rules(app, provider, token)? {
        Ok(governed) => Box::new(governed),
        Err(provider) => provider,
    })
}

/// Around anything that keys are asked of; what came in where nothing governs it.
pub(crate) fn rules<P>(app: &App, inner: P, token: impl FnOnce() -> Result<Token>) -> Result<Result<Governed<P>, P>> {
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
        if audit.sign
            && let Some(key) = signer(token)?
        {
            options = options.signer(key.clone()).anchors(key);
        }
        governed = governed.log(AuditLog::open(&audit.log, options)?);
        if let Some(hosts) = audit.hosts {
            governed = governed.hosts(hosts);
        }
        if let Some(max) = config.max_gcm_wraps {
            governed = governed.max_gcm_wraps(max);
        }
    }
    Ok(Ok(governed))
}

/// The key that signs the log; none for now where the token is away, because others may serve.
fn signer(token: impl FnOnce() -> Result<Token>) -> Result<Option<Arc<AuditKey>>> {
    match token().and_then(AuditKey::open) {
        Ok(key) => Ok(Some(Arc::new(key))),
        Err(error) if error.kind() == ErrorKind::KeyNotFound => {
            Err(error.with_hint("`keyward audit init` makes it; without it, set sign = false in the table [audit]"))
        }
        Err(error) if error.kind().is_unavailable() => {
            tracing::warn!(%error, "the audit log is not signed for now");
            Ok(None)
        }
        Err(error) => Err(error),
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
