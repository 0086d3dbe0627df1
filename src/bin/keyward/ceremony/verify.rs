//! `keyward ceremony verify`.

use super::BundlePath;
use super::plan::{FindingJson, findings_json};
use crate::app::App;
use crate::args::Format;
use crate::output::{count, print_json, print_line};
use crate::report::verdict_status;
use clap::Args;
use keyward::KeyAdmin;
use keyward::ceremony::{Living, Verdict, Verification, Verify as Verifier, compare, file_hash};
use keyward::hsm::HsmProvider;
use keyward::key::Provenance;
use keyward::token::{Token, TokenUri};
use serde::Serialize;
use std::path::PathBuf;

/// Find out whether a bundle is as its witnesses signed it, and tells of the ceremony that its plan describes
///
/// It needs no token and no network: the chain of the transcript, the plan, that every step has its outcome and every
/// backup its restore test, the public keys, the report, and the signatures of all witnesses. It says what is proven by
/// that, what the program saw, and what the module merely claims.
///
/// With --token on the command line it also asks that token: whether the keys of the ceremony are there as they were, each
/// opens what it wrapped in front of the witnesses, and what was destroyed is still gone. Keys that were retired or
/// disabled since are told. A token that KEYWARD_TOKEN or a configuration names is not asked.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  keyward ceremony verify bundle --plan payments.toml

Both tokens of a ceremony are asked by a command each, with the PIN of each:
  keyward ceremony verify bundle --token 'pkcs11:serial=0123abcd?module-path=/usr/lib/softhsm/libsofthsm2.so'
  keyward ceremony verify bundle --token 'pkcs11:serial=4567cdef?module-path=/usr/lib/softhsm/libsofthsm2.so'

The witnesses' public keys are those in the bundle's plan: whoever replaced that as well could have signed it all anew.
So give a copy of the plan with --plan, or compare `plan words bundle/plan.toml` with the words on paper.

The exit status is 0 only if everything was done as planned; 4 if anything is wrong, and each thing is a line; 7 if nothing is wrong and it was a rehearsal; 8 if nothing is wrong and people accepted deviations from the plan. If something is wrong with the bundle, no token is asked.")]
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
    /// Only where the verdict is `verified`.
    ok: bool,
    verdict: &'static str,
    ceremony: Option<&'a str>,
    run: Option<String>,
    plan: Option<String>,
    rehearsal: bool,
    entries: u64,
    head: Option<String>,
    signed_by: Vec<&'a str>,
    findings: Vec<FindingJson>,
    /// Whether this version would word the report otherwise than the one that was signed.
    report_reworded: bool,
    deviations: &'a [String],
    proven: &'a [String],
    seen: &'a [String],
    claimed: &'a [String],
    /// What came of asking a token, where one was.
    token: Option<LivingJson<'a>>,
}

#[derive(Serialize)]
struct LivingJson<'a> {
    serial: &'a str,
    tokens: Vec<&'a str>,
    findings: Vec<FindingJson>,
    proven: &'a [String],
    claimed: &'a [String],
    changed: &'a [String],
    not_asked: &'a [String],
}

impl<'a> LivingJson<'a> {
    fn new(living: &'a Living) -> Self {
        Self {
            serial: &living.serial,
            tokens: living.tokens.iter().map(keyward::ceremony::Name::as_str).collect(),
            findings: findings_json(&living.findings),
            proven: &living.proven,
            claimed: &living.claimed,
            changed: &living.changed,
            not_asked: &living.not_asked,
        }
    }
}

impl<'a> VerifyJson<'a> {
    fn new(found: &'a Verification, living: Option<&'a Living>) -> Self {
        Self {
            ok: verdict(found, living) == Verdict::Verified,
            verdict: verdict(found, living).name(),
            ceremony: found.ceremony.as_ref().map(keyward::ceremony::Name::as_str),
            run: found.run.map(|run| run.to_string()),
            plan: found.plan.map(|plan| plan.to_string()),
            rehearsal: found.rehearsal,
            entries: found.entries,
            head: found.head.map(|head| head.to_string()),
            signed_by: found.signed_by.iter().map(keyward::ceremony::Name::as_str).collect(),
            findings: findings_json(&found.findings),
            report_reworded: found.is_report_reworded,
            deviations: &found.deviations,
            proven: &found.proven,
            seen: &found.seen,
            claimed: &found.claimed,
            token: living.map(LivingJson::new),
        }
    }
}

impl Verify {
    pub(super) fn run(&self, app: &App) -> anyhow::Result<u8> {
        let uri = app.uri_given()?;
        let bundle = self.bundle.open()?;
        let mut verifier = Verifier::new(&bundle);
        if let Some(path) = &self.plan {
            verifier = verifier.plan_is(file_hash(path)?);
        }
        let found = verifier.run()?;
        let living = match uri {
            Some(uri) if found.is_intact() => Some(ask(&found, &uri, app)?),
            Some(_) => {
                app.note("no token is asked: the bundle is not as it should be");
                None
            }
            None => None,
        };
        if self.format.json {
            print_json(&VerifyJson::new(&found, living.as_ref()))?;
        } else {
            tell(&found, living.as_ref(), app)?;
        }
        Ok(verdict_status(verdict(&found, living.as_ref())))
    }
}

/// What the bundle and the token come to together.
fn verdict(found: &Verification, living: Option<&Living>) -> Verdict {
    if living.is_none_or(Living::is_ok) { found.verdict() } else { Verdict::Refused }
}

/// Compares the bundle with a token.
fn ask(found: &Verification, uri: &TokenUri, app: &App) -> anyhow::Result<Living> {
    for name in found.key_names() {
        app.check_allowed(&name)?;
    }
    // By way of the policies, where there are any, and on record.
    app.provider()?.list_keys()?;
    // The login is there already.
    Ok(compare(found, &provider(found, app.open_one(uri)?))?)
}

/// What a token is compared with a bundle by: it may use the keys that the bundle tells of, however they came.
pub(crate) fn provider(found: &Verification, token: Token) -> HsmProvider {
    HsmProvider::new(token).only(found.key_names()).accept([Provenance::TrustedWrap, Provenance::Components])
}

pub(super) fn tell(found: &Verification, living: Option<&Living>, app: &App) -> anyhow::Result<()> {
    if found.rehearsal {
        app.note("this is a REHEARSAL: its keys are worth nothing");
    }
    if found.is_report_reworded && found.is_intact() {
        app.note("this version would word report.md otherwise; what the witnesses signed is the file as it is");
    }
    for finding in found.findings.iter().chain(living.iter().flat_map(|living| &living.findings)) {
        print_line(&finding.to_string())?;
    }
    let mut kinds = vec![
        ("deviation", &found.deviations),
        ("proven", &found.proven),
        ("seen", &found.seen),
        ("claimed", &found.claimed),
    ];
    if let Some(living) = living {
        kinds.insert(2, ("proven", &living.proven));
        kinds.extend([("claimed", &living.claimed), ("changed", &living.changed), ("not asked", &living.not_asked)]);
    }
    for (word, lines) in kinds {
        for line in lines {
            print_line(&format!("{word}: {line}"))?;
        }
    }
    let verdict = verdict(found, living);
    if verdict != Verdict::Refused {
        let ceremony = found.ceremony.as_ref().map_or("", keyward::ceremony::Name::as_str);
        let names: Vec<_> = found.signed_by.iter().map(keyward::ceremony::Name::as_str).collect();
        let (what, end) = match verdict {
            Verdict::Rehearsal => ("REHEARSAL ", "a rehearsal, worth nothing".to_owned()),
            Verdict::Deviations => {
                ("", format!("intact, with {} accepted", count(found.deviations.len(), "deviation")))
            }
            _ => ("", "ok".to_owned()),
        };
        let signed = if names.is_empty() { "nobody yet".to_owned() } else { names.join(" and ") };
        print_line(&format!("{what}{ceremony}, {} entries, signed by {signed}: {end}", found.entries))?;
        if let Some(living) = living {
            let tokens: Vec<_> = living.tokens.iter().map(keyward::ceremony::Name::as_str).collect();
            print_line(&format!("the token {} with the serial number {}: ok", tokens.join(" and "), living.serial))?;
        }
    }
    Ok(())
}
