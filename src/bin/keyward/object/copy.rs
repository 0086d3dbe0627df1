//! `keyward object cp`.

use super::each::{below, each, none};
use super::fail;
use super::meter::Meter;
use super::sse::{CustomerAlgorithm, WriteArgs, read_key};
use super::store::{Stores, Use};
use super::upload::upload;
use super::url::Target;
use crate::app::App;
use clap::Args;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use keyward::object::{EncryptedStore, Encryption, OpenWith, Sse};
use keyward::{Error, ErrorKind};
use object_store::{CopyOptions, Extensions, GetOptions, ObjectStore};
use std::path::PathBuf;

/// Copy objects, in a store or from one to another
///
/// An object is bound to its name, so a copy is encrypted anew; its content goes through this program. It is encrypted
/// as its source is, unless --sse or --sse-c say otherwise. What is at TO is replaced. Attributes go along.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keyward object cp s3://bucket/a.pdf s3://archive/2026/
  keyward object cp -r s3://bucket/reports/ gs://archive/reports/
  keyward object cp s3://bucket/a s3://bucket/a                         # anew, under the current version of its key
  keyward object cp s3://bucket/a s3://bucket/b --sse aws:kms --sse-kms-key-id payments \\
      --sse-c-copy-source AES256 --sse-c-copy-source-key old.key")]
pub(crate) struct Copy {
    /// The object, or with -r all below it
    from: Target,
    /// Where the copy goes; the same name below it where it ends in /
    to: Target,
    /// Take all objects below FROM
    #[arg(long, short)]
    recursive: bool,
    #[command(flatten)]
    sse: WriteArgs,
    /// The source is under a key of your own, that of --sse-c-copy-source-key
    #[arg(long, value_name = "ALGORITHM", requires = "sse_c_copy_source_key", help_heading = "Encryption")]
    sse_c_copy_source: Option<CustomerAlgorithm>,
    /// A file with that key
    #[arg(long, value_name = "FILE", requires = "sse_c_copy_source", help_heading = "Encryption")]
    sse_c_copy_source_key: Option<PathBuf>,
    /// Assert that you know who wrote objects that an RSA key opens, and copy them under a symmetric key
    #[arg(long, help_heading = "Encryption")]
    danger_assert_origin: bool,
}

/// How copies are made.
struct How {
    source: EncryptedStore,
    target: EncryptedStore,
    open: OpenWith,
    sse: Option<Sse>,
}

impl Copy {
    pub(crate) async fn run(&self, app: &App) -> anyhow::Result<u8> {
        let key = read_key(self.sse_c_copy_source_key.as_deref())?;
        let says_how = self.sse.says_how();
        if !self.sse.context.is_empty() && !says_how {
            return Err(Error::new(ErrorKind::InvalidArgument, "a copy keeps the encryption context of its source")
                .with_hint("give it another with --sse or --sse-c")
                .into());
        }
        let needs_no_token = key.is_some() && (self.sse.needs_no_token() || !says_how);
        let stores = if needs_no_token { Stores::without_keys(app) } else { Stores::new(app)? };
        let (from, to) = (&self.from, &self.to);
        let sse = if says_how { Some(self.sse.choose(&stores)?) } else { None };
        let source_name = if self.recursive { "" } else { from.object()?.filename().unwrap_or_default() };
        let target = stores.open(to, Use::Write).await?;
        let is_one = from.is_in_the_store_of(to);
        let source = if is_one { target.clone() } else { stores.open(from, Use::Read).await? };
        let mut open = key.map_or_else(OpenWith::master_key, OpenWith::customer_key);
        if self.danger_assert_origin {
            open = open.danger_assert_origin();
        }
        let how = How { source, target, open, sse };
        if !self.recursive {
            let to = to.or_below(source_name)?;
            let meter = Meter::new(app, None);
            let line = how.copy(from, &to, is_one, &meter).await?;
            meter.line(&line)?;
            return Ok(0);
        }
        let found = below(&how.source, from).await?;
        if is_one && to.path().prefix_matches(from.path()) && to.path() != from.path() {
            return Err(Error::new(ErrorKind::InvalidArgument, format!("'{to}' is below '{from}'"))
                .with_hint("a copy of all objects would be among those that are copied")
                .into());
        }
        let meter = Meter::new(app, Some(found.iter().map(|meta| meta.size).sum()));
        let items = stream::iter(found.into_iter().map(Ok));
        let (how, meter_) = (&how, &meter);
        each(app, &meter, items, 0, none, |meta| {
            let (source, to) = (from.at(meta.location), to.clone());
            let key = from.key_below(source.path()).unwrap_or_default();
            async move {
                let key = if key.is_empty() { source.path().filename().unwrap_or_default().to_owned() } else { key };
                let line = how.copy(&source, &to.join(&key)?, is_one, meter_).await?;
                if is_one {
                    meter_.add(meta.size);
                }
                Ok(line)
            }
        })
        .await
    }
}

impl How {
    async fn copy(&self, from: &Target, to: &Target, is_one: bool, meter: &Meter) -> anyhow::Result<String> {
        let mut extensions = Extensions::new();
        extensions.insert(self.open.clone());
        if is_one {
            if let Some(sse) = &self.sse {
                extensions.insert(sse.clone());
            }
            let options = CopyOptions { extensions, ..CopyOptions::default() };
            let copied = self.target.copy_opts(from.path(), to.path(), options).await;
            copied.map_err(|error| fail::of(error, &from.to_string()))?;
        } else {
            let options = GetOptions { extensions, ..GetOptions::default() };
            let failed = |error| fail::of(error, &from.to_string());
            let answer = self.source.get_opts(from.path(), options).await.map_err(failed)?;
            let is: &Encryption = answer
                .extensions
                .get()
                .ok_or_else(|| anyhow::anyhow!("the store does not say how the object is encrypted"))?;
            let sse = match &self.sse {
                Some(sse) => sse.clone().copied_from(is, &self.open),
                None => self.source.sse_like(from.path(), is, &self.open).await.map_err(failed)?,
            };
            let len = answer.meta.size;
            let attributes = answer.attributes.clone();
            let content = answer.into_stream().map_err(failed).boxed();
            upload(&self.target, to, &sse, attributes, content, Some(len), meter).await?;
        }
        Ok(format!("cp: {from} to {to}"))
    }
}
