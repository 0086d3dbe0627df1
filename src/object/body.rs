//! From chunks in the store inside to plaintext: batch after batch, read and opened side by side.

use super::blocking::{blocking, blocking_io};
use super::error::{self, cut_short};
use super::source::{Incoming, Source, read_at};
use crate::envelope::body::{BodyKey, CHUNK_LEN, SEALED_CHUNK_LEN};
use crate::envelope::parts;
use crate::error::Result;
use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::OBJECT_STORE_COALESCE_DEFAULT;
use object_store::path::Path;
use std::ops::Range;
use std::sync::Arc;

/// How many chunks are opened at once: 512 KiB, long enough that changing threads costs little beside it.
const BATCH: u64 = 32;
/// How many batches are in work at once, beside the one that is being read.
const AHEAD: usize = 2;

const TEXT: u64 = CHUNK_LEN as u64;
const SEALED: u64 = SEALED_CHUNK_LEN as u64;

/// The body of an object whose key is known.
pub(super) struct Body {
    pub(super) location: Path,
    pub(super) source: Source,
    pub(super) key: Arc<BodyKey>,
    /// Where the first chunk begins.
    pub(super) at: u64,
    /// The length of all chunks.
    pub(super) sealed_len: u64,
}

/// A run of chunks, and which part of its plaintext is wanted.
#[derive(Clone)]
struct Run {
    chunks: Range<u64>,
    wanted: Range<u64>,
}

impl Body {
    /// The number of the last chunk.
    fn last(&self) -> u64 {
        self.sealed_len / SEALED
    }

    /// The plaintext in `range`, which lies within it. The end of the body is authenticated before any of a part is
    /// given; a whole body ends in an error where it has no end.
    pub(super) async fn stream(
        self,
        range: Range<u64>,
        whole: bool,
    ) -> object_store::Result<BoxStream<'static, object_store::Result<Bytes>>> {
        let last = self.last();
        let first = range.start / TEXT;
        let needed = if whole { last } else { range.end.saturating_sub(1).max(range.start) / TEXT };
        // What is opened in one go may as well include the last chunk, where that is near.
        let needed = if last - first < BATCH && last - needed <= 1 { last } else { needed };
        let run = Run { chunks: first..needed + 1, wanted: range };
        let body = Arc::new(self);
        if last - first < BATCH && needed == last {
            let incoming = body.source.request(body.place(&run.chunks)).await?;
            return Ok(stream::once(async move {
                let runs = Arc::clone(&body).runs(run, incoming);
                let pieces: Vec<Bytes> = runs.try_collect().await?;
                Ok(pieces.into_iter().next().unwrap_or_default())
            })
            .try_filter(|bytes| std::future::ready(!bytes.is_empty()))
            .boxed());
        }
        let (_, incoming) = futures_util::future::try_join(
            async { if whole { Ok(()) } else { body.authenticate_end().await } },
            body.source.request(body.place(&run.chunks)),
        )
        .await?;
        Ok(body.runs(run, incoming))
    }

    /// Several parts at once: neighbours in one request, and the end of the body first of all.
    pub(super) async fn parts(self, ranges: &[Range<u64>]) -> object_store::Result<Vec<Bytes>> {
        let last = self.last();
        let runs: Vec<Run> = ranges
            .iter()
            .map(|wanted| Run { chunks: wanted.start / TEXT..(wanted.end - 1) / TEXT + 1, wanted: wanted.clone() })
            .collect();
        let mut places: Vec<_> = runs.iter().map(|run| self.place(&run.chunks)).collect();
        places.push(self.place(&(last..last + 1)));
        let fetch = |place| self.source.fetch(place);
        let mut sealed = object_store::coalesce_ranges(&places, fetch, OBJECT_STORE_COALESCE_DEFAULT).await?;
        let end = sealed.pop().unwrap_or_default();
        let (key, location) = (Arc::clone(&self.key), self.location.clone());
        blocking(&location, move || {
            open(&key, last, &end, true)?;
            let open_run = |(run, sealed): (&Run, &Bytes)| {
                Ok(trim(open(&key, run.chunks.start, sealed, run.chunks.end > last)?, run))
            };
            runs.iter().zip(&sealed).map(open_run).collect()
        })
        .await
    }

    async fn authenticate_end(&self) -> object_store::Result<()> {
        let last = self.last();
        let sealed = self.source.fetch(self.place(&(last..last + 1))).await?;
        let key = Arc::clone(&self.key);
        blocking(&self.location, move || open(&key, last, &sealed, true).map(drop)).await
    }

    /// Where these chunks are in the object.
    fn place(&self, chunks: &Range<u64>) -> Range<u64> {
        let end = (chunks.end * SEALED).min(self.sealed_len);
        self.at + chunks.start * SEALED..self.at + end
    }

    fn batches(run: Run) -> impl Iterator<Item = Run> + Send {
        let mut next = run.chunks.start;
        std::iter::from_fn(move || {
            let first = next;
            next = (first + BATCH).min(run.chunks.end);
            (first < next).then(|| Run { chunks: first..next, wanted: run.wanted.clone() })
        })
    }

    /// The plaintext of a run, batch by batch.
    fn runs(self: Arc<Self>, run: Run, incoming: Incoming) -> BoxStream<'static, object_store::Result<Bytes>> {
        match incoming {
            Incoming::File(file, _) => stream::iter(Self::batches(run))
                .map(move |batch| {
                    let (body, file) = (Arc::clone(&self), Arc::clone(&file));
                    // Read and opened on the same thread, while it is in that core's cache.
                    blocking_io(move || {
                        let sealed = read_at(&file, &body.place(&batch.chunks))?;
                        body.open(&batch, &sealed).map_err(error::at(&body.location))
                    })
                })
                .buffered(AHEAD)
                .boxed(),
            Incoming::Stream(inner) => {
                let reader = Reader { inner, gathered: BytesMut::new(), left: Bytes::new() };
                let body = Arc::clone(&self);
                stream::try_unfold((reader, Self::batches(run)), move |(mut reader, mut batches)| {
                    let body = Arc::clone(&body);
                    async move {
                        let Some(batch) = batches.next() else { return Ok(None) };
                        let place = body.place(&batch.chunks);
                        let len = usize::try_from(place.end - place.start).map_err(|_| cut_short())?;
                        let sealed = reader.take(len).await?;
                        Ok(Some(((batch, sealed), (reader, batches))))
                    }
                })
                .map_ok(move |(batch, sealed)| {
                    let body = Arc::clone(&self);
                    let location = self.location.clone();
                    async move { blocking(&location, move || body.open(&batch, &sealed)).await }
                })
                .try_buffered(AHEAD)
                .boxed()
            }
        }
    }

    fn open(&self, run: &Run, sealed: &[u8]) -> Result<Bytes> {
        Ok(trim(open(&self.key, run.chunks.start, sealed, run.chunks.end > self.last())?, run))
    }
}

/// The plaintext of chunks. Blocks.
pub(super) fn open(key: &BodyKey, first: u64, sealed: &[u8], last: bool) -> Result<Bytes> {
    let rest = sealed.len() % SEALED_CHUNK_LEN;
    let tags = sealed.len() / SEALED_CHUNK_LEN + usize::from(last);
    if last != (rest != 0) {
        return Err(crate::Error::not_authentic());
    }
    let len =
        sealed.len().checked_sub(tags * (SEALED_CHUNK_LEN - CHUNK_LEN)).ok_or_else(crate::Error::not_authentic)?;
    let mut text = vec![0; len];
    parts::open(key, first, sealed, last, &mut text)?;
    Ok(text.into())
}

/// What is wanted of the plaintext of a run.
fn trim(text: Bytes, run: &Run) -> Bytes {
    let start = run.chunks.start * TEXT;
    // Both lie within the plaintext of a batch.
    let within = |at: u64| usize::try_from(at.saturating_sub(start)).unwrap_or(usize::MAX).min(text.len());
    let (from, to) = (within(run.wanted.start), within(run.wanted.end));
    text.slice(from..to.max(from))
}

/// A stream in pieces of the lengths that are asked for.
struct Reader {
    inner: BoxStream<'static, object_store::Result<Bytes>>,
    gathered: BytesMut,
    left: Bytes,
}

impl Reader {
    async fn take(&mut self, len: usize) -> object_store::Result<Bytes> {
        // A piece that is long enough is not copied.
        if self.left.len() >= len {
            return Ok(self.left.split_to(len));
        }
        self.gathered.reserve(len);
        loop {
            let wanted = len - self.gathered.len();
            let piece = self.left.split_to(self.left.len().min(wanted));
            self.gathered.extend_from_slice(&piece);
            if self.gathered.len() == len {
                return Ok(self.gathered.split().freeze());
            }
            match self.inner.next().await {
                Some(piece) => self.left = piece?,
                None => return Err(cut_short()),
            }
        }
    }
}
