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
use crate::envelope::parts;
use async_trait::async_trait;
use bytes::Bytes;
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
        let sidecar = Sidecar { message_id: message_id(&begun.head), slots: begun.slots };
        let sealing = Sealing {
            inner,
            sealer: Some(Sealer::new(begun.key)),
            sealed: begun.head,
            part_len: None,
            taken: 0,
            sent: BTreeMap::new(),
        };
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
    sealer: Option<Sealer>,
    /// What was sealed and not sent.
    sealed: Vec<u8>,
    /// The length of the parts inside.
    part_len: Option<usize>,
    /// How many parts were taken from the queue.
    taken: usize,
    /// The parts inside that a part of the caller's completed.
    sent: BTreeMap<usize, Vec<UploadPart>>,
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
        let (Some(payload), Some(mut sealer)) = (next, sealing.sealer.take()) else { return Err(incomplete()) };
        let len = payload.content_length();
        let part_len = *sealing.part_len.get_or_insert_with(|| part_len(len, sealing.sealed.len()));
        let mut sealed = std::mem::take(&mut sealing.sealed);
        let (sealer, cut, rest) = blocking(&self.location, move || {
            let mut cut = Vec::new();
            for piece in payload.iter() {
                let mut piece = &piece[..];
                while !piece.is_empty() {
                    // As much as a part inside may still lack: what is sealed does not grow beyond it by much.
                    let (now, later) = piece.split_at(piece.len().min((part_len.saturating_sub(sealed.len())).max(1)));
                    sealed.reserve(part_len.saturating_sub(sealed.len()) + crate::envelope::body::SEALED_CHUNK_LEN);
                    sealer.push(now, &mut sealed)?;
                    cut_off(&mut sealed, part_len, &mut cut);
                    piece = later;
                }
            }
            Ok((sealer, cut, sealed))
        })
        .await?;
        sealing.sealer = Some(sealer);
        sealing.sealed = rest;
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

/// Cuts off what is long enough for a part.
fn cut_off(sealed: &mut Vec<u8>, part_len: usize, cut: &mut Vec<Bytes>) {
    while sealed.len() >= part_len {
        let rest = sealed.split_off(part_len);
        cut.push(std::mem::replace(sealed, rest).into());
    }
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
        let sealer = sealing.sealer.take().ok_or_else(incomplete)?;
        let mut sealed = std::mem::take(&mut sealing.sealed);
        let part_len = sealing.part_len.unwrap_or(usize::MAX);
        let cut = blocking(&self.shared.location, move || {
            let mut cut = Vec::new();
            sealer.finish(&mut sealed)?;
            cut_off(&mut sealed, part_len, &mut cut);
            if !sealed.is_empty() {
                cut.push(sealed.into());
            }
            Ok(cut)
        })
        .await?;
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
