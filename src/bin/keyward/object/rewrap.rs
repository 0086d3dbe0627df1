//! `keyward object rewrap`.

use super::each::{each, none};
use super::fail;
use super::meter::Meter;
use super::store::{Stores, Use};
use super::url::Target;
use crate::app::App;
use clap::Args;
use futures_util::stream::TryStreamExt;
use keyward::envelope::RewrapOutcome;
use keyward::{Error, ErrorKind, KeyName};

/// Move objects to the current version of their key, or to another key
///
/// Only wrapped keys are replaced, and only where they are kept apart (detached_slots in the table [object]): no content
/// is read or written. Run again, it goes on with what is not done yet.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keyward key rotate payments && keyward object rewrap s3://bucket/reports/
  keyward object rewrap --key archive s3://bucket

In a store whose objects hold their wrapped keys themselves, `keyward object cp URL URL` encrypts one anew.")]
pub(crate) struct Rewrap {
    /// The store, or a place in it
    url: Target,
    /// The master key that all are under afterwards; of each object its own where not given
    #[arg(long, short, value_name = "NAME")]
    key: Option<KeyName>,
}

impl Rewrap {
    pub(crate) async fn run(&self, app: &App) -> anyhow::Result<u8> {
        if !super::store::table_of(app).detached_slots {
            return Err(Error::new(ErrorKind::InvalidArgument, "objects of this store hold their wrapped keys themselves")
                .with_hint("set detached_slots = true in the table [object] where they do not; else `keyward object cp URL URL` encrypts one anew")
                .into());
        }
        if let Some(name) = &self.key {
            app.check_allowed(name)?;
        }
        let stores = Stores::new(app)?;
        let place = &self.url;
        let store = stores.open(place, Use::Read).await?;
        let meter = Meter::new(app, Some(0));
        let failed = |error| fail::of(error, &place.to_string());
        let all = store.rewrap(place.prefix(), self.key.as_ref()).map_err(failed);
        each(app, &meter, all, 0, none, |one| {
            let url = place.url_of(&one.location);
            async move {
                let outcome = one.outcome.map_err(|error| fail::of(error, &url))?;
                let keks = one.keks.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                Ok(match outcome {
                    RewrapOutcome::Unchanged if keks.is_empty() => {
                        format!("{url}: under a customer's own key, left as it is")
                    }
                    RewrapOutcome::Unchanged => format!("{url}: unchanged, under {keks}"),
                    _ => format!("{url}: rewrapped, under {keks}"),
                })
            }
        })
        .await
    }
}
