//! `keyward object usage`.

use super::fail;
use super::store::{Stores, Use};
use super::url::Target;
use crate::app::App;
use crate::args::Format;
use crate::many::grouped;
use crate::output::{print_json, print_line, print_table, say};
use crate::report;
use clap::Args;
use serde::Serialize;

/// So many objects that cannot be told are named.
const NAMED: usize = 20;

/// Count the objects that are under each version of a key
///
/// Only headers and wrapped keys are read. A version that no object is under can be destroyed, as far as this store
/// goes; an object that cannot be told may be under any. Without a token, versions are told by their KEK ids alone.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keyward object usage s3://bucket
  keyward object usage --json s3://bucket/reports/ | jq '.versions[] | select(.key == \"payments\")'")]
pub(crate) struct Usage {
    /// The store, or a place in it
    url: Target,
    #[command(flatten)]
    format: Format,
}

impl Usage {
    pub(crate) async fn run(&self, app: &App) -> anyhow::Result<u8> {
        let stores = if app.names_a_token() { Stores::new(app)? } else { Stores::without_keys(app) };
        let place = &self.url;
        let store = stores.open(place, Use::Read).await?;
        let usage = store.usage(place.prefix()).await.map_err(|error| fail::of(error, &place.to_string()))?;
        let versions: Vec<_> = usage
            .keks
            .iter()
            .map(|(kek, used)| VersionJson {
                kek_id: kek.to_string(),
                key: used.key.as_ref().map(|(name, _)| name.to_string()),
                version: used.key.as_ref().map(|(_, version)| version.get()),
                objects: used.objects,
            })
            .collect();
        let unknown: Vec<_> = usage
            .unknown
            .into_iter()
            .map(|(path, error)| {
                let url = place.url_of(&path);
                UnknownJson { error: report::message(&fail::of(error, &url)), url }
            })
            .collect();
        if self.format.json {
            print_json(&UsageJson { versions, customer_keys: usage.customer, unknown })?;
            return Ok(0);
        }
        let rows: Vec<_> = versions
            .iter()
            .map(|one| {
                let key = match (&one.key, one.version) {
                    (Some(key), Some(version)) => format!("{key}:{version}"),
                    _ => "-".into(),
                };
                [key, one.kek_id.clone(), grouped(one.objects)]
            })
            .collect();
        print_table(["KEY", "KEK ID", "OBJECTS"], &rows)?;
        for (number, what) in [(usage.customer, "under customers' own keys"), (unknown.len() as u64, "cannot be told")]
        {
            if number > 0 {
                print_line(&format!("{what}: {}", grouped(number)))?;
            }
        }
        for one in unknown.iter().take(NAMED) {
            say("warning", &format!("cannot be told: {}", one.error));
        }
        Ok(0)
    }
}

#[derive(Serialize)]
struct UsageJson {
    versions: Vec<VersionJson>,
    customer_keys: u64,
    unknown: Vec<UnknownJson>,
}

#[derive(Serialize)]
struct VersionJson {
    kek_id: String,
    key: Option<String>,
    version: Option<u32>,
    objects: u64,
}

#[derive(Serialize)]
struct UnknownJson {
    url: String,
    error: String,
}
