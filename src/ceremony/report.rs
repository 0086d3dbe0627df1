//! The transcript for people.

use super::entry::{Entry, Fact};
use super::line::Line;
use super::plan::Plan;
use super::script::{escape_in, script};
use super::transcript::Transcript;
use super::words;
use std::fmt::Write;

/// The report of a ceremony as Markdown that prints well, made from its plan and transcript alone: the same ones make
/// the same report. Its wording belongs to the format of the plan: a witness signs no other.
#[must_use]
pub fn report(plan: &Plan, transcript: &Transcript) -> String {
    let mut out = String::new();
    // Writing into a string does not fail.
    let _ = write(&mut out, plan, transcript);
    out
}

fn write(out: &mut String, plan: &Plan, transcript: &Transcript) -> std::fmt::Result {
    let lines = transcript.lines();
    let escape = |text: &str| escape_in(plan.format, text);
    writeln!(out, "# Report of the key ceremony {}\n", plan.id)?;
    let Some(Entry::Begun { ceremony, plan: hash, run, tool, rehearsal, .. }) = lines.first().map(|line| &line.entry)
    else {
        return writeln!(out, "Nothing has begun.");
    };
    if *rehearsal {
        writeln!(out, "**REHEARSAL: the keys of this run are worth nothing.**\n")?;
    }
    if !transcript.is_closed() {
        writeln!(out, "**NOT FINISHED: the transcript is not closed.**\n")?;
    }
    let (first, last) = (&lines[0], &lines[lines.len() - 1]);
    writeln!(out, "| | |\n|---|---|")?;
    writeln!(out, "| ceremony | {ceremony} |\n| run | `{run}` |\n| program | keyward {} |", escape(tool))?;
    writeln!(out, "| host | {} |\n| begun | {} |\n| last entry | {} |", escape(&first.host), first.time, last.time)?;
    writeln!(out, "| entries | {} |\n| plan | `{hash}` |\n| head | `{}` |", last.seq, last.hash)?;
    writeln!(out, "\nThe head in words:\n")?;
    for line in words::lines(&last.hash) {
        writeln!(out, "    {line}")?;
    }
    people(out, plan)?;
    steps(out, plan, transcript)?;
    exceptions(out, plan.format, lines)?;
    writeln!(out, "\n## What was seen")?;
    for line in lines {
        if let Entry::Outcome { step, facts, .. } = &line.entry
            && !facts.is_empty()
        {
            writeln!(out, "\n### `{}` (entry {})\n", escape(step.as_str()), line.seq)?;
            for sentence in facts.iter().flat_map(Fact::sentences) {
                writeln!(out, "- {}", escape(&sentence))?;
            }
        }
    }
    writeln!(out, "\n## What this is worth\n")?;
    writeln!(
        out,
        "The signatures of the witnesses over the head show that nothing here was changed after they signed. What tokens \
         say of themselves and of their keys is what their module said: no token attests AES keys over PKCS\\#11."
    )
}

fn people(out: &mut String, plan: &Plan) -> std::fmt::Result {
    writeln!(out, "\n## People\n\n| name | | roles | key |\n|---|---|---|---|")?;
    for person in &plan.people {
        let roles: Vec<_> = person.roles.iter().map(|role| role.name()).collect();
        let full = escape_in(plan.format, person.full_name.as_deref().unwrap_or_default());
        let key = person.minisign.as_ref().map_or_else(String::new, |key| format!("`{}`", key.to_base64()));
        writeln!(out, "| {} | {full} | {} | {key} |", person.name, roles.join(", "))?;
    }
    Ok(())
}

fn steps(out: &mut String, plan: &Plan, transcript: &Transcript) -> std::fmt::Result {
    writeln!(out, "\n## Steps\n\n| step | confirmed by | entry | time | outcome |\n|---|---|---|---|---|")?;
    for step in script(plan) {
        let attempts = transcript.progress().attempts(&step.id);
        if attempts.is_empty() {
            writeln!(out, "| `{}` | | | | **not done** |", step.id)?;
        }
        for attempt in attempts {
            let outcome = attempt.outcome.map_or("**unknown**", |outcome| outcome.name());
            let (by, line, time) = (&attempt.confirmed_by, attempt.line, &attempt.time);
            writeln!(out, "| `{}` | {by} | {line} | {time} | {outcome} |", step.id)?;
        }
    }
    Ok(())
}

/// What was not as planned.
fn exceptions(out: &mut String, format: u32, lines: &[Line]) -> std::fmt::Result {
    let escape = |text: &str| escape_in(format, text);
    writeln!(out, "\n## Deviations and interruptions\n")?;
    let mut any = false;
    for line in lines {
        let at = line.seq;
        match &line.entry {
            Entry::Exception { step, expected, happened, decision, reason, by } => {
                let step = step.as_ref().map_or_else(String::new, |step| format!(" at `{}`", escape(step.as_str())));
                let [expected, happened, reason] = [expected, happened, reason].map(|text| escape(text));
                writeln!(
                    out,
                    "- Entry {at}{step}: expected: {expected}. Happened: {happened}. Decided by {by}: **{}**, because {reason}.",
                    decision.name()
                )?;
            }
            Entry::Clock { was, reason, by } => {
                writeln!(
                    out,
                    "- Entry {at}: the clock went back from {} to {}. Accepted by {by}: {}.",
                    escape(was),
                    line.time,
                    escape(reason)
                )?;
            }
            Entry::Resumed { torn_bytes, .. } => {
                writeln!(
                    out,
                    "- Entry {at}: the run was interrupted and went on at {}; {torn_bytes} torn bytes were cut off.",
                    line.time
                )?;
            }
            Entry::Unlocked { token, custodians, .. } => {
                let names: Vec<_> = custodians.iter().map(ToString::to_string).collect();
                writeln!(out, "- Entry {at}: {} put the PIN of {token} together again.", names.join(", "))?;
            }
            _ => continue,
        }
        any = true;
    }
    if any { Ok(()) } else { writeln!(out, "None.") }
}
