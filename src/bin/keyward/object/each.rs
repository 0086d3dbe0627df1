//! Many objects in one run: what fails is told and keeps nothing else from being done.

use super::fail;
use super::meter::Meter;
use super::url::Target;
use crate::app::App;
use crate::many::{grouped, lasting};
use crate::output::say;
use crate::report;
use futures_util::stream::{Stream, StreamExt};
use keyward::object::EncryptedStore;
use keyward::{Error, ErrorKind};
use object_store::{ObjectMeta, ObjectStore};
use std::collections::BTreeSet;
use std::future::Future;
use std::pin::pin;

/// So many objects are worked on at once.
const AT_ONCE: usize = 8;

/// Works on each; `work` gives what is said of it. The exit status is that of a run in which all that could be done
/// was done. `failed` is how many were so before it began.
pub(crate) async fn each<T, W, F>(
    app: &App,
    meter: &Meter,
    items: impl Stream<Item = anyhow::Result<T>>,
    failed: u64,
    work: W,
) -> anyhow::Result<u8>
where
    W: Fn(T) -> F,
    F: Future<Output = anyhow::Result<String>>,
{
    let work = &work;
    let mut answers = pin!(
        items
            .map(|item| async move {
                match item {
                    Ok(item) => Ok(work(item).await),
                    Err(error) => Err(error),
                }
            })
            .buffer_unordered(AT_ONCE)
    );
    let (mut done, mut failed, mut stopped) = (0, failed, None);
    let mut hints = BTreeSet::new();
    while let Some(answer) = answers.next().await {
        match answer? {
            Ok(line) => {
                done += 1;
                meter.line(&line)?;
            }
            Err(error) => {
                failed += 1;
                // What to do is said once, however many it would help.
                let hint = report::hint(&error).filter(|hint| hints.insert(hint.clone()));
                meter.aside(|| {
                    say("error", &report::message(&error));
                    if let Some(hint) = hint {
                        say("hint", &hint);
                    }
                });
                if error.chain().find_map(report::as_own).is_some_and(every_other_meets) {
                    stopped = Some(report::status(&error));
                    break;
                }
            }
        }
    }
    let more = if failed > 0 { format!(", {} failed", grouped(failed)) } else { String::new() };
    let early = if stopped.is_some() { "; ended early, as all others would fare the same" } else { "" };
    meter.aside(|| app.note(&format!("{} done{more}{early}", grouped(done))));
    Ok(stopped.unwrap_or(u8::from(failed > 0)))
}

fn every_other_meets(error: &Error) -> bool {
    let of_the_token = error.kind().is_unavailable()
        || matches!(error.kind(), ErrorKind::PinRequired | ErrorKind::PinIncorrect | ErrorKind::PinLocked);
    // A key that one object is under may be gone while those of others are there.
    of_the_token || lasting(error) && error.kind() != ErrorKind::KeyNotFound
}

/// All objects at a place and below it.
pub(crate) async fn below(store: &EncryptedStore, place: &Target) -> anyhow::Result<Vec<ObjectMeta>> {
    let failed = |error| fail::of(error, &place.to_string());
    let mut listing = store.list(place.prefix());
    let mut found = Vec::new();
    while let Some(meta) = listing.next().await {
        found.push(meta.map_err(failed)?);
    }
    if found.is_empty() {
        return Err(Error::new(ErrorKind::Io, format!("there is no object below '{place}'")).into());
    }
    found.sort_by(|a, b| a.location.cmp(&b.location));
    Ok(found)
}
