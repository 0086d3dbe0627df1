//! `keyward ceremony run`.

use super::rehearsal::Rehearsal;
use super::terminal::Terminal;
use super::{TOOL, admit, read_plan, tell_end};
use crate::app::App;
use crate::output::{print, say};
use crate::softhsm;
use clap::Args;
use keyward::ceremony::{Bundle, Engine, Plan, Venue, script, to_markdown};
use keyward::{Error, ErrorKind};
use std::path::{Path, PathBuf};

/// Hold a ceremony: every step is announced, confirmed, done, read back and recorded
///
/// It needs a terminal. Whoever a step names types their name before it is done, PINs and shares are typed without being
/// shown, and a share is shown to its custodian alone. What was done stands in the transcript before anything follows
/// from it, so a run that is interrupted goes on with `keyward ceremony resume`.
///
/// With --dry-run it prints the script for paper: every step with who confirms it, what is announced and what must be
/// seen, with room for times and initials. No token is asked, and nothing is done.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keyward ceremony run --dry-run payments.toml > script.md
  keyward ceremony run --rehearse payments.toml      # on throwaway tokens of SoftHSM
  keyward ceremony run payments.toml

The exit status is 0 where every step is done, and where everybody left to go on later; 1 where people decided that the
ceremony ends.")]
pub(crate) struct Run {
    /// Print the steps and do none of them
    #[arg(long, conflicts_with_all = ["bundle", "rehearse"])]
    dry_run: bool,
    /// Where everything is recorded; the ceremony's id in this directory where it is not given
    #[arg(long, value_name = "DIR")]
    bundle: Option<PathBuf>,
    /// Rehearse on tokens of SoftHSM that are thrown away afterwards
    ///
    /// They lie in DIR.tokens until the rehearsal is over, and all that is recorded is marked as a rehearsal.
    #[arg(long)]
    rehearse: bool,
    /// SoftHSM's module, where it is not in a usual place
    #[arg(long, value_name = "MODULE", requires = "rehearse")]
    softhsm: Option<PathBuf>,
    /// The plan
    #[arg(value_name = "PLAN")]
    plan: PathBuf,
}

impl Run {
    pub(super) fn run(&self, app: &App) -> anyhow::Result<u8> {
        let (plan, text) = read_plan(&self.plan)?;
        let findings = plan.lint(&text);
        if !findings.is_empty() {
            for finding in &findings {
                say("warning", &finding.to_string());
            }
            let message = format!("the plan '{}' contradicts itself", self.plan.display());
            return Err(Error::new(ErrorKind::InvalidArgument, message).into());
        }
        if self.dry_run {
            print(&to_markdown(&plan, &text, &script(&plan)))?;
            return Ok(0);
        }
        let path = self.bundle_of(&plan);
        // Before anything is made.
        super::check_loader()?;
        Terminal::check(&plan)?;
        if super::has_begun(&path) {
            return Err(exists(&path));
        }
        let rehearsal = self.rehearse.then(|| Rehearsal::begin(&path, self.softhsm.as_deref())).transpose()?;
        let venue = rehearsal.as_ref().map_or(Venue::Tokens, Rehearsal::venue);
        let held = (|| {
            let bundle = Bundle::create(&path, &text).map_err(|error| match error.kind() {
                ErrorKind::OutputExists => exists(&path),
                _ => error.into(),
            })?;
            let mut room = Terminal::open(&plan, &path, rehearsal.is_some())?;
            room.greet(&text)?;
            Ok(Engine::begin(&bundle, TOOL, venue, &mut room)?
                .load_modules(softhsm::load)
                .admit(admit(app, rehearsal.is_some()))
                .run()?)
        })();
        tell_end(held, &path, rehearsal)
    }

    fn bundle_of(&self, plan: &Plan) -> PathBuf {
        let rehearsal = if self.rehearse { "-rehearsal" } else { "" };
        self.bundle.clone().unwrap_or_else(|| format!("{}{rehearsal}", plan.id).into())
    }
}

fn exists(path: &Path) -> anyhow::Error {
    let message = format!("'{}' exists already", path.display());
    let hint = match super::has_begun(path) {
        true => {
            format!("`keyward ceremony resume {}` goes on with it; another one needs another --bundle", path.display())
        }
        false => "name another directory with --bundle".to_owned(),
    };
    Error::new(ErrorKind::OutputExists, message).with_hint(hint).into()
}
