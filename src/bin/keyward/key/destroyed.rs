//! `keyward key list --destroyed`: the keys that are not there any more.

use super::listing::date;
use crate::app::App;
use crate::args::Format;
use crate::output::{print_json, print_table};
use keyward::KeyAdmin;
use keyward::key::DestroyedKey;
use serde::Serialize;

pub(super) fn list(app: &App, format: Format) -> anyhow::Result<()> {
    let keys = app.provider()?.list_destroyed_keys()?;
    if format.json {
        return print_json(&keys.iter().map(DestroyedJson::new).collect::<Vec<_>>());
    }
    if keys.is_empty() {
        app.note("no key of this token is known to be destroyed");
        return Ok(());
    }
    let mut rows = Vec::new();
    for key in &keys {
        let name = key.name.to_string();
        let highest = key.highest_version.to_string();
        if key.versions.is_empty() {
            rows.push([name.clone(), highest.clone(), "-".into(), "-".into(), "-".into()]);
        }
        rows.extend(key.versions.iter().map(|gone| {
            let when = date(gone.destroyed).unwrap_or_else(|| "-".into());
            [name.clone(), highest.clone(), gone.version.to_string(), when, gone.kek_id.to_string()]
        }));
    }
    print_table(["KEY", "HIGHEST", "VERSION", "DESTROYED", "KEK ID"], &rows)?;
    Ok(())
}

/// A destroyed key as JSON.
#[derive(Serialize)]
pub(crate) struct DestroyedJson<'a> {
    name: &'a str,
    highest_version: u32,
    state: &'static str,
    versions: Vec<VersionJson>,
}

#[derive(Serialize)]
struct VersionJson {
    version: u32,
    kek_id: String,
    destroyed: Option<String>,
}

impl<'a> DestroyedJson<'a> {
    pub(crate) fn new(key: &'a DestroyedKey) -> Self {
        let versions = key.versions.iter().map(|gone| VersionJson {
            version: gone.version.get(),
            kek_id: gone.kek_id.to_string(),
            destroyed: date(gone.destroyed),
        });
        Self {
            name: key.name.as_str(),
            highest_version: key.highest_version.get(),
            state: "destroyed",
            versions: versions.collect(),
        }
    }
}
