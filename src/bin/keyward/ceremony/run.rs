//! `keyward ceremony run`.

use super::read_plan;
use crate::output::{print, say};
use clap::Args;
use keyward::ceremony::{script, to_markdown};
use keyward::{Error, ErrorKind};
use std::path::PathBuf;

/// Print the script of a ceremony for paper
///
/// Every step with who confirms it, what is announced and what must be seen, with room for times and initials. No token
/// is asked, and nothing is done.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  keyward ceremony run --dry-run payments.toml > script.md")]
pub(crate) struct Run {
    /// Print the steps and do none of them
    #[arg(long, required = true)]
    dry_run: bool,
    /// The plan
    #[arg(value_name = "PLAN")]
    plan: PathBuf,
}

impl Run {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let (plan, text) = read_plan(&self.plan)?;
        let findings = plan.lint(&text);
        if !findings.is_empty() {
            for finding in &findings {
                say("warning", &finding.to_string());
            }
            let message = format!("the plan '{}' contradicts itself", self.plan.display());
            return Err(Error::new(ErrorKind::InvalidArgument, message).into());
        }
        Ok(print(&to_markdown(&plan, &text, &script(&plan)))?)
    }
}
