//! `keyward ceremony plan`.

use super::{new, read_plan};
use crate::app::App;
use crate::args::Format;
use crate::output::{count, print, print_json, print_line};
use clap::Subcommand;
use keyward::ceremony::{Plan, words};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// What a plan that contradicts itself exits with.
const CONTRADICTS_ITSELF: u8 = 1;

#[derive(Debug, Subcommand)]
pub(crate) enum PlanCommand {
    New(new::New),
    /// Say what contradicts itself in a plan, each with its place
    ///
    /// A plan that is not as it should be exits with 1, and one that is none with 2. What looks like a PIN or a secret
    /// is told with its line and not repeated.
    #[command(after_help = "Example:\n  keyward ceremony plan lint payments.toml")]
    Lint {
        /// The plan
        #[arg(value_name = "PLAN")]
        plan: PathBuf,
        #[command(flatten)]
        format: Format,
    },
    /// Print the hash of a plan in words to read aloud
    ///
    /// Everybody in the room compares them with those on their own paper: the same words are the same plan.
    #[command(after_help = "Example:\n  keyward ceremony plan words payments.toml")]
    Words {
        /// The plan
        #[arg(value_name = "PLAN")]
        plan: PathBuf,
        #[command(flatten)]
        format: Format,
    },
}

impl PlanCommand {
    pub(super) fn run(&self, app: &App) -> anyhow::Result<u8> {
        match self {
            Self::New(args) => args.run(app)?,
            Self::Lint { plan, format } => return lint(plan, *format),
            Self::Words { plan, format } => say_words(plan, *format)?,
        }
        Ok(0)
    }
}

#[derive(Serialize)]
struct LintJson {
    ok: bool,
    findings: Vec<FindingJson>,
}

#[derive(Serialize)]
pub(super) struct FindingJson {
    place: String,
    message: String,
}

pub(super) fn findings_json(findings: &[keyward::ceremony::Finding]) -> Vec<FindingJson> {
    findings.iter().map(|f| FindingJson { place: f.place.clone(), message: f.message.clone() }).collect()
}

fn lint(path: &Path, format: Format) -> anyhow::Result<u8> {
    let (plan, text) = read_plan(path)?;
    let findings = plan.lint(&text);
    if format.json {
        print_json(&LintJson { ok: findings.is_empty(), findings: findings_json(&findings) })?;
    } else if findings.is_empty() {
        let steps = count(keyward::ceremony::script(&plan).len(), "step");
        print_line(&format!("'{}', {steps}: ok", path.display()))?;
    } else {
        for finding in &findings {
            print_line(&finding.to_string())?;
        }
    }
    Ok(if findings.is_empty() { 0 } else { CONTRADICTS_ITSELF })
}

#[derive(Serialize)]
struct WordsJson {
    sha256: String,
    words: Vec<&'static str>,
}

fn say_words(path: &Path, format: Format) -> anyhow::Result<()> {
    let (_, text) = read_plan(path)?;
    let hash = Plan::hash(&text);
    if format.json {
        return print_json(&WordsJson { sha256: hash.to_string(), words: words::words(hash.as_bytes()).collect() });
    }
    Ok(print(&format!("{hash}\n\n{}\n", words::lines(&hash).join("\n")))?)
}
