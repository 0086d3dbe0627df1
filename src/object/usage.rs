//! Which versions of master keys objects are under, so that an operator knows when one can go.

use super::blocking::blocking;
use super::{EncryptedStore, error, sidecar};
use crate::error::ErrorKind;
use crate::key::{KekId, KeyName, KeyRef, KeyVersion};
use futures_util::stream::StreamExt;
use object_store::ObjectStore;
use object_store::path::Path;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How many objects are looked at at once.
const AT_ONCE: usize = 16;

/// What [`EncryptedStore::usage`] found.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Usage {
    /// The versions that objects are under. An object under several is counted for each.
    pub keks: BTreeMap<KekId, KeyUse>,
    /// How many objects are under customers' own keys.
    pub customer: u64,
    /// Objects that cannot be told, and why. Each may be under any version.
    pub unknown: Vec<(Path, object_store::Error)>,
}

/// How much one version of a key is used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyUse {
    /// Which it is, where the provider knows it.
    pub key: Option<(KeyName, KeyVersion)>,
    /// How many objects are under it.
    pub objects: u64,
}

impl EncryptedStore {
    /// Counts which versions of master keys the objects below `prefix` are under. Only headers and wrapped keys are
    /// read, and no data key is unwrapped.
    ///
    /// # Errors
    /// Those of the listing. What else fails is [`unknown`](Usage::unknown).
    pub async fn usage(&self, prefix: Option<&Path>) -> object_store::Result<Usage> {
        let store = self.clone();
        let mut found = self
            .list(prefix)
            .map(move |meta| {
                let store = store.clone();
                async move {
                    let location = meta?.location;
                    let keks = store.keks_of(&location).await;
                    Ok::<_, object_store::Error>((location, keks))
                }
            })
            .buffer_unordered(AT_ONCE);
        let mut usage = Usage::default();
        while let Some(one) = found.next().await {
            match one? {
                (_, Ok(keks)) if keks.is_empty() => usage.customer += 1,
                (_, Ok(keks)) => keks.into_iter().for_each(|kek| usage.keks.entry(kek).or_default().objects += 1),
                (location, Err(error)) => usage.unknown.push((location, error)),
            }
        }
        let (settings, keks) = (Arc::clone(&self.settings), usage.keks.keys().copied().collect::<Vec<_>>());
        let described = blocking(prefix.unwrap_or(&Path::default()), move || {
            let Ok(provider) = settings.provider_for(false) else { return Ok(Vec::new()) };
            keks.into_iter()
                .map(|kek| match provider.describe_key(KeyRef::Kek(kek)) {
                    Ok(key) => Ok((kek, Some((key.name, key.version)))),
                    // Of another token, or destroyed.
                    Err(error) if matches!(error.kind(), ErrorKind::KeyNotFound | ErrorKind::PolicyDenied) => {
                        Ok((kek, None))
                    }
                    Err(error) => Err(error),
                })
                .collect()
        })
        .await?;
        for (kek, key) in described {
            usage.keks.entry(kek).or_default().key = key;
        }
        Ok(usage)
    }

    async fn keks_of(&self, location: &Path) -> object_store::Result<Vec<KekId>> {
        let header = self.header(location).await?;
        let slots = match header.is_detached() {
            true => Some(sidecar::read(&*self.inner, &header.message_id()).await?.0),
            false => None,
        };
        self.settings.claimed_keks(&header, slots.as_ref()).map_err(error::at(location))
    }
}
