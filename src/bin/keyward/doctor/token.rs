//! One token: module, PIN, abilities, keys.

use super::check::{Check, Status};
use super::{files, keys};
use crate::app::App;
use crate::governed;
use crate::report;
use crate::softhsm;
use keyward::hsm::HsmProvider;
use keyward::key::{KeyDescription, KeyState};
use keyward::token::{Token, TokenInfo, TokenUri};
use keyward::{Error, KekId, KeyAdmin, KeyProvider, KeyRef, WrappingAlgorithm};
use serde::Serialize;
use std::path::Path;
use std::time::{Instant, SystemTime};

/// What was found out about one token.
#[derive(Default, Serialize)]
pub(super) struct Finding {
    pub(super) uri: String,
    /// Whether it was logged in to and its keys were read.
    pub(super) usable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    known_as: Option<&'static str>,
    /// Whether Keyward's tests run on such a token.
    tested: bool,
    algorithms: Vec<&'static str>,
    /// How many versions there are.
    keys: usize,
    /// How many of them may protect.
    active: usize,
    /// The names of its keys whose versions were all destroyed.
    destroyed: Vec<String>,
    /// How long a search takes, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    search_us: Option<u128>,
    pub(super) checks: Vec<Check>,
    /// The exit status that it deserves.
    #[serde(skip)]
    pub(super) exit: u8,
    /// The names of its keys that are finished.
    #[serde(skip)]
    pub(super) names: Vec<String>,
    /// Its keys, once they were read, and what asks for them.
    #[serde(skip)]
    pub(super) read: Option<(HsmProvider, Vec<KeyDescription>)>,
}

/// Looks at one token, and with `repair` puts right what interrupted changes left.
pub(super) fn look_at(app: &App, uri: &TokenUri, repair: bool) -> Finding {
    let mut finding = Finding { uri: uri.to_string(), ..Finding::default() };
    if let Err((name, error)) = finding.examine(app, uri, repair) {
        let hint = error.hint().map(ToOwned::to_owned);
        let error = anyhow::Error::from(error);
        finding.exit = report::status(&error);
        let remedy = hint.unwrap_or_else(|| "try again when that is put right".to_owned());
        finding.checks.push(Check::failure(name, report::message(&error), remedy));
    }
    if finding.checks.iter().any(|check| check.status == Status::Failure) {
        finding.exit = finding.exit.max(1);
    }
    finding
}

impl Finding {
    /// Goes as far as it gets. An error has the name of the check that it is.
    fn examine(&mut self, app: &App, uri: &TokenUri, repair: bool) -> Result<(), (&'static str, Error)> {
        // Before it is loaded: loading runs it.
        self.checks.extend(uri.module_path().and_then(files::module));
        self.checks.extend(uri.pin_source().map(files::pin));
        if let Some(path) = uri.module_path() {
            let module = softhsm::load(path).map_err(|error| ("module", error))?;
            self.checks.push(Check::ok("module", format!("'{}' loads", path.display())));
            let info = module.find(uri).map_err(|error| ("token", error))?;
            self.checks.extend(lock(&info, module.softhsm_directory()));
            let pin = pin(Pin::of(&info));
            let stop = pin.status == Status::Failure;
            self.checks.push(token(&info));
            self.checks.push(pin);
            if stop {
                // Entering a PIN could be the last try.
                self.exit = 6;
                return Ok(());
            }
        }
        let token = app.open_one(uri).map_err(|error| ("login", error))?;
        self.checks.push(Check::ok("login", "done"));
        self.describe(&token);
        let mut provider = HsmProvider::new(token.clone()).accept(app.config().accept.iter().copied());
        if let Some(keys) = &app.config().keys {
            provider = provider.only(keys.iter().cloned());
        }
        if repair {
            self.repair(app, &provider).map_err(|error| ("repair", error))?;
        }
        self.keys(provider).map_err(|error| ("keys", error))
    }

    /// Only what the policies allow, where there are any, and on record: it destroys objects.
    fn repair(&mut self, app: &App, provider: &HsmProvider) -> keyward::Result<()> {
        let mut listed = provider.leftovers()?;
        // What is left alone is listed with the keys.
        listed.retain(|one| one.operation().is_some());
        if listed.is_empty() {
            return Ok(());
        }
        let repairs = match governed::rules(app, provider, || app.keepers())? {
            Ok(governed) => governed.repair(&listed)?,
            Err(provider) => provider.repair(&listed)?,
        };
        for repair in repairs {
            let check = keys::repaired(&repair);
            if check.status == Status::Failure
                && let Err(error) = repair.outcome
            {
                self.exit = self.exit.max(report::status(&error.into()));
            }
            self.checks.push(check);
        }
        Ok(())
    }

    fn describe(&mut self, token: &Token) {
        let (info, quirks) = (token.info(), token.quirks());
        let all = [WrappingAlgorithm::AesGcm, WrappingAlgorithm::AesKw, WrappingAlgorithm::RsaOaep];
        let able = all.into_iter().filter(|algorithm| token.capabilities().supports(*algorithm));
        self.algorithms = able.map(WrappingAlgorithm::name).collect();
        (self.known_as, self.tested) = (Some(quirks.vendor), quirks.tested);
        self.checks.push(match self.algorithms.is_empty() {
            false => Check::ok("algorithms", self.algorithms.join(" ")),
            true => Check::failure(
                "algorithms",
                "it lists no mechanism that Keyward can use",
                "`keyward token info` shows what it lists; some tokens have them switched off by their policy",
            ),
        });
        let tested = if quirks.tested { "tested" } else { "not tested by us; from its manuals at most" };
        self.checks.push(Check::ok("known-as", format!("{} ({tested})", quirks.vendor)));
        self.checks.extend(quirks.notes.iter().map(|note| Check::ok("note", *note)));
        if info.write_protected {
            let text = "it is write-protected: keys can be used, not made or changed";
            self.checks.push(Check::warning(
                "write",
                text,
                "where that is not meant, its vendor's tool switches it off",
            ));
        }
    }

    fn keys(&mut self, provider: HsmProvider) -> keyward::Result<()> {
        let keys = provider.list_keys()?;
        self.keys = keys.len();
        self.active = keys.iter().filter(|key| key.state == KeyState::Active).count();
        self.names = names(&keys);
        self.checks.extend(keys::look_at(&keys, SystemTime::now()));
        let destroyed = provider.list_destroyed_keys()?;
        self.destroyed = destroyed.iter().map(|key| key.name.to_string()).collect();
        self.checks.extend(keys::destroyed(&destroyed));
        self.checks.extend(provider.leftovers()?.iter().map(keys::leftover));
        let micros = search(&provider);
        self.search_us = Some(micros);
        self.checks.push(Check::ok("answers", format!("a search in {micros} µs")));
        self.usable = true;
        self.read = Some((provider, keys));
        Ok(())
    }
}

fn names(keys: &[KeyDescription]) -> Vec<String> {
    let finished = keys.iter().filter(|key| key.state != KeyState::Pending);
    let mut names: Vec<_> = finished.map(|key| key.name.to_string()).collect();
    names.dedup();
    names
}

fn token(info: &TokenInfo) -> Check {
    let TokenInfo { label, serial, manufacturer, model, firmware, .. } = info;
    Check::ok("token", format!("'{label}', serial {serial}, {manufacturer} {model}, firmware {firmware}"))
}

/// Whether processes that use SoftHSM at once take turns, which SoftHSM by itself does not make them do.
fn lock(info: &TokenInfo, directory: Option<&Path>) -> Option<Check> {
    const NAME: &str = "softhsm-lock";
    match directory {
        Some(directory) => {
            let text = format!("programs of Keyward take turns by a lock in '{}'", directory.display());
            Some(Check::ok(NAME, text))
        }
        None if info.manufacturer.starts_with("SoftHSM") => {
            let text = "none: where SoftHSM keeps its tokens is not known, and two processes at once corrupt each other's view of them";
            let remedy = "name SoftHSM's configuration in SOFTHSM2_CONF, with a line directories.tokendir, and the module by its usual file name";
            Some(Check::warning(NAME, text, remedy))
        }
        None => None,
    }
}

/// What a token tells of its PIN.
#[derive(Clone, Copy)]
struct Pin {
    locked: bool,
    final_try: bool,
    count_low: bool,
}

impl Pin {
    fn of(info: &TokenInfo) -> Self {
        Self { locked: info.pin_locked, final_try: info.pin_final_try, count_low: info.pin_count_low }
    }
}

fn pin(pin: Pin) -> Check {
    match pin {
        Pin { locked: true, .. } => {
            Check::failure("pin", "it is locked", "the security officer sets a new one, with the vendor's tool")
        }
        Pin { final_try: true, .. } => Check::failure(
            "pin",
            "one more wrong PIN locks it, so it was not entered",
            "make sure of the PIN, and enter it with `keyward key list`: the right one sets the count back",
        ),
        Pin { count_low: true, .. } => Check::warning(
            "pin",
            "a wrong one was entered since the last right one",
            "find out who or what did it: another host with an old PIN locks the token in the end",
        ),
        _ => Check::ok("pin", "no wrong one was entered"),
    }
}

/// The median of five searches for a key that is not there.
fn search(provider: &HsmProvider) -> u128 {
    let mut took: Vec<u128> = (0..5)
        .map(|_| {
            let began = Instant::now();
            let _ = provider.describe_key(KeyRef::Kek(KekId::from_bytes([0; 16])));
            began.elapsed().as_micros()
        })
        .collect();
    took.sort_unstable();
    took[took.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_that_may_be_locked_is_not_entered() {
        let status = |locked, final_try, count_low| pin(Pin { locked, final_try, count_low }).status;
        assert_eq!(status(true, true, true), Status::Failure);
        assert_eq!(status(false, true, true), Status::Failure);
        assert_eq!(status(false, false, true), Status::Warning);
        assert_eq!(status(false, false, false), Status::Ok);
    }
}
