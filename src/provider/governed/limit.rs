//! This host's share of the wraps that AES-GCM allows under one key.

use crate::audit::AuditLog;
use crate::error::{Error, ErrorKind, Result};
use crate::key::{KekId, KeyDescription};
use std::collections::HashSet;
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};

/// How often this host may wrap under one AES-GCM key version, by the count that the audit log keeps.
pub(super) struct WrapLimit {
    max: u64,
    /// The keys of which a warning said that half is used up.
    warned: Mutex<HashSet<KekId>>,
}

impl WrapLimit {
    /// With random 96-bit IVs, the bound on invocations under one key (NIST SP 800-38D, 8.3).
    pub(super) const MAX: u64 = 1 << 32;

    /// What is left of that bound for wraps that the log does not show: an eighth. An attacker who cuts the log off hides
    /// those after its last anchor, which come from at most 2^20 lines each time, and the reserve has room for 512 times.
    const RESERVE: u64 = Self::MAX / 8;

    pub(super) fn new(max: u64) -> Self {
        Self { max: max.min(Self::MAX - Self::RESERVE), warned: Mutex::default() }
    }

    /// The share of each of this many hosts, without its part of the reserve.
    pub(super) fn share_of(hosts: NonZeroU32) -> Self {
        let share = Self::MAX / u64::from(hosts.get());
        Self::new(share - share / 8)
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
        if count > self.max / 2 && self.warned.lock().unwrap_or_else(PoisonError::into_inner).insert(key.kek_id) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_share_leaves_room_for_what_a_cut_log_hides() {
        let max = |hosts: u32| WrapLimit::share_of(hosts.try_into().unwrap()).max;
        assert_eq!((max(1), max(2)), ((1 << 32) - (1 << 29), (1 << 31) - (1 << 28)));
        assert_eq!((max(u32::MAX), WrapLimit::new(u64::MAX).max, WrapLimit::new(3).max), (1, max(1), 3));
    }
}
