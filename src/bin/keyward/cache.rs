//! Data keys that a run over many files keeps: `--cache-data-keys`, and the table `[cache]`.

pub(crate) mod table;

use crate::app::{App, Provider};
use clap::Args;
use keyward::Encryptor;
use keyward::provider::Cached;

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

/// The provider, with data keys kept around it where that is asked for.
pub(crate) fn keep(app: &App, provider: Provider, args: CacheArgs) -> keyward::Result<Provider> {
    if !args.cache_data_keys {
        return Ok(provider);
    }
    Ok(Box::new(Cached::new(provider, app.config().cache.unwrap_or_default().limits()?)))
}
