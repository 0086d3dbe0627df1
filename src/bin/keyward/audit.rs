//! `keyward audit`: the log of what was asked of keys.

mod history;
mod init;
mod retire;
mod verify;

use crate::app::App;
use crate::args::Format;
use crate::output::{print_json, print_line};
use clap::{Args, Subcommand};
use jiff::Timestamp;
use keyward::audit::{Anchor, AuditLog, AuditOptions, Verify};
use keyward::{Error, ErrorKind};
use serde::Serialize;
use std::path::{Path, PathBuf};

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    Init(init::Init),
    /// Show the operations that the log tells of
    Show(history::Show),
    /// Verify the log: its chain, the signatures of its heads, and its anchor on the token
    Verify(verify::Verify),
    /// Sign the head of the log and anchor it on the token, now
    ///
    /// The log is checked before: a log that is not the one that the token has seen is neither signed nor anchored.
    Anchor {
        #[command(flatten)]
        log: LogPath,
        #[command(flatten)]
        format: Format,
    },
    Retire(retire::Retire),
}

/// Which log.
#[derive(Debug, Args)]
pub(crate) struct LogPath {
    /// The log's current file; that of the configuration file where none is given
    #[arg(value_name = "LOG")]
    path: Option<PathBuf>,
}

impl LogPath {
    /// Whether it is the log that the configuration names.
    fn is_configured(&self) -> bool {
        self.path.is_none()
    }

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
            Self::Init(args) => args.run(app)?,
            Self::Show(args) => args.run(app)?,
            Self::Verify(args) => return args.run(app),
            Self::Anchor { log, format } => anchor(app, &log.of(app)?, *format)?,
            Self::Retire(args) => args.run(app)?,
        }
        Ok(0)
    }
}

fn anchor(app: &App, path: &Path, format: Format) -> anyhow::Result<()> {
    if app.config().audit.as_ref().is_some_and(|audit| !audit.sign) {
        let message = "the configuration file says that the audit log is not signed";
        return Err(Error::new(ErrorKind::InvalidArgument, message).into());
    }
    let keepers = app.keepers()?;
    // A path that is misspelt is not to become a log.
    if !path.exists() {
        let mut verify = Verify::new(path).name(app.log_name()?);
        for keeper in &keepers {
            verify = verify.keeper(&**keeper)?;
        }
        if let Some(finding) = verify.run()?.finding {
            let message = format!("there is no audit log '{}': {}", path.display(), finding.explanation);
            return Err(Error::new(ErrorKind::Tampered, message).into());
        }
    }
    let options = keepers.into_iter().fold(app.audit_options(AuditOptions::default()), AuditOptions::keeper);
    let log = AuditLog::open(path, options)?;
    let anchor = log.anchor()?;
    log.close()?;
    if format.json {
        return print_json(&AnchorJson::new(&anchor));
    }
    Ok(print_line(&format!("anchored the log '{}' at entry {}", anchor.name(), anchor.count()))?)
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
struct AnchorJson {
    log: String,
    name: String,
    entry: u64,
    hash: String,
    time: String,
    retired: bool,
}

impl AnchorJson {
    fn new(anchor: &Anchor) -> Self {
        Self {
            log: anchor.log().to_string(),
            name: anchor.name().to_string(),
            entry: anchor.count(),
            hash: anchor.hash().to_string(),
            time: anchor.time_text().to_owned(),
            retired: anchor.is_retired(),
        }
    }
}
