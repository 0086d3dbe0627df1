//! `keyward key prove`: what is known of one key, and how: what it proves, and what its token claims.

mod ceremony;

use self::ceremony::{CeremonyJson, Provenance, Told};
use super::listing::{KeyJson, date};
use crate::app::App;
use crate::args::{Format, KeyPattern};
use crate::output::{self, print_fields, print_json};
use crate::report::verdict_status;
use clap::Args;
use keyward::hsm::{AttributeClaim, CheckValue, HsmProvider, KeyReport};
use keyward::key::{KeyDescription, KeyState};
use keyward::{Error, ErrorKind, KeyAdmin, KeyName};
use serde::Serialize;
use std::path::PathBuf;

/// Show what a key proves of itself, and what its token claims of it
///
/// Proven: that the key opens what it wrapped when it was made. Claimed: its attributes and its check value. Over
/// PKCS#11 no token signs what it says of a key, so whoever believes these believes the module.
///
/// With --bundle it also shows what a ceremony tells of the key: when it was made and who confirmed it, on which token, how
/// it is backed up, who signed. The bundle is verified first, and the key must open what it wrapped in the ceremony.
///
/// The exit status is 1 where the key does not open it, or is not as a master key must be; where the bundle is not as it
/// should be, or has no such key, or another. It is 8 if all is well and people accepted deviations from the
/// plan in that ceremony.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keyward key prove payments
  keyward key prove payments --bundle 2026-11-payments

The witnesses' public keys are those in the bundle's plan. `keyward ceremony verify BUNDLE --plan FILE` compares that with
a copy from elsewhere.")]
pub(crate) struct Prove {
    /// The key: its current version, or one that is named
    #[arg(value_name = "NAME[:VERSION]")]
    key: KeyPattern,
    /// The directory of the ceremony in which the key was made
    #[arg(long, value_name = "DIR")]
    bundle: Option<PathBuf>,
    #[command(flatten)]
    format: Format,
}

/// Whether the key opened the canary in its record.
enum Opened {
    Yes,
    No(String),
    NotAsked(String),
}

impl Prove {
    /// The key that is named.
    pub(super) fn key_name(&self) -> &KeyName {
        &self.key.name
    }

    /// Runs it, and gives the exit status.
    pub(crate) fn run(&self, app: &App) -> anyhow::Result<u8> {
        let uri = app.uri()?;
        // Before any token is asked.
        let ceremony = self.bundle.as_deref().map(Provenance::read).transpose()?;
        // By way of the policies, where there are any, and on record.
        let provider = app.provider()?;
        let key = self.choose(provider.list_keys()?)?;
        let token = app.open_one(&uri)?;
        let hsm = HsmProvider::new(token).only([key.name.clone()]).accept(app.config().accept.iter().copied());
        let report = hsm.read_back(key.kek_id)?;
        let opened = open(&hsm, &report.key)?;
        let told = ceremony.as_ref().map(|bundle| bundle.of(&report.key, hsm.token())).transpose()?;
        let sound = report.key.problems.is_empty()
            && !matches!(opened, Opened::No(_))
            && told.as_ref().is_none_or(Told::is_sound);
        match self.format.json {
            true => print_json(&ProofJson::new(&report, &opened, told.as_ref())?)?,
            false => tell(&report, &opened, told.as_ref())?,
        }
        for problem in &report.key.problems {
            output::say("warning", &format!("key '{}' is not used: {problem}", report.key.label()));
        }
        for warning in told.iter().flat_map(|told| &told.warnings) {
            output::say("warning", warning);
        }
        Ok(match told {
            Some(told) if sound => verdict_status(told.verdict()),
            _ => u8::from(!sound),
        })
    }

    fn choose(&self, keys: Vec<KeyDescription>) -> keyward::Result<KeyDescription> {
        let wanted = |key: &KeyDescription| {
            key.name == self.key.name
                && self.key.version.map_or(key.state != KeyState::Pending, |version| version == key.version)
        };
        let mut found: Vec<_> = keys.into_iter().filter(wanted).collect();
        let newest = found.iter().map(|key| key.version).max();
        found.retain(|key| Some(key.version) == newest);
        match (found.pop(), found.len()) {
            (Some(one), 0) => Ok(one),
            (None, _) => Err(Error::new(ErrorKind::KeyNotFound, format!("there is no key '{}'", self.key.name))
                .with_hint("`keyward key list` shows those that there are")),
            (Some(one), _) => {
                Err(Error::new(ErrorKind::DuplicateKey, format!("several keys claim to be '{}'", one.label())))
            }
        }
    }
}

fn open(hsm: &HsmProvider, key: &KeyDescription) -> keyward::Result<Opened> {
    if !matches!(key.state, KeyState::Active | KeyState::Retired) {
        return Ok(Opened::NotAsked(format!("not asked: the key is {}", key.state)));
    }
    match hsm.open_recorded_canary(key.kek_id) {
        Ok(true) => Ok(Opened::Yes),
        Ok(false) => Ok(Opened::NotAsked("none is recorded: another tool made the key".into())),
        Err(error) if error.kind() == ErrorKind::KeyAttributes => Ok(Opened::No(error.to_string())),
        Err(error) => Err(error),
    }
}

impl Opened {
    fn text(&self) -> &str {
        match self {
            Self::Yes => "opens what it wrapped when it was made",
            Self::No(why) | Self::NotAsked(why) => why,
        }
    }
}

/// The line that says how a key came.
fn provenance(key: &KeyDescription) -> String {
    match key.created.and_then(date) {
        Some(when) => format!("{}, {when}", key.provenance),
        None => key.provenance.to_string(),
    }
}

fn tell(report: &KeyReport, opened: &Opened, told: Option<&Told<'_>>) -> anyhow::Result<()> {
    let key = &report.key;
    let mut fields = vec![
        ("key", key.label()),
        ("KEK id", key.kek_id.to_string()),
        ("algorithm", key.algorithm.to_string()),
        ("state", key.state.to_string()),
        ("provenance", provenance(key)),
        ("canary", opened.text().to_owned()),
    ];
    fields.extend(told.map(Told::fields).unwrap_or_default());
    if let Some(public) = &report.public_key {
        fields.push(("fingerprint", public.fingerprint()?));
    }
    let check = match report.check_value {
        Some(value @ CheckValue::Told(_)) => Some(format!("{value}, as the token says")),
        Some(value) => Some(format!("{value}, computed by the token")),
        None if report.public_key.is_some() => None,
        None => Some("none: the token neither tells nor computes it".into()),
    };
    fields.extend(check.map(|check| ("check value", check)));
    fields.extend(report.attributes.iter().map(|one| (one.name, one.claim.to_string())));
    Ok(print_fields(&fields)?)
}

#[derive(Serialize)]
struct ProofJson<'a> {
    key: KeyJson<'a>,
    canary_opens: Option<bool>,
    canary: &'a str,
    check_value: Option<String>,
    check_value_source: Option<&'static str>,
    fingerprint: Option<String>,
    attributes: &'a [AttributeClaim],
    /// What the bundle tells, where one is given.
    ceremony: Option<CeremonyJson<'a>>,
}

impl<'a> ProofJson<'a> {
    fn new(report: &'a KeyReport, opened: &'a Opened, told: Option<&'a Told<'_>>) -> keyward::Result<Self> {
        let source = report.check_value.map(|value| match value {
            CheckValue::Told(_) => "told",
            _ => "computed",
        });
        Ok(Self {
            key: KeyJson::new(&report.key),
            canary_opens: match opened {
                Opened::Yes => Some(true),
                Opened::No(_) => Some(false),
                Opened::NotAsked(_) => None,
            },
            canary: opened.text(),
            check_value: report.check_value.map(|value| value.to_string()),
            check_value_source: source,
            fingerprint: report.public_key.as_ref().map(|public| public.fingerprint()).transpose()?,
            attributes: &report.attributes,
            ceremony: told.map(CeremonyJson::new),
        })
    }
}
