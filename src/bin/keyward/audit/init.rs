//! `keyward audit init`.

use crate::app::App;
use crate::args::Format;
use crate::output::{print, print_json, print_line};
use clap::Args;
use keyward::audit::HeadKey;
use keyward::durable::{AtomicFile, Replace};
use keyward::hsm::AuditKey;
use keyward::token::Token;
use keyward::{Error, ErrorKind};
use serde::Serialize;
use std::io::Write;
use std::path::PathBuf;

/// Make the key on the token that signs the log's heads, and print its public half
///
/// The public half verifies the log without the token. Keep it where the writers of the log cannot write. Of several
/// tokens each gets a key of its own, and records the public halves of the others.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keyward audit init --public audit.pem
  keyward audit init --rotate --public audit-2.pem")]
pub(crate) struct Init {
    /// Write the public half to this file
    #[arg(long, value_name = "FILE")]
    public: Option<PathBuf>,
    /// Replace the key that is there: it is destroyed, and what it signed still verifies with the token
    #[arg(long)]
    rotate: bool,
    #[command(flatten)]
    format: Format,
}

impl Init {
    pub(super) fn run(&self, app: &App) -> anyhow::Result<()> {
        // Before a key is made whose public half is not written anywhere.
        let file = self.public.as_deref().map(|path| AtomicFile::create(path, Replace::No)).transpose()?;
        let tokens = app.uris_to_keep()?.iter().map(|uri| app.open_one(uri)).collect::<keyward::Result<Vec<_>>>()?;
        let keys = self.keys(tokens)?;
        let public: Vec<_> = keys.iter().map(AuditKey::public_key).cloned().collect();
        for key in &keys {
            key.trust(&public)?;
        }
        let pem: String = public.iter().map(HeadKey::to_pem).collect();
        if let Some(mut file) = file {
            file.write_all(pem.as_bytes())?;
            file.commit()?;
        }
        if self.format.json {
            return match public.as_slice() {
                [one] => print_json(&KeyJson::new(one)),
                several => print_json(&several.iter().map(KeyJson::new).collect::<Vec<_>>()),
            };
        }
        let ids: Vec<_> = public.iter().map(|key| key.id().to_string()).collect();
        let (ids, s) = (ids.join(" and "), if public.len() == 1 { "" } else { "s" });
        match &self.public {
            Some(path) => {
                print_line(&format!("made the audit key{s} {ids}; its public half is in {}", path.display()))?
            }
            None => {
                print(&pem)?;
                app.note(&format!("made the audit key{s} {ids}"));
            }
        }
        Ok(())
    }

    /// The keys of all tokens: made where there is none, but not where all have one already.
    fn keys(&self, tokens: Vec<Token>) -> anyhow::Result<Vec<AuditKey>> {
        if self.rotate {
            return Ok(tokens.into_iter().map(AuditKey::rotate).collect::<keyward::Result<_>>()?);
        }
        let (mut keys, mut is_new, mut there) = (Vec::new(), false, None);
        for token in tokens {
            match AuditKey::create(token.clone()) {
                Ok(key) => {
                    is_new = true;
                    keys.push(key);
                }
                Err(error) if error.kind() == ErrorKind::KeyExists => {
                    there = Some(error);
                    keys.push(AuditKey::open(token)?);
                }
                Err(error) => return Err(error.into()),
            }
        }
        match there {
            Some(error) if !is_new => Err(already(error).into()),
            _ => Ok(keys),
        }
    }
}

fn already(error: Error) -> Error {
    match error.hint() {
        Some(_) => error,
        None => error.with_hint("--rotate replaces it"),
    }
}

#[derive(Serialize)]
struct KeyJson {
    key: String,
    public_key: String,
}

impl KeyJson {
    fn new(key: &HeadKey) -> Self {
        Self { key: key.id().to_string(), public_key: key.to_pem() }
    }
}
