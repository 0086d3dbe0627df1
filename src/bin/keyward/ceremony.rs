//! `keyward ceremony`: master keys made in front of witnesses.

mod new;
mod plan;
mod report;
mod run;
mod sign;
mod status;
pub(crate) mod verify;

use crate::app::App;
use clap::{Args, Subcommand};
use keyward::ceremony::{Bundle, Plan};
use keyward::{Error, ErrorKind};
use std::path::{Path, PathBuf};

#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  keyward ceremony plan new payments.toml
  keyward ceremony plan lint payments.toml
  keyward ceremony run --dry-run payments.toml > script.md
  keyward ceremony sign bundle --key ~/.minisign/minisign.key       # on the witness's own machine
  keyward ceremony verify bundle")]
pub(crate) enum CeremonyCommand {
    /// Write, check and read aloud the plan of a ceremony; needs no token
    #[command(subcommand)]
    Plan(plan::PlanCommand),
    Run(run::Run),
    Status(status::Status),
    Report(report::Report),
    Sign(sign::Sign),
    Verify(verify::Verify),
}

impl CeremonyCommand {
    /// Gives the exit status.
    pub(crate) fn run(&self, app: &App) -> anyhow::Result<u8> {
        match self {
            Self::Plan(command) => return command.run(app),
            Self::Run(args) => args.run()?,
            Self::Status(args) => args.run()?,
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
