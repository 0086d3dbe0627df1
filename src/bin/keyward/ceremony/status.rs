//! `keyward ceremony status`.

use super::BundlePath;
use crate::args::Format;
use crate::output::{print_json, print_line, print_table, say};
use clap::Args;
use keyward::ceremony::{Status as Found, StepStatus, words};
use serde::Serialize;

/// Say which steps of a ceremony are done, and which is next
///
/// Nothing is changed, and a run that is going on is not disturbed.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  keyward ceremony status bundle")]
pub(crate) struct Status {
    #[command(flatten)]
    bundle: BundlePath,
    #[command(flatten)]
    format: Format,
}

#[derive(Serialize)]
struct StatusJson<'a> {
    rehearsal: bool,
    closed: bool,
    stopped: bool,
    torn: bool,
    in_use: bool,
    next: Option<&'a str>,
    head: Option<String>,
    steps: Vec<StepJson<'a>>,
}

#[derive(Serialize)]
struct StepJson<'a> {
    step: &'a str,
    confirmed_by: &'a str,
    state: &'static str,
}

impl Status {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let bundle = self.bundle.open()?;
        let found = Found::of(&bundle.plan()?, &bundle.transcript()?);
        let in_use = bundle.is_in_use();
        let next = found.next.as_ref().map(keyward::ceremony::StepId::as_str);
        if self.format.json {
            let steps = found.steps.iter().map(|(step, state)| StepJson {
                step: step.id.as_str(),
                confirmed_by: step.confirmed_by.as_str(),
                state: state.name(),
            });
            let Found { rehearsal, closed, stopped, torn, head, .. } = found;
            let (head, steps) = (head.map(|head| head.to_string()), steps.collect());
            return print_json(&StatusJson { rehearsal, closed, stopped, torn, in_use, next, head, steps });
        }
        if found.rehearsal {
            say("note", "this is a REHEARSAL");
        }
        if found.torn && !in_use {
            say("note", "the run was interrupted while it wrote: `keyward ceremony resume` goes on with it");
        }
        let rows: Vec<_> = found
            .steps
            .iter()
            .map(|(step, state)| [step.id.to_string(), step.confirmed_by.to_string(), state.name().to_owned()])
            .collect();
        print_table(["STEP", "CONFIRMED BY", "STATE"], &rows)?;
        if let Some(head) = found.head.filter(|_| next.is_some() && !in_use) {
            print_line("the head of the transcript, in words:")?;
            words::lines(&head).iter().try_for_each(|line| print_line(&format!("  {line}")))?;
        }
        let done = found.steps.iter().filter(|(_, state)| *state == StepStatus::Done).count();
        let all = found.steps.len();
        let end = match next {
            _ if found.stopped => "it was decided that it ends here".to_owned(),
            Some(next) => format!("next is {next}"),
            None if found.closed => "closed".to_owned(),
            None => "not closed yet".to_owned(),
        };
        Ok(print_line(&format!("{done} of {all} steps are done; {end}"))?)
    }
}
