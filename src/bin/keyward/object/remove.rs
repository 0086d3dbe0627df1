//! `keyward object rm`.

use super::each::{below, each, none};
use super::fail;
use super::meter::Meter;
use super::store::{Stores, Use};
use super::url::Target;
use crate::app::App;
use clap::Args;
use futures_util::stream;
use object_store::ObjectStoreExt;

/// Delete objects; needs no token
///
/// There is no way back, but for what the store itself keeps of old versions. That an object is not there is a failure
/// only where the store says so: S3 does not.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keyward object rm s3://bucket/reports/report.pdf
  keyward object rm -r s3://bucket/reports/")]
pub(crate) struct Remove {
    /// The object, or with -r all below it
    url: Target,
    /// Delete all objects below the URL
    #[arg(long, short)]
    recursive: bool,
}

impl Remove {
    pub(crate) async fn run(&self, app: &App) -> anyhow::Result<u8> {
        let stores = Stores::without_keys(app);
        let place = &self.url;
        if !self.recursive {
            place.object()?;
        }
        let store = stores.open(place, Use::Read).await?;
        let meter = Meter::new(app, Some(0));
        let failed = |error, at: &Target| fail::of(error, &at.to_string());
        if !self.recursive {
            store.delete(place.path()).await.map_err(|error| failed(error, place))?;
            meter.line(&format!("rm: {place}"))?;
            return Ok(0);
        }
        let found = below(&store, place).await?;
        let items = stream::iter(found.into_iter().map(|meta| Ok(place.at(meta.location))));
        let store = &store;
        each(app, &meter, items, 0, none, |at| async move {
            store.delete(at.path()).await.map_err(|error| failed(error, &at))?;
            Ok(format!("rm: {at}"))
        })
        .await
    }
}
