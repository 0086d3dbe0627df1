//! `keyward object get`.

use super::each::{below, each, none};
use super::fail;
use super::meter::Meter;
use super::sse::ReadArgs;
use super::store::{Stores, Use};
use super::url::Target;
use crate::app::App;
use crate::files::{Output, PRIVATE_MODE, Sink};
use crate::many::tree::{Node, make_child, make_named};
use crate::range::Range;
use clap::Args;
use futures_util::stream::{self, TryStreamExt};
use keyward::durable::{AtomicFile, Replace};
use keyward::object::{EncryptedStore, OpenWith};
use keyward::{Error, ErrorKind};
use object_store::{Extensions, GetOptions, GetResult, ObjectStore};
use std::io::Write;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// Decrypt an object of a store into a file
///
/// A file gets its name only after its last byte was verified and is on the disk. To a pipe, what is authentic is
/// passed on at once: act on a stream only after exit status 0, which says that it was not cut short. With --sse-c no
/// token is needed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keyward object get s3://bucket/reports/report.pdf report.pdf
  keyward object get s3://bucket/records.tar - | tar t
  keyward object get s3://bucket/disk.img head.img --range 0-1023      # the first 1024 bytes
  keyward object get -r s3://bucket/records/ restored                  # to restored/…
  keyward object get gs://bucket/key.pem key.pem --sse-c AES256 --sse-c-key my.key")]
pub(crate) struct Get {
    /// The object
    url: Target,
    /// The file to write, or the directory to write into; standard output where it is -
    #[arg(value_name = "OUT")]
    output: PathBuf,
    /// Take all objects below the URL, into a directory that is made where it is missing
    #[arg(long, short)]
    recursive: bool,
    /// Only these bytes of the content, counted from 0, both included; LAST may be left out
    #[arg(long, value_name = "FIRST-LAST", conflicts_with = "recursive")]
    range: Option<Range>,
    /// Replace outputs that exist
    #[arg(long, short)]
    force: bool,
    #[command(flatten)]
    open: ReadArgs,
}

impl Get {
    pub(crate) async fn run(&self, app: &App) -> anyhow::Result<u8> {
        let open = self.open.open_with()?;
        let place = &self.url;
        if self.recursive {
            if self.output == Path::new("-") {
                return Err(
                    Error::new(ErrorKind::InvalidArgument, "several objects cannot go to standard output").into()
                );
            }
            let stores = self.stores(app)?;
            let store = stores.open(place, Use::Read).await?;
            return self.tree(app, &store, place, &open).await;
        }
        let name = place.object()?.filename().unwrap_or_default().to_owned();
        // The name in a directory comes from the store: a symbolic link there is not followed.
        let below = self.output.is_dir().then(|| plain_name(&name)).transpose()?;
        let path = below.map_or_else(|| self.output.clone(), |name| self.output.join(name));
        // What would not have a place is not asked for.
        let output = Output::of(Some(&path), self.force)?;
        let stores = self.stores(app)?;
        let store = stores.open(place, Use::Read).await?;
        let answer = self.ask(&store, place, &open).await?;
        let meter = Meter::new(app, Some(answer.range.end - answer.range.start));
        let sink = match below {
            Some(name) => self.create(&*make_named(&self.output, &Arc::default())?, name)?,
            None => output.open(PRIVATE_MODE)?,
        };
        pour(answer, sink, place, &meter).await?;
        if !matches!(output, Output::Stdout) {
            meter.line(&format!("get: {place} to {}", path.display()))?;
        }
        Ok(0)
    }

    fn stores<'a>(&self, app: &'a App) -> anyhow::Result<Stores<'a>> {
        if self.open.needs_no_token() { Ok(Stores::without_keys(app)) } else { Stores::new(app) }
    }

    async fn ask(&self, store: &EncryptedStore, from: &Target, open: &OpenWith) -> anyhow::Result<GetResult> {
        let range = self.range.map(Range::of_an_object);
        let mut extensions = Extensions::new();
        extensions.insert(open.clone());
        let options = GetOptions { range, extensions, ..GetOptions::default() };
        store.get_opts(from.path(), options).await.map_err(|error| fail::of(error, &from.to_string()))
    }

    fn create(&self, directory: &Node, name: &str) -> keyward::Result<Sink> {
        let replace = if self.force { Replace::Yes } else { Replace::No };
        let location = directory.location(name.as_ref())?;
        Ok(Sink::File(AtomicFile::create_at(&location, replace, PRIVATE_MODE)?))
    }

    async fn tree(&self, app: &App, store: &EncryptedStore, place: &Target, open: &OpenWith) -> anyhow::Result<u8> {
        let found = below(store, place).await?;
        let meter = Meter::new(app, Some(found.iter().map(|meta| meta.size).sum()));
        let root = make_named(&self.output, &Arc::default())?;
        let items = stream::iter(found.into_iter().map(Ok));
        each(app, &meter, items, 0, none, |meta| {
            let (meter, root) = (&meter, &root);
            async move {
                let from = place.at(meta.location);
                let key = place.key_below(from.path()).unwrap_or_default();
                let key = if key.is_empty() { from.path().filename().unwrap_or_default().to_owned() } else { key };
                let parts: Vec<_> = key.split('/').map(plain_name).collect::<keyward::Result<_>>()?;
                let (name, above) = parts.split_last().ok_or_else(|| anyhow::anyhow!("the object has no name"))?;
                let path = parts.iter().fold(self.output.clone(), |path, part| path.join(part));
                // What has no place is not asked for; what appears meanwhile is not replaced either.
                if !self.force && path.symlink_metadata().is_ok() {
                    let message = format!("'{}' exists already", path.display());
                    return Err(Error::new(ErrorKind::OutputExists, message).into());
                }
                let answer = self.ask(store, &from, open).await?;
                let mut directory = Arc::clone(root);
                for part in above {
                    directory = make_child(&directory, part.as_ref(), 0o777)?;
                }
                pour(answer, self.create(&directory, name)?, &from, meter).await?;
                Ok(format!("get: {from} to {}", path.display()))
            }
        })
        .await
    }
}

/// A part of a key as the name of a file: one that leads out of the directory is not followed.
fn plain_name(part: &str) -> keyward::Result<&str> {
    let mut components = Path::new(part).components();
    match (components.next(), components.next()) {
        (Some(Component::Normal(name)), None) if name == part && !part.contains('\0') => Ok(part),
        _ => Err(Error::new(
            ErrorKind::Io,
            format!("an object whose key has the part '{}' cannot be a file", part.escape_debug()),
        )),
    }
}

/// Writes what a store gives.
async fn pour(answer: GetResult, mut sink: Sink, from: &Target, meter: &Meter) -> anyhow::Result<()> {
    let mut stream = answer.into_stream();
    while let Some(piece) = stream.try_next().await.map_err(|error| fail::of(error, &from.to_string()))? {
        sink.write_all(&piece)?;
        meter.add(piece.len() as u64);
    }
    Ok(sink.finish()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_leads_out_of_the_directory() {
        assert_eq!(plain_name("a b").unwrap(), "a b");
        for bad in ["", ".", "..", "a/b", "/", "a\0b"] {
            assert!(plain_name(bad).is_err(), "{bad:?}");
        }
    }
}
