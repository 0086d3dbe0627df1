//! `keyward key usage`: which versions of a key files are under, so that an operator knows when one can go.

use crate::app::App;
use crate::args::Format;
use crate::headers::{Header, header};
use crate::many::{Found, Skip, files, find, grouped};
use crate::output::{one_line, print_json, print_line, print_table, say};
use crate::report;
use clap::Args;
use keyward::key::KeyDescription;
use keyward::{Error, ErrorKind, KekId, KeyAdmin, KeyName};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// So many paths that cannot be told are named.
const NAMED: usize = 20;

/// Count the files that are under each version of a key
///
/// Only headers are read, in the directories and below; symbolic links there are not followed. A version that no file
/// is under can be destroyed, as far as these directories go. A file that cannot be read may be under any.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keyward key usage payments /srv/files
  keyward key usage payments --json /srv/files /backup | jq '.versions[] | select(.files == 0) | .version'")]
pub(crate) struct Usage {
    /// The key
    name: KeyName,
    /// Directories, or files
    #[arg(required = true, value_name = "DIR")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    format: Format,
}

#[derive(Default)]
struct Counts {
    under: BTreeMap<u32, u64>,
    other_keys: u64,
    not_envelopes: u64,
    unreadable: Vec<(PathBuf, String)>,
}

impl Usage {
    /// The key that is named.
    pub(super) fn key_name(&self) -> &KeyName {
        &self.name
    }

    pub(crate) fn run(&self, app: &App) -> anyhow::Result<()> {
        let mut keys = app.provider()?.list_keys()?;
        keys.retain(|key| key.name == self.name);
        if keys.is_empty() {
            return Err(Error::new(ErrorKind::KeyNotFound, format!("there is no key '{}'", self.name)).into());
        }
        let mut found = find(&self.paths, true, None);
        let counts = Counts::of(&mut found, &keys);
        // One of each sibling has the same version.
        let mut versions: BTreeMap<u32, Vec<&KeyDescription>> = BTreeMap::new();
        for key in &keys {
            versions.entry(key.version.get()).or_default().push(key);
        }
        match self.format.json {
            true => self.print_json(&versions, &counts, &found),
            false => self.print(app, &versions, &counts, &found),
        }
    }

    fn print(
        &self,
        app: &App,
        versions: &BTreeMap<u32, Vec<&KeyDescription>>,
        counts: &Counts,
        found: &Found,
    ) -> anyhow::Result<()> {
        let rows: Vec<_> = versions
            .iter()
            .map(|(version, keys)| [format!("{}:{version}", self.name), states(keys), grouped(counts.under(*version))])
            .collect();
        print_table(["KEY", "STATE", "FILES"], &rows)?;
        for (number, what) in [
            (counts.other_keys, "under other keys alone"),
            (counts.not_envelopes, "not encrypted"),
            (counts.unreadable.len() as u64, "cannot be told"),
        ] {
            if number > 0 {
                print_line(&format!("{what}: {}", files(number)))?;
            }
        }
        for (path, why) in counts.unreadable.iter().take(NAMED) {
            let path = one_line(&path.display().to_string());
            let text = if why.contains(&format!("'{path}'")) { why.clone() } else { format!("{path}: {why}") };
            say("warning", &format!("cannot be told: {text}"));
        }
        let links = found.skipped.of(Skip::Link);
        if links > 0 {
            app.note(&format!("not followed: {} symbolic link{}", grouped(links), if links == 1 { "" } else { "s" }));
        }
        Ok(())
    }

    fn print_json(
        &self,
        versions: &BTreeMap<u32, Vec<&KeyDescription>>,
        counts: &Counts,
        found: &Found,
    ) -> anyhow::Result<()> {
        print_json(&UsageJson {
            key: self.name.as_str(),
            versions: versions
                .iter()
                .map(|(version, keys)| VersionJson {
                    version: *version,
                    kek_ids: keys.iter().map(|key| key.kek_id.to_string()).collect(),
                    state: states(keys),
                    files: counts.under(*version),
                })
                .collect(),
            other_keys: counts.other_keys,
            not_envelopes: counts.not_envelopes,
            symbolic_links: found.skipped.of(Skip::Link),
            unreadable: counts
                .unreadable
                .iter()
                .map(|(path, error)| UnreadableJson { file: path.display().to_string(), error })
                .collect(),
        })
    }
}

impl Counts {
    fn of(found: &mut Found, keys: &[KeyDescription]) -> Self {
        let versions: BTreeMap<KekId, u32> = keys.iter().map(|key| (key.kek_id, key.version.get())).collect();
        let mut counts = Self::default();
        for (path, error) in found.failed.drain(..) {
            counts.unreadable.push((path, report::message(&error.into())));
        }
        for item in &found.files {
            let opened = item.origin.open().map_err(|error| report::message(&error.into()));
            match opened.and_then(|file| header(file.file())) {
                Ok(Header::Other) => counts.not_envelopes += 1,
                Ok(Header::Envelope { ids, complete }) => {
                    let mut these: Vec<_> = ids.iter().filter_map(|id| versions.get(id)).collect();
                    these.sort_unstable();
                    these.dedup();
                    match these.is_empty() {
                        true if complete => counts.other_keys += 1,
                        _ => these.iter().for_each(|version| *counts.under.entry(**version).or_default() += 1),
                    }
                    if !complete {
                        counts.unreadable.push((item.origin.path(), "it has a wrapped key of an unknown kind".into()));
                    }
                }
                Err(why) => counts.unreadable.push((item.origin.path(), why)),
            }
        }
        counts
    }

    fn under(&self, version: u32) -> u64 {
        self.under.get(&version).copied().unwrap_or_default()
    }
}

/// The state, or those of several siblings.
fn states(keys: &[&KeyDescription]) -> String {
    let mut states: Vec<_> = keys.iter().map(|key| key.state.name()).collect();
    states.dedup();
    states.join(", ")
}

#[derive(Serialize)]
struct UsageJson<'a> {
    key: &'a str,
    versions: Vec<VersionJson>,
    other_keys: u64,
    not_envelopes: u64,
    symbolic_links: u64,
    unreadable: Vec<UnreadableJson<'a>>,
}

#[derive(Serialize)]
struct VersionJson {
    version: u32,
    kek_ids: Vec<String>,
    state: String,
    files: u64,
}

#[derive(Serialize)]
struct UnreadableJson<'a> {
    file: String,
    error: &'a str,
}
