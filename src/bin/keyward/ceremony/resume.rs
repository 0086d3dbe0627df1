//! `keyward ceremony resume`.

use super::rehearsal::Rehearsal;
use super::terminal::Terminal;
use super::{BundlePath, TOOL, admit, tell_end};
use crate::app::App;
use crate::softhsm;
use clap::Args;
use keyward::ceremony::{Engine, Name, Status, StepStatus, Venue};
use keyward::{Error, ErrorKind};
use std::path::PathBuf;

/// Go on with a ceremony that was left or interrupted
///
/// Steps that are done are not done again, and what was made before an interruption is found. Shares of a PIN that was
/// not set yet are made anew and handed out again. Tokens are opened again, so their custodians have to be there.
///
/// The head of the transcript is shown as words first. They have to be those that were written down at the pause: an
/// attacker who had the bundle meanwhile could have rewritten it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keyward ceremony resume 2026-11-payments
  keyward ceremony resume 2026-11-payments --clock-went-back 'the battery of the clock was empty' --by olga")]
pub(crate) struct Resume {
    #[command(flatten)]
    bundle: BundlePath,
    /// Why it goes on although the clock went backwards meanwhile
    #[arg(long, value_name = "REASON", requires = "by")]
    clock_went_back: Option<String>,
    /// Who says so, as the plan calls them
    #[arg(long, value_name = "NAME", requires = "clock_went_back")]
    by: Option<String>,
    /// SoftHSM's module for a rehearsal, where it is not in a usual place
    #[arg(long, value_name = "MODULE")]
    softhsm: Option<PathBuf>,
}

impl Resume {
    pub(super) fn run(&self, app: &App) -> anyhow::Result<u8> {
        let bundle = self.bundle.open()?;
        let plan = bundle.plan()?;
        let found = Status::of(&plan, &bundle.transcript()?);
        let refused = |what: String| Error::new(ErrorKind::InvalidArgument, what);
        if found.closed || found.stopped {
            let how = if found.closed { "every step is done" } else { "it was decided that it ends" };
            let message = format!("there is nothing to go on with in '{}': {how}", bundle.path().display());
            return Err(refused(message).with_hint("`keyward ceremony verify` says what it is worth").into());
        }
        if self.softhsm.is_some() && !found.rehearsal {
            return Err(refused("--softhsm is for rehearsals, and this is none".into()).into());
        }
        let by: Option<Name> = self.by.as_deref().map(str::parse).transpose()?;
        if let Some(stranger) = by.as_ref().filter(|by| plan.person(by).is_none()) {
            return Err(refused(format!("the plan has no person '{stranger}'")).into());
        }
        super::check_loader()?;
        Terminal::check(&plan)?;
        let rehearsal = found.rehearsal.then(|| Rehearsal::resume(bundle.path(), self.softhsm.as_deref()));
        let rehearsal = rehearsal.transpose()?;
        let venue = rehearsal.as_ref().map_or(Venue::Tokens, Rehearsal::venue);
        let although = self.clock_went_back.as_deref().zip(by.as_ref());
        let done = found.steps.iter().filter(|(_, state)| *state == StepStatus::Done).count();
        let held = (|| {
            let mut room = Terminal::open(&plan, bundle.path(), found.rehearsal)?;
            room.greet(&bundle.plan_text()?)?;
            room.tell_progress(done, found.steps.len())?;
            if let Some(head) = &found.head {
                room.show_head(head)?;
            }
            Ok(Engine::resume(&bundle, TOOL, venue, although, &mut room)?
                .load_modules(softhsm::load)
                .admit(admit(app, found.rehearsal))
                .run()?)
        })();
        tell_end(held, bundle.path(), rehearsal)
    }
}
