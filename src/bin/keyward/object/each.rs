//! Many objects in one run: what fails is told and keeps nothing else from being done.

use super::fail;
use super::meter::Meter;
use super::url::Target;
use crate::app::App;
use crate::many::grouped;
use crate::output::say;
use crate::report;
use futures_util::stream::{Stream, StreamExt};
use keyward::object::EncryptedStore;
use keyward::{Error, ErrorKind};
use object_store::{ObjectMeta, ObjectStore};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::future::{Future, ready};
use std::pin::pin;

/// So many objects are worked on at once.
const AT_ONCE: usize = 8;

/// Works on each; `work` gives what is said of it. The exit status is that of a run in which all that could be done
/// was done. `failed` is how many were so before it began, and `lasting` which failures every other one would meet too,
/// beside those of the token.
pub(crate) async fn each<T, W, F>(
    app: &App,
    meter: &Meter,
    items: impl Stream<Item = anyhow::Result<T>>,
    failed: u64,
    lasting: fn(&Error) -> bool,
    work: W,
) -> anyhow::Result<u8>
where
    W: Fn(T) -> F,
    F: Future<Output = anyhow::Result<String>>,
{
    let (work, ended) = (&work, Cell::new(false));
    let mut answers = pin!(
        items
            // What is under way then is finished: an upload that is dropped leaves its parts behind.
            .take_while(|_| ready(!ended.get()))
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
                let is_for_all = error
                    .chain()
                    .find_map(report::as_own)
                    .is_some_and(|error| lasting(error) || is_of_the_token(error));
                if is_for_all && ended.replace(true) {
                    continue;
                }
                // What to do is said once, however many it would help.
                let hint = report::hint(&error).filter(|hint| hints.insert(hint.clone()));
                meter.aside(|| {
                    say("error", &report::message(&error));
                    if let Some(hint) = hint {
                        say("hint", &hint);
                    }
                });
                if is_for_all {
                    stopped = Some(report::status(&error));
                }
            }
        }
    }
    let more = if failed > 0 { format!(", {} failed", grouped(failed)) } else { String::new() };
    let early = if stopped.is_some() { "; ended early, as all others would fare the same" } else { "" };
    meter.aside(|| app.note(&format!("{} done{more}{early}", grouped(done))));
    Ok(stopped.unwrap_or(u8::from(failed > 0)))
}

fn is_of_the_token(error: &Error) -> bool {
    error.kind().is_unavailable()
        || matches!(error.kind(), ErrorKind::PinRequired | ErrorKind::PinIncorrect | ErrorKind::PinLocked)
}

/// For objects that are under keys of their own, each may fare otherwise.
pub(crate) fn none(_: &Error) -> bool {
    false
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
