//! From a stream to an object: in one piece where it is short, else in parts.

use super::fail;
use super::meter::Meter;
use super::url::Target;
use bytes::Bytes;
use futures_util::future::{Either, select};
use futures_util::stream::{self, BoxStream, StreamExt};
use keyward::object::{EncryptedStore, Sse};
use object_store::{Attributes, Extensions, MultipartUpload, ObjectStore, PutMultipartOptions, PutOptions, PutPayload};
use std::pin::pin;
use std::sync::LazyLock;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What is not longer is put in one piece.
const PART: u64 = 8 << 20;
/// The parts of what nobody knows the length of: 10,000 of them, the most that S3 takes, are 156 GiB.
const PART_OF_A_STREAM: u64 = 16 << 20;
/// So many parts are on their way at once.
const AT_ONCE: usize = 4;
/// Fewer than S3 takes, for what grows while it is read.
const MOST_PARTS: u64 = 9000;
/// How long an end by a signal waits until uploads are given up.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is to be uploaded, piece by piece.
pub(crate) type Content<'a> = BoxStream<'a, anyhow::Result<Bytes>>;

/// Uploads all that `content` gives. Where it fails half way, nothing of it is there under its name, and the parts are
/// given up.
pub(crate) async fn upload(
    store: &EncryptedStore,
    to: &Target,
    sse: &Sse,
    attributes: Attributes,
    mut content: Content<'_>,
    len: Option<u64>,
    meter: &Meter,
) -> anyhow::Result<()> {
    let part = len.map_or(PART_OF_A_STREAM, |len| PART.max(len / MOST_PARTS + 1));
    let failed = |error| fail::of(error, &to.to_string());
    let mut extensions = Extensions::new();
    extensions.insert(sse.clone());

    let mut first = Vec::new();
    let mut gathered = 0;
    while gathered < part
        && let Some(piece) = content.next().await
    {
        let piece = piece?;
        gathered += piece.len() as u64;
        first.push(piece);
    }
    if gathered < part {
        let options = PutOptions { attributes, extensions, ..PutOptions::default() };
        store.put_opts(to.path(), first.into_iter().collect::<PutPayload>(), options).await.map_err(failed)?;
        meter.add(gathered);
        return Ok(());
    }

    // Before the upload begins: one that a signal comes between would be given up by nobody.
    let mut ending = ENDING.subscribe();
    let options = PutMultipartOptions { attributes, extensions, ..PutMultipartOptions::default() };
    let upload = store.put_multipart_opts(to.path(), options).await.map_err(failed)?;
    let mut parts = Parts { upload, sending: JoinSet::new(), gathered: Vec::new(), len: 0, part, meter };
    let pieces = stream::iter(first.into_iter().map(Ok)).chain(content);
    let sent = match select(pin!(parts.send(pieces.boxed())), pin!(ending.wait_for(|ending| *ending))).await {
        Either::Left((sent, _)) => Some(sent),
        Either::Right(_) => None,
    };
    let sent = match sent {
        Some(Ok(())) => match parts.upload.complete().await {
            Ok(_) => return Ok(()),
            Err(error) => Some(Err(Failure::OfTheStore(error))),
        },
        other => other,
    };
    parts.give_up(to).await;
    drop(ending);
    match sent {
        Some(Err(Failure::OfTheStore(error))) => Err(failed(error)),
        Some(Err(Failure::OfTheContent(error))) => Err(error),
        // The program ends by the signal that came.
        Some(Ok(())) | None => std::future::pending().await,
    }
}

/// An upload in parts.
struct Parts<'a> {
    upload: Box<dyn MultipartUpload>,
    sending: JoinSet<object_store::Result<()>>,
    gathered: Vec<Bytes>,
    len: u64,
    /// How long a part is, at least.
    part: u64,
    meter: &'a Meter,
}

enum Failure {
    OfTheStore(object_store::Error),
    OfTheContent(anyhow::Error),
}

impl From<object_store::Error> for Failure {
    fn from(error: object_store::Error) -> Self {
        Self::OfTheStore(error)
    }
}

impl Parts<'_> {
    /// Sends all of it, and waits until it is there.
    async fn send(&mut self, mut pieces: Content<'_>) -> Result<(), Failure> {
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(Failure::OfTheContent)?;
            self.len += piece.len() as u64;
            self.meter.add(piece.len() as u64);
            self.gathered.push(piece);
            if self.len >= self.part {
                self.wait_for_fewer_than(AT_ONCE).await?;
                self.put_part();
            }
        }
        if self.len > 0 {
            self.put_part();
        }
        self.wait_for_fewer_than(1).await
    }

    fn put_part(&mut self) {
        self.len = 0;
        let payload = std::mem::take(&mut self.gathered).into_iter().collect::<PutPayload>();
        self.sending.spawn(self.upload.put_part(payload));
    }

    async fn wait_for_fewer_than(&mut self, most: usize) -> Result<(), Failure> {
        while self.sending.len() >= most
            && let Some(sent) = self.sending.join_next().await
        {
            sent.map_err(object_store::Error::from)??;
        }
        Ok(())
    }

    /// What was sent of it is nobody's, and costs.
    async fn give_up(mut self, to: &Target) {
        self.sending.shutdown().await;
        if let Err(error) = self.upload.abort().await {
            tracing::warn!(
                "parts of '{to}' stay in the store until its rule for uploads that were not completed removes them: {error}"
            );
        }
    }
}

/// Whether the program ends; who looks at it has an upload under way.
static ENDING: LazyLock<watch::Sender<bool>> = LazyLock::new(|| watch::Sender::new(false));

/// Gives up all uploads, for a program that a signal ends.
pub(crate) fn give_all_up() {
    if ENDING.receiver_count() == 0 {
        return;
    }
    ENDING.send_replace(true);
    let began = Instant::now();
    while ENDING.receiver_count() > 0 && began.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(10));
    }
}
