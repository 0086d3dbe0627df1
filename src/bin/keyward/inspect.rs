//! `keyward inspect`: what a file says about itself, none of it verified.

use crate::args::Format;
use crate::files::Input;
use crate::output::{print_fields, print_json};
use clap::Args;
use keyward::envelope::{InspectedEntry, Inspection, Positioned, inspect};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;

/// Show what a file says about itself; needs no token
///
/// Nothing of it is verified: that takes the key. `keyward key list` shows whose the KEK ids are.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  keyward inspect --json report.pdf.kw | jq .context")]
pub(crate) struct Inspect {
    /// The file; standard input where it is -
    file: PathBuf,
    #[command(flatten)]
    format: Format,
}

impl Inspect {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let found = inspect(&mut Input::of(Some(&self.file))?.reader()?)?;
        if self.format.json {
            return print_json(&InspectionJson::new(&found));
        }
        let mut fields = vec![
            ("message id", hex(&found.message_id)),
            ("body", if found.detached { "in another file" } else { "in this file" }.into()),
            ("form", if found.compact { "compact" } else { "plain" }.into()),
            ("header", format!("{} bytes, {} of them key slots", found.header_len, found.slots_len)),
            ("generation", found.generation.map_or_else(|| "-".into(), |generation| generation.to_string())),
        ];
        fields.extend(found.context.iter().map(|(key, value)| ("context", format!("{key}={value}"))));
        fields.extend(found.entries.iter().map(|entry| {
            let text = match entry {
                InspectedEntry::Known(key) => format!("{} under KEK id {}", key.algorithm(), key.kek_id()),
                InspectedEntry::Unknown { len } => format!("of an unknown kind, {len} bytes"),
            };
            ("wrapped key", text)
        }));
        Ok(print_fields(&fields)?)
    }
}

/// Reads what an open file says about itself, from its beginning. Its position stays as it is.
pub(crate) fn inspect_file(file: &File) -> keyward::Result<Inspection> {
    inspect(&mut Positioned::new(file))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[derive(Serialize)]
struct InspectionJson<'a> {
    message_id: String,
    context: BTreeMap<&'a str, &'a str>,
    header_len: u64,
    slots_len: u32,
    detached: bool,
    compact: bool,
    generation: Option<u32>,
    entries: Vec<EntryJson>,
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum EntryJson {
    Known { algorithm: &'static str, kek_id: String },
    Unknown { length: usize },
}

impl<'a> InspectionJson<'a> {
    fn new(found: &'a Inspection) -> Self {
        let entries = found.entries.iter().map(|entry| match entry {
            InspectedEntry::Known(key) => {
                EntryJson::Known { algorithm: key.algorithm().name(), kek_id: key.kek_id().to_string() }
            }
            InspectedEntry::Unknown { len } => EntryJson::Unknown { length: *len },
        });
        Self {
            message_id: hex(&found.message_id),
            context: found.context.iter().collect(),
            header_len: found.header_len,
            slots_len: found.slots_len,
            detached: found.detached,
            compact: found.compact,
            generation: found.generation,
            entries: entries.collect(),
        }
    }
}
