//! Uploads in parts: callers cut the plaintext where they like, the store inside gets parts of one length.
//!
//! Parts are sealed in their order, one at a time, by whoever waits for one: whoever waits for a later part seals the
//! earlier ones on the way. So it does not matter in which order they are waited for. The parts inside are then on
//! their way at the same time.

use super::blocking::blocking;
use super::error::{self, STORE};
use super::mode::{Encryption, OpenWith, Sse};
use super::sealer::Sealer;
use super::write::{Sidecar, message_id, writable};
use super::{EncryptedStore, sidecar};
use crate::envelope::body::BodyKey;
use crate::envelope::parts;
use async_trait::async_trait;
use futures_util::future::try_join_all;
use object_store::path::Path;
use object_store::{MultipartUpload, PutMultipartOptions, PutPayload, PutResult, UploadPart};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// S3 takes no shorter parts, but for the last.
const MIN_PART: usize = 5 << 20;

impl EncryptedStore {
    pub(super) async fn upload(
        &self,
        location: &Path,
        mut options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        writable(location)?;
        let sse = self.settings.choose(options.extensions.remove::<Sse>()).map_err(error::at(location))?;
        Ok(Box::new(self.upload_to(location, location, sse, options).await?))
    }

    /// An upload to one name that is bound to another.
    pub(super) async fn upload_to(
        &self,
        location: &Path,
        bound: &Path,
        sse: Sse,
        mut options: PutMultipartOptions,
    ) -> object_store::Result<Upload> {
        options.extensions.remove::<OpenWith>();
        options.attributes = Encryption::hide(&options.attributes);
        let (settings, bound) = (Arc::clone(&self.settings), bound.clone());
        // Nobody knows how long it will be, so its data key is its own.
        let begun = blocking(location, move || settings.begin(&bound, &sse, None)).await?;
        let inner = self.inner.put_multipart_opts(location, options).await?;
        let sidecar = Sidecar { message_id: message_id(&begun.bytes), slots: begun.slots };
        let sealing =
            Sealing { inner, sealer: Some(Stage::Begun(begun.bytes, begun.key)), taken: 0, sent: BTreeMap::new() };
        let shared = Shared {
            location: location.clone(),
            queue: Mutex::default(),
            done: AtomicUsize::new(0),
            sealing: tokio::sync::Mutex::new(sealing),
        };
        Ok(Upload { store: self.clone(), shared: Arc::new(shared), sidecar, sidecar_written: false, parts: 0 })
    }
}

/// An upload in parts.
pub(super) struct Upload {
    store: EncryptedStore,
    shared: Arc<Shared>,
    sidecar: Sidecar,
    sidecar_written: bool,
    /// How many parts there are.
    parts: usize,
}

struct Shared {
    location: Path,
    /// Parts that are not sealed yet, in order.
    queue: Mutex<VecDeque<PutPayload>>,
    /// How many parts are sealed and uploaded.
    done: AtomicUsize,
    sealing: tokio::sync::Mutex<Sealing>,
}

struct Sealing {
    inner: Box<dyn MultipartUpload>,
    /// None after it has failed, or was given up half way.
    sealer: Option<Stage>,
    /// How many parts were taken from the queue.
    taken: usize,
    /// The parts inside that a part of the caller's completed.
    sent: BTreeMap<usize, Vec<UploadPart>>,
}

enum Stage {
    /// The first part is still to come, which says how long the parts inside are.
    Begun(Vec<u8>, BodyKey),
    Sealing(Box<Sealer>),
}

impl Stage {
    /// The sealer, where the first part is so long.
    fn sealer(self, first: usize) -> Box<Sealer> {
        match self {
            Self::Sealing(sealer) => sealer,
            Self::Begun(head, key) => Box::new(Sealer::new(key, &head, part_len(first, head.len()))),
        }
    }
}

impl Shared {
    /// Seals all parts up to this one, and waits until what it completed is uploaded.
    async fn put(self: Arc<Self>, number: usize) -> object_store::Result<()> {
        let sent = {
            let mut sealing = self.sealing.lock().await;
            while sealing.taken <= number {
                self.seal_next(&mut sealing).await?;
            }
            sealing.sent.remove(&number).unwrap_or_default()
        };
        try_join_all(sent).await?;
        self.done.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    async fn seal_next(&self, sealing: &mut Sealing) -> object_store::Result<()> {
        let next = self.queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        // Where this is dropped before it is done, what was sealed is gone, and so the upload.
        let (Some(payload), Some(stage)) = (next, sealing.sealer.take()) else { return Err(incomplete()) };
        let (sealer, cut) = blocking(&self.location, move || {
            let mut sealer = stage.sealer(payload.content_length());
            let mut cut = Vec::new();
            for piece in payload.iter() {
                cut.extend(sealer.push(piece)?);
            }
            Ok((sealer, cut))
        })
        .await?;
        sealing.sealer = Some(Stage::Sealing(sealer));
        let sent = cut.into_iter().map(|part| sealing.inner.put_part(part.into())).collect();
        sealing.sent.insert(sealing.taken, sent);
        sealing.taken += 1;
        Ok(())
    }
}

/// The length of the parts inside: as long as what the first part becomes, so that there are no more of them than of the
/// caller's.
fn part_len(first: usize, head: usize) -> usize {
    let sealed = parts::sealed_len(first as u64).and_then(|len| usize::try_from(len).ok()).unwrap_or(usize::MAX);
    sealed.saturating_add(head).max(MIN_PART)
}

fn incomplete() -> object_store::Error {
    object_store::Error::Generic { store: STORE, source: "not all parts of the upload were uploaded".into() }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let number = self.parts;
        self.parts += 1;
        self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner).push_back(data);
        Box::pin(Arc::clone(&self.shared).put(number))
    }

    async fn complete(&mut self) -> object_store::Result<PutResult> {
        // An object with a part missing would be refused by every reader: better here than there.
        if self.shared.done.load(Ordering::Relaxed) != self.parts {
            return Err(incomplete());
        }
        let mut sealing = self.shared.sealing.lock().await;
        let stage = sealing.sealer.take().ok_or_else(incomplete)?;
        let cut = blocking(&self.shared.location, move || stage.sealer(0).finish()).await?;
        let last: Vec<_> = cut.into_iter().map(|part| sealing.inner.put_part(part.into())).collect();
        try_join_all(last).await?;
        self.sidecar_written = self.sidecar.slots.is_some();
        let old = self.store.write_sidecar(&self.shared.location, &self.sidecar).await?;
        let result = sealing.inner.complete().await?;
        self.store.replaced(old).await;
        Ok(result)
    }

    async fn abort(&mut self) -> object_store::Result<()> {
        let mut sealing = self.shared.sealing.lock().await;
        sealing.sealer = None;
        sealing.inner.abort().await?;
        // It cannot be completed any more. Where it was before, its keys are needed.
        let location = &self.shared.location;
        if std::mem::take(&mut self.sidecar_written)
            && let Ok(now) = self.store.present(location).await
            && now.is_none_or(|header| header.message_id() != self.sidecar.message_id)
        {
            sidecar::remove(&*self.store.inner, &self.sidecar.message_id).await;
        }
        Ok(())
    }
}

impl Upload {
    pub(super) fn sidecar(&self) -> &Sidecar {
        &self.sidecar
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload")
            .field("location", &self.shared.location)
            .field("parts", &self.parts)
            .finish_non_exhaustive()
    }
}
