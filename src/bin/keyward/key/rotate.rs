//! `keyward key rotate`.

use super::listing::{KeyJson, done};
use crate::app::{App, Keys};
use crate::args::Format;
use crate::duration::{Span, in_words};
use crate::output::{print_json, print_line};
use clap::Args;
use keyward::key::KeyDescription;
use keyward::{ErrorKind, KeyAdmin, KeyName, KeyRef};
use serde::Serialize;
use std::time::{SystemTime, UNIX_EPOCH};

/// Make the next version of a key; the older ones only open files from then on
///
/// With --if-older-than it can be run from a timer, on as many hosts as there are: of those that find the key due,
/// one rotates it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keyward key rotate payments
  keyward rewrap --key payments *.kw       # moves files to the new version
  keyward key rotate payments --if-older-than 90d

The older versions stay on the token until `keyward key destroy`.")]
pub(crate) struct Rotate {
    /// The key
    name: KeyName,
    /// Only where the current version was made longer ago than this: 90d, 12h, 2w
    #[arg(long, value_name = "TIME")]
    if_older_than: Option<Span>,
    #[command(flatten)]
    format: Format,
}

impl Rotate {
    /// The key that is named.
    pub(super) fn key_name(&self) -> &KeyName {
        &self.name
    }

    pub(crate) fn run(&self, app: &App) -> anyhow::Result<()> {
        let provider = app.provider()?;
        let Some(age) = self.if_older_than else {
            return done("rotated; current is", &provider.rotate_key(&self.name, None)?, self.format);
        };
        let now = SystemTime::now();
        let before = now.checked_sub(age.0).unwrap_or(UNIX_EPOCH);
        match provider.rotate_key(&self.name, Some(before)) {
            Ok(key) if self.format.json => print_json(&RotationJson::new(&key, true)),
            Ok(key) => done("rotated; current is", &key, self.format),
            // It is new enough, or another was faster.
            Err(error) if error.kind() == ErrorKind::KeyExists => self.not_due(&*provider),
            Err(error) => Err(error.into()),
        }
    }

    fn not_due(&self, provider: &dyn Keys) -> anyhow::Result<()> {
        let key = provider.describe_key(KeyRef::Name(&self.name))?;
        if self.format.json {
            return print_json(&RotationJson::new(&key, false));
        }
        let age = key.created.and_then(|created| SystemTime::now().duration_since(created).ok());
        let age =
            age.map_or_else(|| "newer than this host's clock says".to_owned(), |age| format!("{} old", in_words(age)));
        Ok(print_line(&format!("not due: {} is {age}", key.label()))?)
    }
}

#[derive(Serialize)]
struct RotationJson<'a> {
    #[serde(flatten)]
    key: KeyJson<'a>,
    rotated: bool,
}

impl<'a> RotationJson<'a> {
    fn new(key: &'a KeyDescription, rotated: bool) -> Self {
        Self { key: KeyJson::new(key), rotated }
    }
}
