//! `keyward audit verify`.

use super::{AnchorJson, LogPath};
use crate::app::App;
use crate::args::Format;
use crate::output::{print_json, print_line};
use crate::report::NOT_AUTHENTIC;
use clap::Args;
use keyward::audit::{Finding, HeadKey, Report, Verify as Verifier};
use keyward::hsm::AuditKey;
use keyward::{Error, ErrorKind};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keyward audit verify                                        # with the token and the configuration file
  keyward audit verify --public-key audit.pem audit.log       # without a token

The exit status is 4 where the log is not as it was written. What could not be checked is told.")]
pub(crate) struct Verify {
    #[command(flatten)]
    log: LogPath,
    /// The public half of the key that signs heads, as `keyward audit init` printed it; that of the token where none is given
    #[arg(long, value_name = "PEM")]
    public_key: Option<PathBuf>,
    /// Older files of the log were moved away
    #[arg(long)]
    partial: bool,
    #[command(flatten)]
    format: Format,
}

impl Verify {
    pub(super) fn run(&self, app: &App) -> anyhow::Result<u8> {
        let path = self.log.of(app)?;
        let token = match app.uri_if_named()? {
            Some(_) => Some(AuditKey::open(app.signing_token()?)?),
            None => None,
        };
        let given = self.public_key.as_deref().map(read_key).transpose()?;
        if let (Some(given), Some(token)) = (&given, &token)
            && given != token.public_key()
        {
            let message =
                format!("the key given is {}, and that of the token is {}", given.id(), token.public_key().id());
            return Err(Error::new(ErrorKind::InvalidArgument, message).into());
        }
        let key = given.or_else(|| token.as_ref().map(|token| token.public_key().clone()));
        let mut verifier = Verifier::new(&path).partial(self.partial);
        if let Some(key) = &key {
            verifier = verifier.key(key.clone());
        }
        if let Some(token) = &token {
            verifier = verifier.anchors(token)?;
        }
        let report = verifier.run()?;
        let unchecked = unchecked(&report, key.is_some(), token.is_some());
        if self.format.json {
            print_json(&ReportJson::new(&report, key.as_ref(), &unchecked))?;
        } else {
            for one in &unchecked {
                app.note(one);
            }
            let verdict = report.finding.as_ref().map_or_else(|| summary(&report, key.as_ref()), told);
            print_line(&verdict)?;
        }
        Ok(if report.finding.is_some() { NOT_AUTHENTIC } else { 0 })
    }
}

fn read_key(path: &Path) -> anyhow::Result<HeadKey> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Error::new(ErrorKind::Io, format!("cannot read the public key '{}'", path.display())).with_source(error)
    })?;
    HeadKey::from_pem(&text).map_err(|error| anyhow::Error::from(error).context(path.display().to_string()))
}

fn summary(report: &Report, key: Option<&HeadKey>) -> String {
    let Report { entries, heads, .. } = report;
    let mut text =
        format!("{} in {}", plural(*entries, "entry", "entries"), plural(report.files.len() as u64, "file", "files"));
    if let Some(key) = key {
        text += &format!(", {} signed by {}", plural(*heads, "head", "heads"), key.id());
    }
    if let Some(signed) = report.signed_to {
        text += &format!(", signed up to entry {signed}");
    }
    if let Some(anchor) = &report.anchor {
        text += &format!(", anchored at entry {} on {}", anchor.count, anchor.time_text());
    }
    if report.torn > 0 {
        text += &format!(", {} marked", plural(report.torn, "torn end", "torn ends"));
    }
    text + ": ok"
}

fn told(finding: &Finding) -> String {
    let seq = finding.seq.map_or_else(String::new, |seq| format!(" (entry {seq})"));
    let Finding { file, line, diagnosis, explanation, .. } = finding;
    format!("{}, line {line}{seq}: {diagnosis}: {explanation}", file.display())
}

/// What was not checked, each a sentence.
fn unchecked(report: &Report, with_key: bool, with_token: bool) -> Vec<String> {
    let mut all = Vec::new();
    if !with_key {
        all.push("no key is given: signatures are not checked, and anyone could have written the log anew".to_owned());
    } else if report.heads_not_verified > 0 {
        all.push(format!("{} signed by another key", plural(report.heads_not_verified, "head is", "heads are")));
    }
    if report.finding.is_some() {
        return all;
    }
    if !with_token {
        all.push("no token is named: whether the end was cut off is not checked".to_owned());
    } else if report.anchor.is_none() {
        all.push("the token has no anchor of this log: whether the end was cut off is not checked".to_owned());
    }
    if report.anchors_not_signed > 0 {
        let count = plural(
            report.anchors_not_signed,
            "anchor of this log that its key did not sign",
            "anchors of this log that its key did not sign",
        );
        all.push(format!("the token has {count}"));
    }
    for other in &report.other_anchors {
        all.push(format!(
            "the token has an anchor of another log, {} of host '{}', with {} entries",
            other.log, other.host, other.count
        ));
    }
    let after = report.last - report.signed_to.unwrap_or(0).min(report.last);
    if with_key && after > 0 {
        all.push(format!("{} after the last signed head could have been changed", plural(after, "entry", "entries")));
    }
    let after = report.last - report.anchor.as_ref().map_or(0, |anchor| anchor.count).min(report.last);
    if report.anchor.is_some() && after > 0 {
        all.push(format!("what came after entry {} could have been cut off", report.last - after));
    }
    if report.torn_end {
        all.push("the last line is not ended: it is being written, or its writer was stopped".to_owned());
    }
    all
}

fn plural(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

#[derive(Serialize)]
struct ReportJson<'a> {
    ok: bool,
    log: Option<String>,
    files: Vec<String>,
    entries: u64,
    last: u64,
    key: Option<String>,
    heads: u64,
    signed_to: Option<u64>,
    anchor: Option<AnchorJson>,
    torn: u64,
    wraps: BTreeMap<String, u64>,
    not_checked: &'a [String],
    finding: Option<FindingJson<'a>>,
}

#[derive(Serialize)]
struct FindingJson<'a> {
    file: String,
    line: u64,
    entry: Option<u64>,
    diagnosis: &'static str,
    explanation: &'a str,
}

impl<'a> ReportJson<'a> {
    fn new(report: &'a Report, key: Option<&HeadKey>, not_checked: &'a [String]) -> Self {
        Self {
            ok: report.finding.is_none(),
            log: report.log.map(|log| log.to_string()),
            files: report.files.iter().map(|path| path.display().to_string()).collect(),
            entries: report.entries,
            last: report.last,
            key: key.map(|key| key.id().to_string()),
            heads: report.heads,
            signed_to: report.signed_to,
            anchor: report.anchor.as_ref().map(AnchorJson::new),
            torn: report.torn,
            wraps: report.wraps.iter().map(|(id, count)| (id.to_string(), *count)).collect(),
            not_checked,
            finding: report.finding.as_ref().map(|finding| FindingJson {
                file: finding.file.display().to_string(),
                line: finding.line,
                entry: finding.seq,
                diagnosis: finding.diagnosis.name(),
                explanation: &finding.explanation,
            }),
        }
    }
}
