//! Data keys that a run over many files keeps: `--cache-data-keys`, and the table `[cache]`.

use crate::app::{App, Provider};
use clap::Args;
use keyward::Encryptor;
use keyward::provider::{CacheLimits, Cached};
use serde::Deserialize;
use std::time::Duration;

/// Where a command may ask for it. Nobody gets it unasked: files then share a data key.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct CacheArgs {
    /// Use data keys again, for many files of one run, in place of one for each file
    #[arg(long)]
    pub(crate) cache_data_keys: bool,
}

/// From this length on, a file has a data key of its own: one call more is nothing beside it.
const OWN_KEY: u64 = 1 << 30;

impl CacheArgs {
    /// The encryptor for a file of this length.
    pub(crate) fn encryptor<'a>(self, encryptor: &Encryptor<'a>, len: u64) -> Encryptor<'a> {
        match self.cache_data_keys && len < OWN_KEY {
            // It may grow until it is read; that many bytes are counted for it.
            true => encryptor.clone().max_len(2 * OWN_KEY),
            false => encryptor.clone(),
        }
    }
}

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

/// The provider, with data keys kept around it where that is asked for.
pub(crate) fn keep(app: &App, provider: Provider, args: CacheArgs) -> keyward::Result<Provider> {
    if !args.cache_data_keys {
        return Ok(provider);
    }
    Ok(Box::new(Cached::new(provider, app.config().cache.unwrap_or_default().limits()?)))
}
