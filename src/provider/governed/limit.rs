//! This host's share of the wraps that AES-GCM allows under one key.

use crate::audit::AuditLog;
use crate::error::{Error, ErrorKind, Result};
use crate::key::{KekId, KeyDescription};
use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

/// How often this host may wrap under one AES-GCM key version, by the count that the audit log keeps.
pub(super) struct WrapLimit {
    max: u64,
    /// Of which keys it was said that half is used up.
    told: Mutex<HashSet<KekId>>,
}

impl WrapLimit {
    /// With random 96-bit IVs, the bound on invocations under one key (NIST SP 800-38D, 8.3).
    pub(super) const MAX: u64 = 1 << 32;

    pub(super) fn new(max: u64) -> Self {
        Self { max: max.min(Self::MAX), told: Mutex::default() }
    }

    /// Before a wrap is recorded.
    pub(super) fn check_before(&self, log: &AuditLog, key: &KeyDescription) -> Result<()> {
        match log.wraps(key.kek_id) < self.max {
            true => Ok(()),
            false => Err(self.reached(key)),
        }
    }

    /// When it is recorded, and counted with those of all other processes.
    pub(super) fn check_after(&self, log: &AuditLog, key: &KeyDescription) -> Result<()> {
        let count = log.wraps(key.kek_id);
        if count > self.max {
            return Err(self.reached(key));
        }
        if count > self.max / 2 && self.told.lock().unwrap_or_else(PoisonError::into_inner).insert(key.kek_id) {
            let (key, max) = (key.label(), self.max);
            tracing::warn!(key, count, max, "more than half of this host's AES-GCM wraps are used up; rotate the key");
        }
        Ok(())
    }

    fn reached(&self, key: &KeyDescription) -> Error {
        let (label, id, max) = (key.label(), key.kek_id, self.max);
        let message = format!("this host's limit of {max} AES-GCM wraps under key '{label}' (KEK id {id}) is reached");
        Error::new(ErrorKind::LimitExceeded, message)
            .with_hint(format!("`keyward key rotate {}`: a new version starts from zero", key.name))
    }
}

impl Default for WrapLimit {
    fn default() -> Self {
        Self::new(Self::MAX)
    }
}
