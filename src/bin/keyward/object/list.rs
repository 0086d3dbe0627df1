//! `keyward object ls`.

use super::fail;
use super::store::{Stores, Use};
use super::url::Target;
use crate::app::App;
use crate::args::Format;
use crate::output::{print_json, print_line};
use clap::Args;
use futures_util::stream::StreamExt;
use keyward::{Error, ErrorKind};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use serde::Serialize;

/// List objects, with the sizes of their contents; needs no token
///
/// Times are UTC. Sizes are those of what is encrypted, and follow from those that the store says. PRE is before what
/// has more below it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keyward object ls s3://bucket
  keyward object ls -r s3://bucket/reports/
  keyward object ls -r --json s3://bucket | jq '[.objects[].size] | add'")]
pub(crate) struct List {
    /// A store, or a place in it
    url: Target,
    /// All that is below, and not only the next level
    #[arg(long, short)]
    recursive: bool,
    #[command(flatten)]
    format: Format,
}

impl List {
    pub(crate) async fn run(&self, app: &App) -> anyhow::Result<u8> {
        let stores = Stores::without_keys(app);
        let place = &self.url;
        let store = stores.open(place, Use::Read).await?;
        let failed = |error| fail::of(error, &place.to_string());
        if self.recursive && !self.format.json {
            // Line after line: nobody waits for the end of a store with millions of objects.
            let mut listing = store.list(place.prefix());
            let mut any = false;
            while let Some(meta) = listing.next().await {
                let meta = meta.map_err(failed)?;
                print_line(&line(&meta, meta.location.as_ref()))?;
                any = true;
            }
            drop(listing);
            return if any { Ok(0) } else { self.single(&store, place).await };
        }
        let (prefixes, objects) = if self.recursive {
            let mut listing = store.list(place.prefix());
            let mut objects = Vec::new();
            while let Some(meta) = listing.next().await {
                objects.push(meta.map_err(failed)?);
            }
            (Vec::new(), objects)
        } else {
            let level = store.list_with_delimiter(place.prefix()).await.map_err(failed)?;
            (level.common_prefixes, level.objects)
        };
        if prefixes.is_empty() && objects.is_empty() {
            return self.single(&store, place).await;
        }
        self.print(place, &prefixes, &objects)
    }

    /// Where nothing is below a place, it may be an object itself.
    async fn single(&self, store: &keyward::object::EncryptedStore, place: &Target) -> anyhow::Result<u8> {
        if place.prefix().is_none() {
            return if self.format.json { self.print(place, &[], &[]) } else { Ok(0) };
        }
        match store.head(place.path()).await {
            Ok(meta) if !place.is_below() => self.print(place, &[], &[meta]),
            Ok(_) | Err(object_store::Error::NotFound { .. }) => {
                Err(Error::new(ErrorKind::Io, format!("there is nothing at '{place}'")).into())
            }
            Err(error) => Err(fail::of(error, &place.to_string())),
        }
    }

    fn print(&self, place: &Target, prefixes: &[Path], objects: &[ObjectMeta]) -> anyhow::Result<u8> {
        if self.format.json {
            print_json(&ListJson {
                prefixes: prefixes.iter().map(|path| format!("{path}/")).collect(),
                objects: objects.iter().map(|meta| ObjectJson::new(place, meta)).collect(),
            })?;
            return Ok(0);
        }
        for prefix in prefixes {
            print_line(&format!("{:>19} {:>12} {}/", "", "PRE", prefix.filename().unwrap_or_default()))?;
        }
        for meta in objects {
            let name =
                if self.recursive { meta.location.as_ref() } else { meta.location.filename().unwrap_or_default() };
            print_line(&line(meta, name))?;
        }
        Ok(0)
    }
}

fn line(meta: &ObjectMeta, name: &str) -> String {
    format!("{:>19} {:>12} {name}", time(meta), meta.size)
}

fn time(meta: &ObjectMeta) -> String {
    meta.last_modified.format("%Y-%m-%d %H:%M:%S").to_string()
}

#[derive(Serialize)]
struct ListJson<'a> {
    prefixes: Vec<String>,
    objects: Vec<ObjectJson<'a>>,
}

/// What a store says of an object.
#[derive(Serialize)]
pub(super) struct ObjectJson<'a> {
    url: String,
    key: &'a str,
    size: u64,
    last_modified: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    e_tag: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
}

impl<'a> ObjectJson<'a> {
    pub(super) fn new(place: &Target, meta: &'a ObjectMeta) -> Self {
        Self {
            url: place.url_of(&meta.location),
            key: meta.location.as_ref(),
            size: meta.size,
            last_modified: meta.last_modified.format("%Y-%m-%dT%H:%M:%SZ").to_string(),
            e_tag: meta.e_tag.as_deref(),
            version: meta.version.as_deref(),
        }
    }
}
