//! A script for paper.

use crate::ceremony::format::CURRENT;
use crate::ceremony::plan::{Custody, Plan, is_invisible};
use crate::ceremony::step::Step;
use crate::ceremony::words;
use std::fmt::Write;

/// The steps of a plan as Markdown that prints well: each with room for a time and initials.
///
/// `text` is the plan's own text, whose hash stands at the top, in words to read aloud.
#[must_use]
pub fn to_markdown(plan: &Plan, text: &str, steps: &[Step]) -> String {
    let mut out = String::new();
    // Writing into a string does not fail.
    let _ = write(&mut out, plan, text, steps);
    out
}

fn write(out: &mut String, plan: &Plan, text: &str, steps: &[Step]) -> std::fmt::Result {
    let hash = Plan::hash(text);
    writeln!(out, "# Key ceremony {}\n", plan.id)?;
    writeln!(out, "Date: ____________________   Place: ____________________\n")?;
    writeln!(out, "The plan has the hash `{hash}`, in words:\n")?;
    for line in words::lines(&hash) {
        writeln!(out, "    {line}")?;
    }

    writeln!(out, "\n## People\n\n| name | | roles | signature |\n|---|---|---|---|")?;
    for person in &plan.people {
        let roles: Vec<_> = person.roles.iter().map(|role| role.name()).collect();
        let full = escape(person.full_name.as_deref().unwrap_or_default());
        writeln!(out, "| {} | {full} | {} | |", person.name, roles.join(", "))?;
    }

    writeln!(out, "\n## Tokens\n\n| name | serial | label | module | PIN |\n|---|---|---|---|---|")?;
    for token in &plan.tokens {
        let custody = match &token.custody {
            Custody::Shared { threshold, custodians, .. } => format!("{threshold} of {} shares", custodians.len()),
            Custody::Typed { by } => format!("{by} types it"),
        };
        let (serial, label) = (escape(&token.serial.to_string()), escape(&token.label));
        writeln!(
            out,
            "| {} | {serial} | {label} | {} | {custody} |",
            token.name,
            escape(&token.module.to_string_lossy())
        )?;
    }

    writeln!(out, "\n## Keys\n\n| key | on | algorithm | comes to be | backup |\n|---|---|---|---|---|")?;
    for key in &plan.keys {
        let second = key.backup.token.as_ref().map_or_else(String::new, |token| format!(" on {token}"));
        let (origin, method) = (key.provenance.name(), key.backup.method.name());
        writeln!(out, "| {} | {} | {} | {origin} | {method}{second} |", key.label(), key.token, key.algorithm)?;
    }

    writeln!(out, "\n## Steps")?;
    for (number, step) in steps.iter().enumerate() {
        writeln!(out, "\n### {}. `{}`\n", number + 1, step.id)?;
        writeln!(out, "{}\n", escape(&step.announce))?;
        for expected in &step.expect {
            writeln!(out, "- [ ] {}", escape(expected))?;
        }
        writeln!(out, "\nConfirmed by **{}**   Time: ________   Initials: ________", step.confirmed_by)?;
    }
    writeln!(out, "\n## Deviations\n\n| step | expected | happened | decided | by |\n|---|---|---|---|---|")?;
    for _ in 0..3 {
        writeln!(out, "| | | | | |")?;
    }
    Ok(())
}

/// Text without what Markdown would take for more than text. Control characters, line breaks and what cannot be seen
/// become blanks.
fn escape(text: &str) -> String {
    escape_in(CURRENT, text)
}

/// The same as a format words it: in the first, only what turns the direction of text becomes a blank.
pub(in crate::ceremony) fn escape_in(format: u32, text: &str) -> String {
    let is_blank = match format {
        1 => |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'),
        _ => |c: char| c.is_control() || is_invisible(c),
    };
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            c if is_blank(c) => out.push(' '),
            '\\' | '|' | '`' | '*' | '<' | '>' | '[' | ']' | '#' | '&' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}
