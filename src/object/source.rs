//! The bytes of one object inside, always of the same version of it.

use super::error::{STORE, cut_short};
use bytes::Bytes;
use futures_util::stream::BoxStream;
use object_store::path::Path;
use object_store::{Extensions, GetOptions, GetRange, GetResult, GetResultPayload, ObjectStore};
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Where more of an object comes from after its header was read.
#[derive(Clone)]
pub(super) enum Source {
    /// A file that is open: nobody can put another in its place.
    File(Arc<File>),
    Store(Arc<Pinned>),
}

/// An object, by the version or etag that it had when its header was read.
pub(super) struct Pinned {
    pub(super) inner: Arc<dyn ObjectStore>,
    pub(super) location: Path,
    if_match: Option<String>,
    version: Option<String>,
    extensions: Extensions,
}

impl Pinned {
    pub(super) fn new(inner: &Arc<dyn ObjectStore>, location: &Path, answer: &GetResult, asked: &GetOptions) -> Self {
        Self {
            inner: Arc::clone(inner),
            location: location.clone(),
            // Where there is no etag, an object that is replaced in between fails to authenticate.
            if_match: answer.meta.e_tag.clone(),
            version: asked.version.clone().or_else(|| answer.meta.version.clone()),
            extensions: asked.extensions.clone(),
        }
    }

    pub(super) async fn get(&self, range: Range<u64>) -> object_store::Result<GetResult> {
        let options = GetOptions {
            if_match: self.if_match.clone(),
            version: self.version.clone(),
            range: Some(GetRange::Bounded(range)),
            extensions: self.extensions.clone(),
            ..GetOptions::default()
        };
        self.inner.get_opts(&self.location, options).await
    }
}

/// A part of an object, on its way.
pub(super) enum Incoming {
    File(Arc<File>, Range<u64>),
    Stream(BoxStream<'static, object_store::Result<Bytes>>),
}

impl Source {
    /// Asks for a part, which is not empty.
    pub(super) async fn request(&self, range: Range<u64>) -> object_store::Result<Incoming> {
        match self {
            Self::File(file) => Ok(Incoming::File(Arc::clone(file), range)),
            Self::Store(pinned) => {
                let answer = pinned.get(range.clone()).await?;
                if answer.range != range {
                    return Err(cut_short());
                }
                match answer.payload {
                    GetResultPayload::File(file, _) => Ok(Incoming::File(Arc::new(file), range)),
                    GetResultPayload::Stream(stream) => Ok(Incoming::Stream(stream)),
                }
            }
        }
    }

    /// A part, which is not empty, in one piece.
    pub(super) async fn fetch(&self, range: Range<u64>) -> object_store::Result<Bytes> {
        let len = range.end - range.start;
        let bytes = match self.request(range).await? {
            Incoming::File(file, range) => {
                let read = move || read_at(&file, &range);
                super::blocking::blocking_io(read).await?
            }
            Incoming::Stream(stream) => object_store::collect_bytes(stream, Some(len)).await?,
        };
        if bytes.len() as u64 == len { Ok(bytes) } else { Err(cut_short()) }
    }
}

/// A part of a file, all of it. Blocks.
pub(super) fn read_at(file: &File, range: &Range<u64>) -> object_store::Result<Bytes> {
    let len = usize::try_from(range.end - range.start).map_err(|_| cut_short())?;
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, range.start).map_err(read_failed)?;
    Ok(bytes.into())
}

pub(super) fn read_failed(error: std::io::Error) -> object_store::Error {
    object_store::Error::Generic { store: STORE, source: Box::new(error) }
}
