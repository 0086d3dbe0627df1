//! `keyward ceremony`: master keys made in front of witnesses.

mod new;
mod pin;
mod plan;
mod rehearsal;
mod report;
mod resume;
mod run;
mod sign;
mod status;
mod terminal;
pub(crate) mod verify;

use crate::app::App;
use crate::governed;
use crate::output::say;
use crate::report::{failure, message};
use clap::{Args, Subcommand};
use keyward::ceremony::{Bundle, Ended, Plan, words};
use keyward::hsm::{HsmProvider, OpeningAuditKey};
use keyward::key::{HeadKeeper, Operation};
use keyward::{Error, ErrorKind, KeyName};
use rehearsal::Rehearsal;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) use terminal::restore;

/// The version of this program, for the transcript.
const TOOL: &str = env!("CARGO_PKG_VERSION");
/// What a ceremony exits with that people have ended.
const STOPPED: u8 = 1;

#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  keyward ceremony plan new payments.toml
  keyward ceremony plan lint payments.toml
  keyward ceremony run --dry-run payments.toml > script.md
  keyward ceremony run --rehearse payments.toml
  keyward ceremony run payments.toml                                # makes ./2026-11-payments
  keyward ceremony sign 2026-11-payments --key minisign.key          # on the witness's own machine
  keyward ceremony verify 2026-11-payments --plan payments.toml")]
pub(crate) enum CeremonyCommand {
    /// Write, check and read aloud the plan of a ceremony; needs no token
    #[command(subcommand)]
    Plan(plan::PlanCommand),
    Run(run::Run),
    Resume(resume::Resume),
    Status(status::Status),
    Pin(pin::MakePin),
    Report(report::Report),
    Sign(sign::Sign),
    Verify(verify::Verify),
}

impl CeremonyCommand {
    /// Gives the exit status.
    pub(crate) fn run(&self, app: &App) -> anyhow::Result<u8> {
        match self {
            Self::Plan(command) => return command.run(app),
            Self::Run(args) => return args.run(app),
            Self::Resume(args) => return args.run(app),
            Self::Status(args) => args.run()?,
            Self::Pin(args) => args.run()?,
            Self::Report(args) => args.run()?,
            Self::Sign(args) => return args.run(app),
            Self::Verify(args) => return args.run(app),
        }
        Ok(0)
    }
}

/// The directory of a ceremony.
#[derive(Debug, Args)]
struct BundlePath {
    /// The directory that the ceremony left
    #[arg(value_name = "BUNDLE")]
    path: PathBuf,
}

impl BundlePath {
    fn open(&self) -> keyward::Result<Bundle> {
        Bundle::open(&self.path)
    }
}

/// A plan and its text.
fn read_plan(path: &Path) -> keyward::Result<(Plan, String)> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Error::new(ErrorKind::Io, format!("cannot read the plan '{}'", path.display())).with_source(error)
    })?;
    Ok((Plan::parse(&text)?, text))
}

/// Refuses what has the loader put other code into this program than is installed: a library that is preloaded can
/// give random numbers of its own, and read whatever is typed. The libraries that are there in the end are recorded.
fn check_loader() -> keyward::Result<()> {
    let is_loaders =
        |name: &OsString| ["LD_", "DYLD_"].iter().any(|of| name.as_encoded_bytes().starts_with(of.as_bytes()));
    let set = std::env::vars_os().map(|(name, _)| name).find(is_loaders);
    set.map_or(Ok(()), |name| {
        let message = format!("the variable {} has other code loaded than is installed", name.display());
        Err(Error::new(ErrorKind::ModuleUnavailable, message)
            .with_hint("unset every variable whose name begins with LD_; the module's place is in the plan"))
    })
}

/// Whether anything was recorded there.
fn has_begun(bundle: &Path) -> bool {
    bundle.join("transcript.jsonl").exists()
}

/// Whether the policies that the configuration names let a key be made or destroyed, recorded in its audit log. A rehearsal,
/// whose keys nobody uses, is not asked about.
fn admit(app: &App, rehearsal: bool) -> impl FnMut(Operation, &KeyName, &HsmProvider) -> keyward::Result<()> + '_ {
    move |operation, key, hsm| {
        if rehearsal {
            return Ok(());
        }
        // A token that was just made has no key that signs the log: whoever writes into it next signs these lines too.
        let unsigned = || Err(Error::new(ErrorKind::TokenUnavailable, "the token of a ceremony does not sign the log"));
        let keepers = || Ok(vec![Arc::new(OpeningAuditKey::new(unsigned)) as Arc<dyn HeadKeeper>]);
        match governed::rules(app, hsm, keepers)? {
            Ok(governed) => governed.admit(operation, key),
            Err(_) => Ok(()),
        }
    }
}

/// Says how a run ended, and gives the exit status.
fn tell_end(held: anyhow::Result<Ended>, bundle: &Path, rehearsal: Option<Rehearsal>) -> anyhow::Result<u8> {
    let resume = format!("keyward ceremony resume {}", bundle.display());
    let goes_on = has_begun(bundle) && !matches!(held, Ok(Ended::Closed { .. } | Ended::Stopped));
    // Without them nothing could go on.
    if !goes_on
        && let Some(rehearsal) = rehearsal
        && let Err(error) = rehearsal.remove()
    {
        say("warning", &message(&error.into()));
    }
    let status = match held {
        Ok(Ended::Closed { .. }) => Ok(0),
        Ok(Ended::Left) => {
            say("note", &format!("everybody has left for now; to go on: {resume}"));
            Ok(0)
        }
        Ok(_) => {
            say("note", "it was decided that the ceremony ends here; the transcript and report.md say why");
            Ok(STOPPED)
        }
        Err(error) => {
            let status = failure(&error);
            if goes_on {
                say("note", &format!("all that was done is recorded; to go on: {resume}"));
            }
            Ok(status)
        }
    };
    if goes_on {
        show_pause(bundle);
    }
    status
}

/// Shows the head of a transcript that is left, as words to be written down and compared when it goes on.
fn show_pause(bundle: &Path) {
    let head = Bundle::open(bundle).and_then(|bundle| Ok(bundle.transcript()?.head()));
    match head {
        Ok(Some(head)) => {
            say("note", "write these words down, and compare them when it goes on; a witness can sign them meanwhile:");
            words::lines(&head).iter().for_each(|line| say("note", line));
        }
        Ok(None) => {}
        Err(error) => say("warning", &message(&error.into())),
    }
}
