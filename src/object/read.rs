//! Getting objects: the header and what opens it first, and not a byte of the body before.

use super::EncryptedStore;
use super::blocking::blocking;
use super::body::{Body, open as open_chunks};
use super::error;
use super::mode::{Encryption, OpenWith, Sse};
use super::sidecar;
use super::source::{Pinned, Source};
use crate::envelope::body::{BodyKey, SEALED_CHUNK_LEN};
use crate::envelope::parts::{self, Header};
use crate::error::{Error, ErrorKind, Result};
use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use object_store::path::Path;
use object_store::{
    Attributes, Extensions, GetOptions, GetRange, GetResult, GetResultPayload, ObjectMeta, ObjectStoreExt,
};
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// A body that is not longer is read and opened together with its header, where that is a file that is open: one
/// change of threads instead of three.
const SHORT: u64 = 16 * SEALED_CHUNK_LEN as u64;

/// What the store inside answered to a request for a header.
pub(super) struct Answer {
    /// As it is inside.
    meta: ObjectMeta,
    attributes: Attributes,
    extensions: Extensions,
    source: Source,
    /// The header, where it was read already.
    head: Option<Bytes>,
}

/// An object whose key was found to be the right one.
pub(super) struct Opened {
    /// As callers see it.
    pub(super) meta: ObjectMeta,
    pub(super) attributes: Attributes,
    pub(super) extensions: Extensions,
    pub(super) encryption: Encryption,
    pub(super) body: Body,
    /// The whole plaintext, where the body was read as well.
    short: Option<Bytes>,
}

/// What came of a header in one go.
enum Step {
    Locked(Box<Header>),
    Open(Box<(BodyKey, Encryption, Option<Bytes>)>),
}

/// How often a get begins anew where the object was replaced between the requests for its header and its body. Those
/// are for one version of it, but the caller asked for none in particular.
pub(super) struct Attempts(u32);

impl Attempts {
    const MOST: u32 = 32;

    pub(super) fn new(options: &GetOptions) -> Self {
        // A condition of the caller's own fails for good.
        let has_own = options.if_match.is_some() || options.if_unmodified_since.is_some() || options.version.is_some();
        Self(if has_own { 0 } else { Self::MOST })
    }

    pub(super) fn again(&mut self, error: &object_store::Error) -> bool {
        let was_replaced = matches!(error, object_store::Error::Precondition { .. });
        let again = was_replaced && self.0 > 0;
        self.0 = self.0.saturating_sub(1);
        again
    }
}

impl EncryptedStore {
    pub(super) async fn get_object(&self, location: &Path, mut options: GetOptions) -> object_store::Result<GetResult> {
        let open = options.extensions.remove::<OpenWith>();
        let range = options.range.take();
        if std::mem::take(&mut options.head) {
            return self.head_only(location, options, range, open).await;
        }
        let mut attempts = Attempts::new(&options);
        loop {
            match self.get_once(location, options.clone(), range.clone(), open.clone()).await {
                Err(error) if attempts.again(&error) => {}
                answer => return answer,
            }
        }
    }

    async fn get_once(
        &self,
        location: &Path,
        options: GetOptions,
        range: Option<GetRange>,
        open: Option<OpenWith>,
    ) -> object_store::Result<GetResult> {
        let opened = self.open(location, options, open, range.is_none()).await?;
        let len = opened.meta.size;
        let range = resolve(range, len)?;
        let whole = range == (0..len);
        let payload = match opened.short {
            Some(bytes) if whole => stream::iter((!bytes.is_empty()).then_some(Ok(bytes))).boxed(),
            _ => opened.body.stream(range.clone(), whole).await?,
        };
        Ok(GetResult {
            payload: GetResultPayload::Stream(payload),
            meta: opened.meta,
            range,
            attributes: self.shown(opened.attributes, &opened.encryption),
            extensions: with(opened.extensions, opened.encryption),
        })
    }

    /// What the header says, without any key; with a customer's own key, that it is the right one.
    async fn head_only(
        &self,
        location: &Path,
        options: GetOptions,
        range: Option<GetRange>,
        open: Option<OpenWith>,
    ) -> object_store::Result<GetResult> {
        let (meta, attributes, extensions, encryption) = match open {
            Some(open) if open.customer.is_some() => {
                let opened = self.open(location, options, Some(open), false).await?;
                (opened.meta, opened.attributes, opened.extensions, opened.encryption)
            }
            _ => {
                let answer = self.ask(location, options).await?;
                let meta = self.meta_of(&answer.meta, location)?;
                let head = self.head_bytes(&answer, location).await?;
                let checked = || {
                    let header = Header::parse(&head, self.settings.header_len)?;
                    let mut encryption = self.settings.check(location, &header, open.as_ref())?;
                    encryption.keks = self.settings.claimed_keks(&header, None)?;
                    Ok(encryption)
                };
                let encryption = checked().map_err(error::at(location))?;
                (meta, answer.attributes, answer.extensions, encryption)
            }
        };
        Ok(GetResult {
            payload: GetResultPayload::Stream(stream::empty().boxed()),
            range: resolve(range, meta.size)?,
            attributes: self.shown(attributes, &encryption),
            extensions: with(extensions, encryption),
            meta,
        })
    }

    pub(super) async fn get_parts(&self, location: &Path, ranges: &[Range<u64>]) -> object_store::Result<Vec<Bytes>> {
        if ranges.is_empty() {
            return Ok(Vec::new());
        }
        let mut attempts = Attempts::new(&GetOptions::default());
        loop {
            match self.get_parts_once(location, ranges).await {
                Err(error) if attempts.again(&error) => {}
                answer => return answer,
            }
        }
    }

    async fn get_parts_once(&self, location: &Path, ranges: &[Range<u64>]) -> object_store::Result<Vec<Bytes>> {
        let opened = self.open(location, GetOptions::default(), None, false).await?;
        let resolve = |range: &Range<u64>| resolve(Some(GetRange::Bounded(range.clone())), opened.meta.size);
        let ranges = ranges.iter().map(resolve).collect::<object_store::Result<Vec<_>>>()?;
        opened.body.parts(&ranges).await
    }

    /// Asks the store inside for exactly a header.
    pub(super) async fn ask(&self, location: &Path, mut options: GetOptions) -> object_store::Result<Answer> {
        if sidecar::is_hidden(location) {
            return Err(error::not_found(location));
        }
        // No key of a customer goes to the store inside.
        options.extensions.remove::<Sse>();
        options.range = Some(GetRange::Bounded(0..parts::head_len(self.settings.header_len)));
        let answer = self.inner.get_opts(location, options.clone()).await?;
        let pinned = Pinned::new(&self.inner, location, &answer, &options);
        let GetResult { payload, meta, attributes, extensions, range } = answer;
        let (source, head) = match payload {
            GetResultPayload::File(file, _) => (Source::File(Arc::new(file)), None),
            GetResultPayload::Stream(stream) => {
                let head = object_store::collect_bytes(stream, Some(range.end - range.start)).await?;
                (Source::Store(Arc::new(pinned)), Some(head))
            }
        };
        Ok(Answer { meta, attributes, extensions, source, head })
    }

    /// The header of the object that is there now; none where there is none, or none of this store.
    pub(super) async fn present(&self, location: &Path) -> object_store::Result<Option<Header>> {
        let answer = match self.ask(location, GetOptions::default()).await {
            Ok(answer) => answer,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => {
                // Some stores refuse to give a part of an object that is too short, or empty.
                return match self.inner.head(location).await {
                    Ok(inside) if self.plain_size(inside.size).is_none() => Ok(None),
                    _ => Err(error),
                };
            }
        };
        let head = self.head_bytes(&answer, location).await?;
        Ok(Header::parse(&head, self.settings.header_len).ok())
    }

    /// The bytes of a header, fewer where the object is shorter.
    pub(super) async fn head_bytes(&self, answer: &Answer, location: &Path) -> object_store::Result<Bytes> {
        match (&answer.source, &answer.head) {
            (_, Some(head)) => Ok(head.clone()),
            (Source::File(file), None) => {
                let (file, len) = (Arc::clone(file), parts::head_len(self.settings.header_len).min(answer.meta.size));
                blocking(location, move || read_file(&file, 0, len)).await
            }
            (Source::Store(_), None) => Ok(Bytes::new()),
        }
    }

    /// What callers see of what is inside.
    pub(super) fn meta_of(&self, inside: &ObjectMeta, location: &Path) -> object_store::Result<ObjectMeta> {
        let size = self.plain_size(inside.size).ok_or_else(|| error::of(not_an_envelope(), location))?;
        Ok(ObjectMeta { size, location: location.clone(), ..inside.clone() })
    }

    /// Asks for the header, and finds out whether what opens it is the right key. Nothing of the body was asked for
    /// then.
    pub(super) async fn open(
        &self,
        location: &Path,
        options: GetOptions,
        open: Option<OpenWith>,
        short: bool,
    ) -> object_store::Result<Opened> {
        let open = self.settings.choose_open(open);
        let answer = self.ask(location, options).await?;
        let meta = self.meta_of(&answer.meta, location)?;
        let at = parts::head_len(self.settings.header_len);
        let sealed_len = answer.meta.size - at;
        let short = short && sealed_len <= SHORT;

        let (settings, place) = (Arc::clone(&self.settings), location.clone());
        let (head, source, opener) = (answer.head, answer.source.clone(), open.clone());
        let step = blocking(location, move || {
            let file = match &source {
                Source::File(file) => Some(file),
                Source::Store(_) => None,
            };
            let head = match (head, file) {
                (Some(head), _) => head,
                (None, Some(file)) => read_file(file, 0, at)?,
                (None, None) => Bytes::new(),
            };
            let header = Header::parse(&head, settings.header_len)?;
            if header.is_detached() {
                settings.check(&place, &header, Some(&opener))?;
                return Ok(Step::Locked(Box::new(header)));
            }
            let (key, encryption) = settings.unlock(&place, &header, None, &opener)?;
            let read_short = |file: &Arc<File>| {
                let sealed = read_file(file, at, sealed_len)?;
                open_chunks(&key, 0, &sealed, true)
            };
            let text = file.filter(|_| short).map(read_short).transpose()?;
            Ok(Step::Open(Box::new((key, encryption, text))))
        })
        .await?;

        let (key, encryption, short) = match step {
            Step::Open(opened) => *opened,
            Step::Locked(header) => {
                let slots = match sidecar::read(&*self.inner, &header.message_id()).await {
                    Ok((slots, _)) => slots,
                    Err(object_store::Error::NotFound { path, source }) => {
                        return Err(match self.present(location).await? {
                            Some(now) if now.message_id() == header.message_id() => error::of(keys_lost(), location),
                            // Another has replaced the object since.
                            _ => object_store::Error::Precondition { path, source },
                        });
                    }
                    Err(error) => return Err(error),
                };
                let (settings, place) = (Arc::clone(&self.settings), location.clone());
                blocking(location, move || {
                    let (key, encryption) = settings.unlock(&place, &header, Some(&slots), &open)?;
                    Ok((key, encryption, None))
                })
                .await?
            }
        };
        let body = Body { location: location.clone(), source: answer.source, key: Arc::new(key), at, sealed_len };
        let (attributes, extensions) = (answer.attributes, answer.extensions);
        Ok(Opened { meta, attributes, extensions, encryption, body, short })
    }

    /// The length of the plaintext in an object that is so long inside; none where no envelope of this store is.
    pub(super) fn plain_size(&self, inside: u64) -> Option<u64> {
        inside.checked_sub(parts::head_len(self.settings.header_len)).and_then(parts::text_len)
    }

    fn shown(&self, attributes: Attributes, encryption: &Encryption) -> Attributes {
        let mut shown = Encryption::hide(&attributes);
        if self.settings.show {
            encryption.show(&mut shown);
        }
        shown
    }
}

fn with(mut extensions: Extensions, encryption: Encryption) -> Extensions {
    extensions.insert(encryption);
    extensions
}

fn not_an_envelope() -> Error {
    Error::new(ErrorKind::NotAnEnvelope, "not an object of this store: no envelope of it is of this length")
}

fn keys_lost() -> Error {
    Error::new(ErrorKind::KeyNotFound, "the wrapped keys of the object, which are kept apart from it, are not there")
}

/// A part of a file, all of it. Blocks.
fn read_file(file: &File, at: u64, len: u64) -> Result<Bytes> {
    let mut bytes = vec![0; usize::try_from(len).map_err(|_| not_an_envelope())?];
    file.read_exact_at(&mut bytes, at).map_err(|error| Error::io("cannot read the object", error))?;
    Ok(bytes.into())
}

/// Which part of the plaintext a range is.
fn resolve(range: Option<GetRange>, len: u64) -> object_store::Result<Range<u64>> {
    match range {
        None => Ok(0..len),
        Some(range) => range
            .as_range(len)
            .map_err(|source| object_store::Error::Generic { store: error::STORE, source: Box::new(source) }),
    }
}
