//! `keyward object put`.

use super::each::each;
use super::meter::Meter;
use super::sse::WriteArgs;
use super::store::{Stores, Use};
use super::upload::{Content, upload};
use super::url::Target;
use crate::app::App;
use crate::files::Input;
use crate::many::{Found, Item, files, find, lasting};
use crate::output::say;
use crate::report;
use bytes::Bytes;
use clap::Args;
use futures_util::stream::{self, StreamExt};
use keyward::object::{EncryptedStore, Sse};
use keyward::{Error, ErrorKind};
use object_store::Attributes;
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};

/// Encrypt a file into a store
///
/// An object appears under its name once it is whole, in place of one that was there. Where FILE is -, standard input
/// is read. A URL that ends in / is a place for the file's own name. With --sse-c no token is needed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keyward object put report.pdf s3://bucket/reports/ --sse aws:kms --sse-kms-key-id payments
  tar c records | keyward object put - s3://bucket/records.tar
  keyward object put -r records s3://bucket/records/            # all that is in the directory
  keyward object put key.pem gs://bucket/key.pem --sse-c AES256 --sse-c-key my.key")]
pub(crate) struct Put {
    /// The file to read; standard input where it is -; with -r a directory
    file: PathBuf,
    /// Where the object goes
    url: Target,
    /// Take a directory, with all that is in it; symbolic links there are not followed
    #[arg(long, short)]
    recursive: bool,
    #[command(flatten)]
    sse: WriteArgs,
}

impl Put {
    pub(crate) async fn run(&self, app: &App) -> anyhow::Result<u8> {
        let stores = if self.sse.needs_no_token() { Stores::without_keys(app) } else { Stores::new(app)? };
        let place = &self.url;
        let sse = self.sse.choose(&stores)?;
        if self.recursive {
            return self.tree(app, &stores, place, &sse).await;
        }
        let is_stdin = self.file == Path::new("-");
        let name = match self.file.file_name().filter(|_| !is_stdin) {
            Some(name) => name.to_str().ok_or_else(|| not_utf8(&self.file))?,
            None if place.is_below() => {
                return Err(Error::new(ErrorKind::InvalidArgument, format!("'{place}' names no object"))
                    .with_hint("what comes from standard input has no name of its own: write the object's key")
                    .into());
            }
            None => "",
        };
        let to = if name.is_empty() { place.clone() } else { place.or_below(name)? };
        let input = Input::of(Some(&self.file))?;
        if is_stdin && std::io::stdin().is_terminal() {
            app.note("reading from the terminal; end with Ctrl-D");
        }
        let len = match &input {
            Input::File(path) => path.metadata().ok().map(|meta| meta.len()),
            _ => None,
        };
        let store = stores.open(&to, Use::Write).await?;
        let meter = Meter::new(app, len);
        upload(&store, &to, &sse, Attributes::new(), content(input.reader()?), len, &meter).await?;
        meter.line(&format!("put: {} to {to}", self.file.display()))?;
        Ok(0)
    }

    async fn tree(&self, app: &App, stores: &Stores<'_>, place: &Target, sse: &Sse) -> anyhow::Result<u8> {
        if !self.file.is_dir() {
            return Err(Error::new(ErrorKind::InvalidArgument, format!("'{}' is no directory", self.file.display()))
                .with_hint("leave --recursive away for a single file")
                .into());
        }
        // What is in it, not the directory itself, as `aws s3 cp --recursive` has it.
        let Found { files: found, skipped, failed, .. } = find(&[self.file.join(".")], true, None);
        let store = stores.open(place, Use::Write).await?;
        let meter = Meter::new(app, Some(found.iter().map(|item| item.len).sum()));
        let unreadable = failed.len() as u64;
        for (_, error) in failed {
            meter.aside(|| say("error", &report::message(&error.into())));
        }
        let items = stream::iter(found.into_iter().map(Ok));
        let status = each(app, &meter, items, unreadable, lasting, |item| {
            let from = self.file.join(&item.below);
            one(&store, place, sse, item, from, &meter)
        })
        .await?;
        let left_out = skipped.all();
        if left_out > 0 {
            app.note(&format!("not followed or no regular file: {}", files(left_out)));
        }
        Ok(status)
    }
}

async fn one(
    store: &EncryptedStore,
    place: &Target,
    sse: &Sse,
    item: Item,
    from: PathBuf,
    meter: &Meter,
) -> anyhow::Result<String> {
    let to = place.join(item.below.to_str().ok_or_else(|| not_utf8(&from))?)?;
    let reader = item.origin.open()?;
    upload(store, &to, sse, Attributes::new(), content(reader), Some(item.len), meter).await?;
    Ok(format!("put: {} to {to}", from.display()))
}

fn not_utf8(path: &Path) -> Error {
    Error::new(
        ErrorKind::InvalidArgument,
        format!("the name of '{}' is not UTF-8, as those of objects are", path.display()),
    )
}

/// So much is read at once.
const PIECE: u64 = 1 << 20;

/// What is read from a file or a pipe, off the threads that talk to the store.
fn content(reader: impl Read + Send + 'static) -> Content<'static> {
    stream::try_unfold(Some(reader), |reader| async move {
        let Some(mut reader) = reader else { return Ok(None) };
        let read = tokio::task::spawn_blocking(move || {
            let mut piece = Vec::new();
            (&mut reader).take(PIECE).read_to_end(&mut piece)?;
            std::io::Result::Ok((piece, reader))
        });
        let (piece, reader) = read.await??;
        // A terminal would be read on after its end.
        let reader = (piece.len() as u64 == PIECE).then_some(reader);
        Ok((!piece.is_empty()).then(|| (Bytes::from(piece), reader)))
    })
    .boxed()
}
