//! A store inside that writes down what it is asked for, and fails when it is told to. A fake only in that: what it does
//! is done by the store it stands around.

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetRange, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result, UploadPart,
};
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex};

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Put(String),
    Multipart(String),
    Part(usize),
    Complete,
    Abort,
    Get(String, Option<Range<u64>>),
    Delete(String),
    List,
    Copy(String, String),
    Rename(String, String),
}

type Fault = Box<dyn FnMut(&Request) -> bool + Send>;

#[derive(Default)]
struct Seen {
    requests: Vec<Request>,
    /// The bytes of bodies that went out.
    bytes: u64,
    fault: Option<Fault>,
    /// After so many bytes of one answer the connection is lost.
    lose_after: Option<usize>,
    /// Says of an object that was just put that it was there before.
    lies: bool,
    /// What was put, as it is inside.
    options: Vec<String>,
}

#[derive(Clone)]
pub(crate) struct Watched {
    inner: Arc<dyn ObjectStore>,
    seen: Arc<Mutex<Seen>>,
}

impl Watched {
    pub(crate) fn new(inner: Arc<dyn ObjectStore>) -> Self {
        Self { inner, seen: Arc::default() }
    }

    /// What was asked since the last call.
    pub(crate) fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.seen.lock().unwrap().requests)
    }

    /// How many bytes of bodies went out since the last call.
    pub(crate) fn bytes(&self) -> u64 {
        std::mem::take(&mut self.seen.lock().unwrap().bytes)
    }

    /// The options of all writes, as text.
    pub(crate) fn options(&self) -> Vec<String> {
        self.seen.lock().unwrap().options.clone()
    }

    /// Fails each request of which `fault` says so.
    pub(crate) fn fail(&self, fault: impl FnMut(&Request) -> bool + Send + 'static) {
        self.seen.lock().unwrap().fault = Some(Box::new(fault));
    }

    /// Loses the connection after so many bytes of each answer.
    pub(crate) fn lose_after(&self, bytes: usize) {
        self.seen.lock().unwrap().lose_after = Some(bytes);
    }

    /// Loses the answers to puts, and tries them again, as clients of stores in the network do: the second try finds the
    /// object of the first.
    pub(crate) fn retry_puts(&self) {
        self.seen.lock().unwrap().lies = true;
    }

    pub(crate) fn heal(&self) {
        let mut seen = self.seen.lock().unwrap();
        (seen.fault, seen.lose_after) = (None, None);
    }

    fn ask(&self, request: Request) -> Result<()> {
        let mut seen = self.seen.lock().unwrap();
        let fails = seen.fault.as_mut().is_some_and(|fault| fault(&request));
        seen.requests.push(request);
        if fails { Err(throttled()) } else { Ok(()) }
    }
}

/// What S3 answers who asks too often, as `object_store` says it.
pub(crate) fn throttled() -> object_store::Error {
    object_store::Error::Generic { store: "fault", source: "503 SlowDown".into() }
}

pub(crate) fn is_fault(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::Generic { store: "fault", .. })
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for Watched {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.ask(Request::Put(location.to_string()))?;
        self.seen.lock().unwrap().options.push(format!("{options:?}"));
        if self.seen.lock().unwrap().lies {
            drop(self.inner.put_opts(location, payload.clone(), options.clone()).await);
        }
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.ask(Request::Multipart(location.to_string()))?;
        self.seen.lock().unwrap().options.push(format!("{options:?}"));
        let upload = self.inner.put_multipart_opts(location, options).await?;
        Ok(Box::new(WatchedUpload { store: self.clone(), upload }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let range = match &options.range {
            Some(GetRange::Bounded(range)) => Some(range.clone()),
            _ => None,
        };
        self.ask(Request::Get(location.to_string(), range))?;
        let answer = self.inner.get_opts(location, options).await?;
        // A stream, also where the store inside has a file: so are those of stores in the network.
        let GetResult { payload, meta, range, attributes, extensions } = answer;
        let whole =
            GetResult { payload, meta: meta.clone(), range: range.clone(), attributes: attributes.clone(), extensions };
        let bytes = whole.bytes().await?;
        let (seen, lose_after) = (Arc::clone(&self.seen), self.seen.lock().unwrap().lose_after);
        let mut left = lose_after.unwrap_or(usize::MAX);
        let mut pieces: Vec<Result<Bytes>> = Vec::new();
        for piece in bytes.chunks(10_000) {
            let piece = bytes.slice_ref(&piece[..piece.len().min(left)]);
            left -= piece.len();
            pieces.push(Ok(piece));
            if left == 0 {
                pieces.push(Err(object_store::Error::Generic { store: "fault", source: "connection lost".into() }));
                break;
            }
        }
        let stream = stream::iter(pieces)
            .inspect(move |piece| {
                if let Ok(piece) = piece {
                    seen.lock().unwrap().bytes += piece.len() as u64;
                }
            })
            .boxed();
        Ok(GetResult {
            payload: GetResultPayload::Stream(stream),
            meta,
            range,
            attributes,
            extensions: Default::default(),
        })
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        panic!("{location}, {ranges:?}: nothing pins the version of the object in these");
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        let asked = locations.map(move |location| {
            let location = location?;
            store.ask(Request::Delete(location.to_string()))?;
            Ok(location)
        });
        self.inner.delete_stream(asked.boxed())
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.ask(Request::List).unwrap();
        self.inner.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.ask(Request::List).unwrap();
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.ask(Request::List)?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.ask(Request::Copy(from.to_string(), to.to_string()))?;
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.ask(Request::Rename(from.to_string(), to.to_string()))?;
        self.inner.rename_opts(from, to, options).await
    }
}

#[derive(Debug)]
struct WatchedUpload {
    store: Watched,
    upload: Box<dyn MultipartUpload>,
}

#[async_trait]
impl MultipartUpload for WatchedUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        match self.store.ask(Request::Part(data.content_length())) {
            Ok(()) => self.upload.put_part(data),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.store.ask(Request::Complete)?;
        self.upload.complete().await
    }

    async fn abort(&mut self) -> Result<()> {
        self.store.ask(Request::Abort)?;
        self.upload.abort().await
    }
}

impl fmt::Display for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Watched({})", self.inner)
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watched")
    }
}
