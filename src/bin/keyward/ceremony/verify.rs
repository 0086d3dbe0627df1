//! `keyward ceremony verify`.

use super::BundlePath;
use super::plan::{FindingJson, findings_json};
use crate::app::App;
use crate::args::Format;
use crate::output::{print_json, print_line};
use crate::report::NOT_AUTHENTIC;
use clap::Args;
use keyward::ceremony::{Verification, Verify as Verifier, file_hash};
use serde::Serialize;
use std::path::PathBuf;

/// Find out whether a bundle is as its witnesses signed it, and tells of the ceremony that its plan describes
///
/// It needs no token and no network: the chain of the transcript, the plan, that every step has its outcome and every
/// backup its restore test, the public keys, the report, and the signatures of all witnesses. It says what is proven by
/// that, what the program saw, and what the module merely claims.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  keyward ceremony verify bundle --plan payments.toml

The witnesses' public keys are those in the bundle's plan: whoever replaced that as well could have signed it all anew.
So give a copy of the plan with --plan, or compare `plan words bundle/plan.toml` with the words on paper. The exit status is 4 where anything is wrong, and each thing is a line.")]
pub(crate) struct Verify {
    #[command(flatten)]
    bundle: BundlePath,
    /// A copy of the plan from elsewhere: that of the bundle must be the same
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    #[command(flatten)]
    format: Format,
}

#[derive(Serialize)]
struct VerifyJson<'a> {
    ok: bool,
    ceremony: Option<&'a str>,
    run: Option<String>,
    plan: Option<String>,
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
            plan: found.plan.map(|plan| plan.to_string()),
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
        let bundle = self.bundle.open()?;
        let mut verifier = Verifier::new(&bundle);
        if let Some(path) = &self.plan {
            verifier = verifier.plan_is(file_hash(path)?);
        }
        let found = verifier.run()?;
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
