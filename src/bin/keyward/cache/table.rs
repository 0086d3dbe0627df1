//! The table `[cache]` of the configuration file.

use keyward::provider::CacheLimits;
use serde::Deserialize;
use std::time::Duration;

/// The table `[cache]`: how much `--cache-data-keys` keeps, and how long.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Cache {
    /// How old a data key may become.
    max_age_seconds: u64,
    /// How many files one encrypts.
    max_messages: u32,
    /// How many are kept.
    max_keys: usize,
}

impl Default for Cache {
    /// A fraction of what the format allows (2^15 messages): who gets one data key gets so many files.
    fn default() -> Self {
        Self { max_age_seconds: 300, max_messages: 1000, max_keys: 1000 }
    }
}

impl Cache {
    /// # Errors
    /// `InvalidArgument` where one is beyond what the format or the library allows.
    pub(crate) fn limits(self) -> keyward::Result<CacheLimits> {
        CacheLimits::new(Duration::from_secs(self.max_age_seconds), self.max_messages, self.max_keys)
    }
}
