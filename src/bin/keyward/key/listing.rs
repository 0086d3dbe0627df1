//! `keyward key list` and `keyward key show`, and how a key is told.

use crate::app::App;
use crate::args::{Format, KeyPattern};
use crate::output::{self, count, print_fields, print_json, print_line, print_table};
use jiff::Timestamp;
use keyward::key::KeyDescription;
use keyward::{Error, ErrorKind, KeyAdmin};
use serde::Serialize;
use std::time::SystemTime;

/// Tells what was done to a key.
pub(super) fn done(what: &str, key: &KeyDescription, format: Format) -> anyhow::Result<()> {
    if format.json {
        return print_json(&KeyJson::new(key));
    }
    let KeyDescription { algorithm, state, kek_id, .. } = key;
    Ok(print_line(&format!("{what} {} ({algorithm}, {state}, KEK id {kek_id})", key.label()))?)
}

pub(super) fn list(app: &App, format: Format) -> anyhow::Result<()> {
    let keys = app.provider()?.list_keys()?;
    if format.json {
        return print_json(&keys.iter().map(KeyJson::new).collect::<Vec<_>>());
    }
    if keys.is_empty() {
        app.note("there is no key on this token; `keyward key create NAME` makes one");
        return Ok(());
    }
    let rows: Vec<_> = keys
        .iter()
        .map(|key| {
            [
                key.label(),
                key.algorithm.to_string(),
                key.state.to_string(),
                key.created.and_then(date).unwrap_or_else(|| "-".into()),
                key.kek_id.to_string(),
                remarks(key),
            ]
        })
        .collect();
    print_table(["KEY", "ALGORITHM", "STATE", "CREATED", "KEK ID", "REMARKS"], &rows)?;
    for key in &keys {
        for problem in &key.problems {
            output::say("warning", &format!("key '{}' is not used: {problem}", key.label()));
        }
    }
    Ok(())
}

fn remarks(key: &KeyDescription) -> String {
    let mut remarks = Vec::new();
    if key.provenance != keyward::key::Provenance::Generated {
        remarks.push(key.provenance.to_string());
    }
    if !key.enforced_by_token {
        remarks.push("not enforced by the token".into());
    }
    if let Some(due) = key.destroy_after.and_then(date) {
        remarks.push(format!("destroy after {due}"));
    }
    if !key.problems.is_empty() {
        remarks.push(count(key.problems.len(), "problem"));
    }
    remarks.join(", ")
}

pub(super) fn show(app: &App, wanted: &KeyPattern, format: Format) -> anyhow::Result<()> {
    let mut keys = app.provider()?.list_keys()?;
    keys.retain(|key| key.name == wanted.name && wanted.version.is_none_or(|version| version == key.version));
    if keys.is_empty() {
        let what = wanted.version.map_or_else(|| wanted.name.to_string(), |v| format!("{}:{v}", wanted.name));
        return Err(Error::new(ErrorKind::KeyNotFound, format!("there is no key '{what}'"))
            .with_hint("`keyward key list` shows those that there are")
            .into());
    }
    if format.json {
        return print_json(&keys.iter().map(KeyJson::new).collect::<Vec<_>>());
    }
    for (index, key) in keys.iter().enumerate() {
        if index > 0 {
            output::print("\n")?;
        }
        let mut fields = vec![
            ("key", key.label()),
            ("algorithm", key.algorithm.to_string()),
            ("state", key.state.to_string()),
            ("enforced by", if key.enforced_by_token { "the token" } else { "Keyward alone" }.into()),
            ("KEK id", key.kek_id.to_string()),
            ("provenance", key.provenance.to_string()),
            ("created", key.created.and_then(date).unwrap_or_else(|| "not recorded".into())),
        ];
        fields.extend(key.destroy_after.and_then(date).map(|due| ("destroy after", due)));
        fields.extend(key.problems.iter().map(|problem| ("problem", problem.clone())));
        print_fields(&fields)?;
    }
    Ok(())
}

/// A time, as it is written everywhere: in UTC.
pub(crate) fn date(time: SystemTime) -> Option<String> {
    Some(Timestamp::try_from(time).ok()?.to_string())
}

#[derive(Serialize)]
pub(super) struct KeyJson<'a> {
    name: &'a str,
    version: u32,
    kek_id: String,
    algorithm: &'static str,
    state: &'static str,
    enforced_by_token: bool,
    provenance: &'static str,
    created: Option<String>,
    destroy_after: Option<String>,
    problems: &'a [String],
}

impl<'a> KeyJson<'a> {
    pub(super) fn new(key: &'a KeyDescription) -> Self {
        Self {
            name: key.name.as_str(),
            version: key.version.get(),
            kek_id: key.kek_id.to_string(),
            algorithm: key.algorithm.name(),
            state: key.state.name(),
            enforced_by_token: key.enforced_by_token,
            provenance: key.provenance.name(),
            destroy_after: key.destroy_after.and_then(date),
            created: key.created.and_then(date),
            problems: &key.problems,
        }
    }
    /// A key that is no longer there.
    pub(super) fn destroyed(key: &'a KeyDescription) -> Self {
        Self { state: "destroyed", destroy_after: None, ..Self::new(key) }
    }
}
