//! `keyward ceremony verify`.

use super::BundlePath;
use super::plan::{FindingJson, findings_json};
use crate::app::App;
use crate::args::Format;
use crate::output::{print_json, print_line};
use crate::report::NOT_AUTHENTIC;
use clap::Args;
use keyward::ceremony::{Verification, Verify as Verifier};
use serde::Serialize;

/// Find out whether a bundle is as its witnesses signed it, and tells of the ceremony that its plan describes
///
/// It needs no token and no network: the chain of the transcript, the plan, that every step has its outcome and every
/// backup its restore test, the public keys, the report, and the signatures of all witnesses. It says what is proven by
/// that, what the program saw, and what the module merely claims.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  keyward ceremony verify bundle

The witnesses' public keys are those in the bundle's plan: compare the words of the plan with those on paper. The exit
status is 4 where anything is wrong, and each thing is a line.")]
pub(crate) struct Verify {
    #[command(flatten)]
    bundle: BundlePath,
    #[command(flatten)]
    format: Format,
}

#[derive(Serialize)]
struct VerifyJson<'a> {
    ok: bool,
    ceremony: Option<&'a str>,
    run: Option<String>,
    rehearsal: bool,
    entries: u64,
    head: Option<String>,
    signed_by: Vec<&'a str>,
    findings: Vec<FindingJson>,
    deviations: &'a [String],
    proven: &'a [String],
    seen: &'a [String],
    claimed: &'a [String],
}

impl<'a> VerifyJson<'a> {
    fn new(found: &'a Verification) -> Self {
        Self {
            ok: found.is_ok(),
            ceremony: found.ceremony.as_ref().map(keyward::ceremony::Name::as_str),
            run: found.run.map(|run| run.to_string()),
            rehearsal: found.rehearsal,
            entries: found.entries,
            head: found.head.map(|head| head.to_string()),
            signed_by: found.signed_by.iter().map(keyward::ceremony::Name::as_str).collect(),
            findings: findings_json(&found.findings),
            deviations: &found.deviations,
            proven: &found.proven,
            seen: &found.seen,
            claimed: &found.claimed,
        }
    }
}

impl Verify {
    pub(super) fn run(&self, app: &App) -> anyhow::Result<u8> {
        let found = Verifier::new(&self.bundle.open()?).run()?;
        if self.format.json {
            print_json(&VerifyJson::new(&found))?;
        } else {
            tell(&found, app)?;
        }
        Ok(if found.is_ok() { 0 } else { NOT_AUTHENTIC })
    }
}

pub(super) fn tell(found: &Verification, app: &App) -> anyhow::Result<()> {
    if found.rehearsal {
        app.note("this is a REHEARSAL: its keys are worth nothing");
    }
    for finding in &found.findings {
        print_line(&finding.to_string())?;
    }
    let kinds = [
        ("deviation", &found.deviations),
        ("proven", &found.proven),
        ("seen", &found.seen),
        ("claimed", &found.claimed),
    ];
    for (word, lines) in kinds {
        for line in lines {
            print_line(&format!("{word}: {line}"))?;
        }
    }
    if found.is_ok() {
        let ceremony = found.ceremony.as_ref().map_or("", keyward::ceremony::Name::as_str);
        let names: Vec<_> = found.signed_by.iter().map(keyward::ceremony::Name::as_str).collect();
        let rehearsal = if found.rehearsal { "REHEARSAL " } else { "" };
        let signed = if names.is_empty() { "nobody yet".to_owned() } else { names.join(" and ") };
        print_line(&format!("{rehearsal}{ceremony}, {} entries, signed by {signed}: ok", found.entries))?;
    }
    Ok(())
}
