//! `keyward audit`: the log of what was asked of keys.

mod history;
mod verify;

use crate::app::App;
use crate::args::Format;
use crate::output::{print, print_json, print_line};
use clap::{Args, Subcommand};
use jiff::Timestamp;
use keyward::audit::{AuditLog, AuditOptions, HeadKey};
use keyward::durable::{AtomicFile, Replace};
use keyward::hsm::AuditKey;
use keyward::{Error, ErrorKind};
use serde::Serialize;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Make the key on the token that signs the log's heads, and print its public half
    ///
    /// Whoever has the public half verifies the log without the token. Keep it where who can write the log cannot write.
    #[command(after_help = "Example:\n  keyward audit init --public audit.pem")]
    Init {
        /// Write the public half to this file
        #[arg(long, value_name = "FILE")]
        public: Option<PathBuf>,
        #[command(flatten)]
        format: Format,
    },
    /// Show the operations that the log tells of
    Show(history::Show),
    /// Verify the log: its chain, the signatures of its heads, and its anchor on the token
    Verify(verify::Verify),
    /// Sign the head of the log and anchor it on the token, now
    Anchor {
        #[command(flatten)]
        log: LogPath,
        #[command(flatten)]
        format: Format,
    },
}

/// Which log.
#[derive(Debug, Args)]
pub(crate) struct LogPath {
    /// The log's current file; that of the configuration file where none is given
    #[arg(value_name = "LOG")]
    path: Option<PathBuf>,
}

impl LogPath {
    fn of(&self, app: &App) -> keyward::Result<PathBuf> {
        let path = self.path.clone().or_else(|| app.config().audit.as_ref().map(|audit| audit.log.clone()));
        path.ok_or_else(|| {
            Error::new(ErrorKind::InvalidArgument, "no audit log is named")
                .with_hint("give its path, or set 'log' in the table [audit] of the configuration file")
        })
    }
}

impl AuditCommand {
    /// Gives the exit status.
    pub(crate) fn run(&self, app: &App) -> anyhow::Result<u8> {
        match self {
            Self::Init { public, format } => init(app, public.as_deref(), *format)?,
            Self::Show(args) => args.run(app)?,
            Self::Verify(args) => return args.run(app),
            Self::Anchor { log, format } => anchor(app, &log.of(app)?, *format)?,
        }
        Ok(0)
    }
}

fn init(app: &App, public: Option<&Path>, format: Format) -> anyhow::Result<()> {
    // Before there is a key of which nobody has the public half.
    let file = public.map(|path| AtomicFile::create(path, Replace::No)).transpose()?;
    let key = AuditKey::create(app.signing_token()?)?;
    let pem = key.public_key().to_pem();
    if let Some(mut file) = file {
        file.write_all(pem.as_bytes())?;
        file.commit()?;
    }
    if format.json {
        return print_json(&KeyJson::new(key.public_key()));
    }
    match public {
        Some(path) => print_line(&format!(
            "made the audit key {}; its public half is in {}",
            key.public_key().id(),
            path.display()
        ))?,
        None => {
            print(&pem)?;
            app.note(&format!("made the audit key {}", key.public_key().id()));
        }
    }
    Ok(())
}

fn anchor(app: &App, path: &Path, format: Format) -> anyhow::Result<()> {
    // A path that is misspelt is not to become a log.
    if !path.exists() {
        return Err(Error::new(ErrorKind::Io, format!("there is no audit log '{}'", path.display())).into());
    }
    if app.config().audit.as_ref().is_some_and(|audit| !audit.sign) {
        let message = "the configuration file says that the audit log is not signed";
        return Err(Error::new(ErrorKind::InvalidArgument, message).into());
    }
    let key = Arc::new(AuditKey::open(app.signing_token()?)?);
    let log = AuditLog::open(path, app.audit_options(AuditOptions::default()).signer(key.clone()).anchors(key))?;
    let anchor = log.anchor()?;
    log.close()?;
    if format.json {
        return print_json(&AnchorJson::new(&anchor));
    }
    Ok(print_line(&format!("anchored the log {} at entry {}", anchor.log, anchor.count))?)
}

/// A time as people write it: with its zone, or a day, which begins in UTC.
fn parse_time(text: &str) -> keyward::Result<Timestamp> {
    let day = || format!("{text}T00:00:00Z").parse();
    text.parse().or_else(|_: jiff::Error| day()).map_err(|_| {
        Error::new(ErrorKind::InvalidArgument, format!("'{}' is not a time", text.escape_debug()))
            .with_hint("as in 2026-01-31 or 2026-01-31T08:15:00Z")
    })
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

#[derive(Serialize)]
struct AnchorJson {
    log: String,
    host: String,
    entry: u64,
    hash: String,
    time: String,
}

impl AnchorJson {
    fn new(anchor: &keyward::audit::Anchor) -> Self {
        Self {
            log: anchor.log.to_string(),
            host: anchor.host.clone(),
            entry: anchor.count,
            hash: anchor.hash.to_string(),
            time: anchor.time_text().to_owned(),
        }
    }
}
