//! From a stream to an object: in one piece where it is short, else in parts.

use super::fail;
use super::meter::Meter;
use super::url::Target;
use bytes::Bytes;
use futures_util::future::{Either, select};
use futures_util::stream::{BoxStream, StreamExt};
use keyward::object::{EncryptedStore, Sse};
use object_store::{Attributes, Extensions, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, WriteMultipart};
use std::pin::pin;
use std::sync::LazyLock;
use std::time::{Duration, Instant};
use tokio::sync::watch;

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

    // Before the upload begins: one that a signal comes between would be seen by nobody.
    let under_way = ENDING.subscribe();
    let options = PutMultipartOptions { attributes, extensions, ..PutMultipartOptions::default() };
    let upload = store.put_multipart_opts(to.path(), options).await.map_err(failed)?;
    let part = usize::try_from(part).unwrap_or(usize::MAX);
    let mut writer = WriteMultipart::new_with_chunk_size(upload, part);
    let poured = {
        let pour = async {
            let mut pieces = futures_util::stream::iter(first.into_iter().map(Ok)).chain(content);
            while let Some(piece) = pieces.next().await {
                let piece = piece?;
                writer.wait_for_capacity(AT_ONCE).await.map_err(failed)?;
                meter.add(piece.len() as u64);
                writer.put(piece);
            }
            anyhow::Ok(())
        };
        let mut ending = under_way.clone();
        match select(pin!(pour), pin!(ending.wait_for(|ending| *ending))).await {
            Either::Left((poured, _)) => Some(poured),
            Either::Right(_) => None,
        }
    };
    match poured {
        Some(Ok(())) => writer.finish().await.map(drop).map_err(failed),
        Some(Err(error)) => {
            give_up(writer, to).await;
            Err(error)
        }
        None => {
            give_up(writer, to).await;
            drop(under_way);
            // The program ends by the signal that came.
            std::future::pending().await
        }
    }
}

/// What was uploaded of it is nobody's, and costs.
async fn give_up(writer: WriteMultipart, to: &Target) {
    if let Err(error) = writer.abort().await {
        tracing::warn!(
            "parts of '{to}' stay in the store until its rule for uploads that were not completed removes them: {error}"
        );
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
