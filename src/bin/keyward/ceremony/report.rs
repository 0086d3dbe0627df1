//! `keyward ceremony report`.

use super::BundlePath;
use crate::output::{print, print_line};
use clap::Args;

/// Print what a ceremony's transcript tells, as Markdown for paper
///
/// It is made from plan and transcript alone: the same ones make the same report. A bundle has it as report.md, which
/// the witnesses' signatures cover.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  keyward ceremony report bundle | pandoc -o report.pdf")]
pub(crate) struct Report {
    #[command(flatten)]
    bundle: BundlePath,
    /// Put it into the bundle as report.md, over one that is there
    #[arg(long)]
    write: bool,
}

impl Report {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let bundle = self.bundle.open()?;
        if self.write {
            bundle.write_report()?;
            return Ok(print_line(&format!("wrote '{}'", bundle.path().join("report.md").display()))?);
        }
        Ok(print(&keyward::ceremony::report(&bundle.plan()?, &bundle.transcript()?))?)
    }
}
