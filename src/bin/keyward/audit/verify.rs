//! `keyward audit verify`.

use super::{AnchorJson, LogPath};
use crate::app::App;
use crate::args::Format;
use crate::output::{print_json, print_line};
use crate::report::NOT_AUTHENTIC;
use clap::Args;
use keyward::audit::{Anchor, Finding, HeadKey, LogName, Report, Verify as Verifier};
use keyward::{Error, ErrorKind};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What a log that is not signed is worth.
pub(crate) const UNSIGNED: &str = "the configuration has sign = false: the chain shows accidents alone, and an attacker who can write the file can write any log that verifies";

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keyward audit verify                                        # with the token and the configuration file
  keyward audit verify --public-key audit.pem audit.log       # without a token

The exit status is 4 where the log is not as it was written. What could not be checked is a note.")]
pub(crate) struct Verify {
    #[command(flatten)]
    log: LogPath,
    /// The public half of the key that signs heads, as `keyward audit init` printed it; repeatable, for keys that were
    /// replaced; those of the token where none is given
    #[arg(long, value_name = "PEM")]
    public_key: Vec<PathBuf>,
    /// The name that the log must have; that of the configuration where its log is verified
    #[arg(long, value_name = "NAME")]
    name: Option<LogName>,
    /// Older files of the log were moved away
    #[arg(long)]
    partial: bool,
    #[command(flatten)]
    format: Format,
}

impl Verify {
    pub(super) fn run(&self, app: &App) -> anyhow::Result<u8> {
        let path = self.log.of(app)?;
        let mut verifier = Verifier::new(&path).partial(self.partial);
        let mut given = Vec::new();
        for path in &self.public_key {
            given.extend(read_keys(path)?);
        }
        if let Some(name) = self.name(app)? {
            verifier = verifier.name(name);
        }
        let mut unchecked = Vec::new();
        let is_signed = app.config().audit.as_ref().is_none_or(|audit| audit.sign);
        let with_token = app.names_a_token() && (is_signed || !given.is_empty());
        if with_token {
            verifier = ask_tokens(app, verifier, &given, &mut unchecked)?;
        }
        if !is_signed {
            unchecked.push(UNSIGNED.to_owned());
        }
        verifier = given.into_iter().fold(verifier, Verifier::key);
        let keys: Vec<_> = verifier.keys().iter().map(|key| key.id().to_string()).collect();
        let report = verifier.run()?;
        unchecked.extend(self::unchecked(&report, !keys.is_empty(), with_token));
        if self.format.json {
            print_json(&ReportJson::new(&report, &keys, &unchecked))?;
        } else {
            for one in &unchecked {
                app.note(one);
            }
            let verdict = report.finding.as_ref().map_or_else(|| summary(&report, &keys), sentence);
            print_line(&verdict)?;
        }
        Ok(if report.finding.is_some() { NOT_AUTHENTIC } else { 0 })
    }
}

impl Verify {
    /// The name that the log must have.
    fn name(&self, app: &App) -> keyward::Result<Option<LogName>> {
        match &self.name {
            Some(name) => Ok(Some(name.clone())),
            None if self.log.is_configured() => app.log_name().map(Some),
            None => Ok(None),
        }
    }
}

/// Takes keys and anchors from all tokens that are named. One of several may be away, which is a note.
fn ask_tokens(
    app: &App,
    mut verifier: Verifier,
    given: &[HeadKey],
    unchecked: &mut Vec<String>,
) -> anyhow::Result<Verifier> {
    let keepers = app.keepers()?;
    let one = keepers.len() == 1;
    let mut last = None;
    for keeper in keepers {
        match verifier.clone().keeper(&*keeper) {
            Ok(with) => verifier = with,
            Err(error) if one => return Err(error.into()),
            Err(error) if error.kind().is_unavailable() || error.kind() == ErrorKind::KeyNotFound => {
                unchecked.push(format!("a token that is named keeps nothing of the log, or does not answer: {error}"));
                last = Some(error);
            }
            Err(error) => return Err(error.into()),
        }
    }
    if let Some(error) = last.filter(|_| verifier.keys().is_empty()) {
        return Err(error.into());
    }
    if let Some(other) = given.iter().find(|key| !verifier.keys().contains(key)) {
        let ids: Vec<_> = verifier.keys().iter().map(|key| key.id().to_string()).collect();
        let message = format!("the key given is {}, and that of the token is {}", other.id(), ids.join(" or "));
        return Err(Error::new(ErrorKind::InvalidArgument, message).into());
    }
    Ok(verifier)
}

/// The keys in a file of PEM texts.
fn read_keys(path: &Path) -> anyhow::Result<Vec<HeadKey>> {
    const END: &str = "-----END PUBLIC KEY-----";
    let text = std::fs::read_to_string(path).map_err(|error| {
        Error::new(ErrorKind::Io, format!("cannot read the public key '{}'", path.display())).with_source(error)
    })?;
    let mut keys = Vec::new();
    let mut rest = text.as_str();
    while !rest.trim().is_empty() {
        let end = rest.find(END).map_or(rest.len(), |at| at + END.len());
        let (one, more) = rest.split_at(end);
        let key = HeadKey::from_pem(one);
        keys.push(key.map_err(|error| anyhow::Error::from(error).context(path.display().to_string()))?);
        rest = more;
    }
    match keys.is_empty() {
        true => {
            Err(Error::new(ErrorKind::InvalidArgument, format!("there is no public key in '{}'", path.display()))
                .into())
        }
        false => Ok(keys),
    }
}

fn summary(report: &Report, keys: &[String]) -> String {
    let Report { entries, heads, .. } = report;
    let mut text =
        format!("{} in {}", plural(*entries, "entry", "entries"), plural(report.files.len() as u64, "file", "files"));
    if !keys.is_empty() {
        text += &format!(", {} signed by {}", plural(*heads, "head", "heads"), keys.join(" or "));
    }
    if let Some(signed) = report.signed_to {
        text += &format!(", signed up to entry {signed}");
    }
    if let Some(anchor) = &report.anchor {
        let word = if anchor.is_retired() { "retired" } else { "anchored" };
        text += &format!(", {word} at entry {} on {}", anchor.count(), anchor.time_text());
    }
    if report.torn > 0 {
        text += &format!(", {} marked", plural(report.torn, "torn end", "torn ends"));
    }
    text + ": ok"
}

fn sentence(finding: &Finding) -> String {
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
            "the token has an anchor of another log, '{}' ({}), with {} entries",
            other.name(),
            other.log(),
            other.count()
        ));
    }
    let after = report.last - report.signed_to.unwrap_or(0).min(report.last);
    if with_key && after > 0 {
        all.push(format!("{} after the last signed head could have been changed", plural(after, "entry", "entries")));
    }
    let after = report.last - report.anchor.as_ref().map_or(0, Anchor::count).min(report.last);
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
    name: Option<String>,
    keys: &'a [String],
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
    fn new(report: &'a Report, keys: &'a [String], not_checked: &'a [String]) -> Self {
        Self {
            ok: report.finding.is_none(),
            log: report.log.map(|log| log.to_string()),
            files: report.files.iter().map(|path| path.display().to_string()).collect(),
            entries: report.entries,
            last: report.last,
            name: report.name.as_ref().map(ToString::to_string),
            keys,
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
