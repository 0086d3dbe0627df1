//! How often a provider wraps under AES-GCM keys, which bear only so many random IVs.

use crate::error::{Error, ErrorKind, Result};
use crate::key::KekId;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// How often this provider wrapped under each AES-GCM key version.
#[derive(Debug)]
pub(super) struct WrapCounter {
    pub(super) max: u64,
    counts: Mutex<HashMap<KekId, u64>>,
}

impl WrapCounter {
    /// With random 96-bit IVs, the bound on invocations under one key (NIST SP 800-38D, 8.3).
    pub(super) const MAX: u64 = 1 << 32;

    pub(super) fn count(&self, id: KekId) -> Result<()> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(id).or_insert(0);
        if *count >= self.max {
            return Err(Error::new(
                ErrorKind::LimitExceeded,
                format!("the limit of {} AES-GCM wraps under KEK {id} is reached", self.max),
            )
            .with_hint("rotate the key; a new version starts from zero"));
        }
        *count += 1;
        Ok(())
    }
}

impl Default for WrapCounter {
    fn default() -> Self {
        Self { max: Self::MAX, counts: Mutex::default() }
    }
}
