//! Putting objects in one piece, and what all writes have in common.

use super::blocking::blocking;
use super::error;
use super::mode::{Encryption, OpenWith, Sse, SseKey};
use super::sealer::Sealer;
use super::{EncryptedStore, Settings, sidecar};
use crate::envelope::Encryptor;
use crate::envelope::parts::{self, NewHead};
use crate::error::{Error, ErrorKind, Result};
use crate::key::KeyProvider;
use crate::provider::Kept;
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{MultipartUpload, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult};
use std::sync::Arc;

/// What is not longer is put in one piece. What is longer goes to the store inside in parts, where nothing is asked of
/// the object that is there: it is sealed while it is sent, and never all in memory twice.
const WHOLE: usize = 16 << 20;
/// The length of these parts.
const PART: usize = 8 << 20;
/// How many of them are on their way at once.
const AT_ONCE: usize = 3;

/// What is not longer is sealed at once, where its key is in memory: 20 µs or so.
const AT_ONCE_LEN: usize = 64 << 10;

/// The wrapped keys of a new object, to be stored before it, and those of the object that it replaces.
pub(super) struct Sidecar {
    pub(super) message_id: [u8; 16],
    pub(super) slots: Option<crate::envelope::DetachedSlots>,
}

impl Settings {
    /// Begins an object. Blocks.
    pub(super) fn begin(&self, bound: &Path, sse: &Sse, len: Option<u64>) -> Result<NewHead> {
        self.begin_with(bound, sse, len, || self.provider_for(sse.shares_data_keys()))
    }

    fn begin_with<'a>(
        &'a self,
        bound: &Path,
        sse: &'a Sse,
        len: Option<u64>,
        provider: impl FnOnce() -> Result<&'a dyn KeyProvider>,
    ) -> Result<NewHead> {
        let context = self.context_of(bound, sse)?;
        let shares = sse.shares_data_keys();
        let named;
        let encryptor = match &sse.key {
            SseKey::Customer(key) => Encryptor::with_customer_key(key),
            SseKey::Named(name) => Encryptor::new(provider()?, name),
            SseKey::Managed => {
                let missing =
                    || Error::new(ErrorKind::InvalidArgument, "SSE-S3 needs a managed key, and the store has none");
                named = self.managed.as_ref().ok_or_else(missing)?.name()?;
                // As readers demand of SSE-S3.
                Encryptor::new(provider()?, &named).symmetric_only()
            }
        };
        let encryptor = match sse.source {
            Some((source, origin)) => encryptor.moved_from(source, origin),
            None => encryptor,
        };
        // Only what says that it shares gets a data key that others have, too.
        let encryptor = match len {
            Some(len) if shares => encryptor.max_len(len),
            _ => encryptor,
        };
        encryptor.begin_parts(&context, self.header_len, self.detached)
    }

    /// The whole object. Blocks.
    fn seal(&self, bound: &Path, sse: &Sse, payload: &PutPayload) -> Result<Sealed> {
        finish(self.begin(bound, sse, Some(payload.content_length() as u64))?, payload)
    }

    /// The same where it is short and its key is in memory already: that takes less than to have another thread do it.
    /// None in all other cases, also where it fails. Waits for nobody.
    fn seal_at_once(&self, bound: &Path, sse: &Sse, payload: &PutPayload) -> Option<Sealed> {
        let len = payload.content_length();
        let is_managed_and_unknown =
            || matches!(sse.key, SseKey::Managed) && self.managed.as_ref().is_none_or(|key| key.name.get().is_none());
        if len > AT_ONCE_LEN || is_managed_and_unknown() {
            return None;
        }
        let kept = match (&sse.key, &self.cached) {
            (SseKey::Customer(_), _) => None,
            (_, Some(cached)) if sse.shares_data_keys() => Some(Kept(cached)),
            _ => return None,
        };
        // A customer's key asks no provider.
        let provider = || kept.as_ref().map(|kept| kept as &dyn KeyProvider).ok_or_else(Error::not_authentic);
        finish(self.begin_with(bound, sse, Some(len as u64), provider).ok()?, payload).ok()
    }
}

/// An object that is sealed, and its wrapped keys.
type Sealed = (PutPayload, Sidecar);

/// Seals what was begun.
fn finish(begun: NewHead, payload: &PutPayload) -> Result<Sealed> {
    let len = payload.content_length();
    let too_long = || Error::new(ErrorKind::LimitExceeded, "a plaintext of this length does not fit into memory");
    let sealed = parts::sealed_len(len as u64).and_then(|len| usize::try_from(len).ok()).ok_or_else(too_long)?;
    let message_id = message_id(&begun.bytes);
    let mut sealer = Sealer::new(begun.key, &begun.bytes, begun.bytes.len() + sealed);
    let mut out = Vec::with_capacity(1);
    for piece in payload.iter() {
        out.extend(sealer.push(piece)?);
    }
    out.extend(sealer.finish()?);
    Ok((out.into_iter().collect(), Sidecar { message_id, slots: begun.slots }))
}

/// The message id in a header that was just made.
pub(super) fn message_id(head: &[u8]) -> [u8; 16] {
    let mut id = [0; 16];
    id.copy_from_slice(&head[12..28]);
    id
}

impl EncryptedStore {
    pub(super) async fn put_object(
        &self,
        location: &Path,
        payload: PutPayload,
        mut options: PutOptions,
    ) -> object_store::Result<PutResult> {
        writable(location)?;
        let sse = self.settings.choose(options.extensions.remove::<Sse>()).map_err(error::at(location))?;
        if payload.content_length() > WHOLE && options.mode == PutMode::Overwrite {
            return self.put_long(location, payload, sse, options).await;
        }
        options.extensions.remove::<OpenWith>();
        options.attributes = Encryption::hide(&options.attributes);
        let (bytes, sidecar) = match self.settings.seal_at_once(location, &sse, &payload) {
            Some(sealed) => sealed,
            None => {
                let (settings, bound) = (Arc::clone(&self.settings), location.clone());
                blocking(location, move || settings.seal(&bound, &sse, &payload)).await?
            }
        };
        let old = self.write_sidecar(location, &sidecar).await?;
        let is_unconditional = matches!(options.mode, PutMode::Overwrite);
        match self.inner.put_opts(location, bytes, options).await {
            Ok(result) => {
                self.replaced(old).await;
                Ok(result)
            }
            Err(error) => {
                if !is_unconditional {
                    self.undo(location, &sidecar, &error).await;
                }
                Err(error)
            }
        }
    }

    async fn put_long(
        &self,
        location: &Path,
        payload: PutPayload,
        sse: Sse,
        options: PutOptions,
    ) -> object_store::Result<PutResult> {
        let PutOptions { tags, attributes, extensions, .. } = options;
        let options = PutMultipartOptions { tags, attributes, extensions };
        let mut upload = self.upload_to(location, location, sse, options).await?;
        let pieces = payload.into_iter().flat_map(|piece| {
            let cuts = (0..piece.len()).step_by(PART);
            cuts.map(move |at| piece.slice(at..piece.len().min(at + PART))).collect::<Vec<_>>()
        });
        let parts: Vec<_> = pieces.map(|piece| Ok(piece.into())).collect();
        let sent = send(stream::iter(parts).boxed(), &mut upload);
        let answer = match sent.await {
            Ok(()) => upload.complete().await,
            Err(error) => Err(error),
        };
        if answer.is_err() {
            // What was uploaded is nobody's, and costs.
            drop(upload.abort().await);
        }
        answer
    }

    /// Stores the wrapped keys of a new object, where they are kept apart; the message id of the object that is there.
    pub(super) async fn write_sidecar(
        &self,
        location: &Path,
        sidecar: &Sidecar,
    ) -> object_store::Result<Option<[u8; 16]>> {
        let Some(slots) = &sidecar.slots else { return Ok(None) };
        let old = self.present(location).await?.filter(parts::Header::is_detached).map(|header| header.message_id());
        sidecar::write(&*self.inner, &sidecar.message_id, slots, PutMode::Overwrite).await?;
        Ok(old)
    }

    /// After an object was replaced: nobody can find the wrapped keys of the old one any more.
    pub(super) async fn replaced(&self, old: Option<[u8; 16]>) {
        if let Some(id) = old {
            sidecar::remove(&*self.inner, &id).await;
        }
    }

    /// After a conditional write failed: its wrapped keys go, but only where it is certain that the object is not
    /// there. An answer that was lost on the way, and the retry that finds the object of the first try, look the same
    /// from here; wrapped keys too many harm nobody, and one too few loses an object.
    pub(super) async fn undo(&self, location: &Path, sidecar: &Sidecar, error: &object_store::Error) {
        use object_store::Error as E;
        let refused = matches!(
            error,
            E::AlreadyExists { .. } | E::Precondition { .. } | E::NotImplemented { .. } | E::NotSupported { .. }
        );
        if sidecar.slots.is_none() || !refused {
            return;
        }
        match self.present(location).await {
            Ok(Some(header)) if header.message_id() == sidecar.message_id => {}
            Ok(_) => sidecar::remove(&*self.inner, &sidecar.message_id).await,
            Err(_) => {}
        }
    }
}

/// Uploads all parts, several at once, each as soon as it is sealed.
pub(super) async fn send(
    parts: BoxStream<'static, object_store::Result<PutPayload>>,
    upload: &mut impl MultipartUpload,
) -> object_store::Result<()> {
    parts.map_ok(|part| upload.put_part(part)).try_buffer_unordered(AT_ONCE).try_collect().await
}

/// Whether callers may write to this name.
pub(super) fn writable(location: &Path) -> object_store::Result<()> {
    if sidecar::is_hidden(location) {
        let source = "names that begin with .keyward/ belong to the store itself".into();
        return Err(object_store::Error::PermissionDenied { path: location.to_string(), source });
    }
    Ok(())
}
