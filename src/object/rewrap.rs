//! Rotation: new wrapped keys for the same data keys. Bodies are not read.

use super::blocking::blocking;
use super::error::{self, not_supported};
use super::{EncryptedStore, sidecar};
use crate::envelope::parts::{self, Header};
use crate::envelope::{Rewrap, RewrapOutcome};
use crate::error::Error;
use crate::key::{KekId, KeyName};
use futures_util::stream::{self, BoxStream, StreamExt};
use object_store::path::Path;
use object_store::{GetOptions, ObjectStore, PutMode};
use std::sync::Arc;

/// How many objects are rewrapped at once.
const AT_ONCE: usize = 8;
/// How often it is tried where another rewraps the same object.
const ATTEMPTS: usize = 3;

/// What became of one object.
#[derive(Debug)]
#[non_exhaustive]
pub struct Rewrapped {
    /// The object.
    pub location: Path,
    /// What was done, or why not. The object is then as it was.
    pub outcome: object_store::Result<RewrapOutcome>,
    /// The versions of master keys that it is under now; none under a customer's own key.
    pub keks: Vec<KekId>,
}

impl EncryptedStore {
    /// Replaces the wrapped keys of all objects below `prefix`: those under older versions of a key by ones under its
    /// current version, or with `to` all by ones under that key. Only headers and wrapped keys are read. Objects that
    /// are under a customer's own key are left as they are.
    ///
    /// One that fails does not stop the others: the errors of the stream itself are those of the listing. It can be
    /// done again, and does nothing twice.
    ///
    /// Only wrapped keys that are kept apart ([`Builder::detached_slots`](super::Builder::detached_slots)) can be
    /// replaced: objects inside cannot be changed in part. An object that holds its own gets `NotSupported`; copied onto
    /// itself it is encrypted anew, under the current version. So does a store inside without conditional updates,
    /// unless [`danger_unconditional_rewrap`](super::Builder::danger_unconditional_rewrap) is set.
    ///
    /// ```
    /// # #[cfg(feature = "testkit")] {
    /// # use keyward::{AlgorithmChoice, KeyAdmin, KeyName, object::{EncryptedStore, Sse}};
    /// # use object_store::{ObjectStoreExt, memory::InMemory, path::Path};
    /// # use std::sync::Arc;
    /// use futures_util::TryStreamExt;
    /// # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    /// # runtime.block_on(async {
    /// # let provider = Arc::new(keyward::testkit::MemoryProvider::new());
    /// # let key: KeyName = "payments".parse()?;
    /// # provider.create_key(&key, AlgorithmChoice::Auto)?;
    /// let store = EncryptedStore::builder(Arc::new(InMemory::new()))
    ///     .provider(provider.clone())
    ///     .default_sse(Sse::kms(key.clone()))
    ///     .detached_slots()
    ///     .build()?;
    /// store.put(&Path::from("a"), "hello".into()).await?;
    /// let newest = provider.rotate_key(&key, None)?;
    /// let done: Vec<_> = store.rewrap(None, None).try_collect().await?;
    /// assert_eq!(done[0].keks, [newest.kek_id]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn rewrap(
        &self,
        prefix: Option<&Path>,
        to: Option<&KeyName>,
    ) -> BoxStream<'static, object_store::Result<Rewrapped>> {
        if !self.settings.detached {
            let why = "this store keeps wrapped keys in its objects: copy an object onto itself to encrypt it anew";
            return stream::once(std::future::ready(Err(not_supported(why)))).boxed();
        }
        let (store, to) = (self.clone(), to.cloned());
        self.list(prefix)
            .map(move |meta| {
                let (store, to) = (store.clone(), to.clone());
                async move {
                    let location = meta?.location;
                    Ok(match store.rewrap_one(&location, to.as_ref()).await {
                        Ok((outcome, keks)) => Rewrapped { location, outcome: Ok(outcome), keks },
                        Err(error) => Rewrapped { location, outcome: Err(error), keks: Vec::new() },
                    })
                }
            })
            .buffered(AT_ONCE)
            .boxed()
    }

    async fn rewrap_one(
        &self,
        location: &Path,
        to: Option<&KeyName>,
    ) -> object_store::Result<(RewrapOutcome, Vec<KekId>)> {
        let header = Arc::new(self.header(location).await?);
        if !header.is_detached() {
            let entries = header.claimed_entries(None).map_err(error::at(location))?;
            if entries.iter().all(parts::is_customers) {
                return Ok((RewrapOutcome::Unchanged, Vec::new()));
            }
            return Err(not_supported("this object holds its wrapped keys itself: copy it onto itself"));
        }
        let mut attempt = 1;
        loop {
            let (slots, version) = sidecar::read(&*self.inner, &header.message_id()).await?;
            let (settings, header_, to) = (Arc::clone(&self.settings), Arc::clone(&header), to.cloned());
            let (new, keks) = blocking(location, move || {
                let old = settings.claimed_keks(&header_, Some(&slots))?;
                if old.is_empty() {
                    return Ok((None, old));
                }
                let rewrap = Rewrap::new(settings.provider_for(false)?).any_context();
                let rewrap = match &to {
                    Some(key) => rewrap.to(key),
                    None => rewrap,
                };
                let Some(new) = header_.rewrap(&rewrap, &slots)? else { return Ok((None, old)) };
                let keks = settings.claimed_keks(&header_, Some(&new))?;
                let entries = keks.iter().filter(|kek| !old.contains(kek)).count();
                Ok((Some((new, entries)), keks))
            })
            .await?;
            let Some((new, entries)) = new else { return Ok((RewrapOutcome::Unchanged, keks)) };
            let mode = PutMode::Update(version);
            let written = sidecar::write(&*self.inner, &header.message_id(), &new, mode).await;
            let outcome = RewrapOutcome::Rewrapped { generation: new.generation(), entries };
            match written {
                Ok(()) => return Ok((outcome, keks)),
                // Another was faster: what it wrote may be all that there is to do.
                Err(object_store::Error::Precondition { .. }) if attempt < ATTEMPTS => attempt += 1,
                Err(object_store::Error::NotImplemented { .. } | object_store::Error::NotSupported { .. }) => {
                    if !self.settings.unconditional_rewrap {
                        return Err(not_supported(
                            "the store inside cannot replace wrapped keys only where they are as they were read",
                        ));
                    }
                    sidecar::write(&*self.inner, &header.message_id(), &new, PutMode::Overwrite).await?;
                    return Ok((outcome, keks));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The header of an object, which is one of this store at this path.
    pub(super) async fn header(&self, location: &Path) -> object_store::Result<Header> {
        let answer = self.ask(location, GetOptions::default()).await?;
        let head = self.head_bytes(&answer, location).await?;
        let checked = || -> Result<Header, Error> {
            let header = Header::parse(&head, self.settings.header_len)?;
            self.settings.check(location, &header, None)?;
            Ok(header)
        };
        checked().map_err(error::at(location))
    }
}
