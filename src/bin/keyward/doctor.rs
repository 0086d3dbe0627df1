//! `keyward doctor`: whether everything is as it should be, and what is not.

use crate::app::App;
use crate::args::Format;
use crate::config::Together;
use crate::output::{count, print_json, print_line};
use crate::report;
use clap::Args;
use keyward::hsm::HsmProvider;
use keyward::key::{KeyDescription, KeyState};
use keyward::token::{Token, TokenUri};
use keyward::{KekId, KeyAdmin, KeyProvider, KeyRef, WrappingAlgorithm};
use serde::Serialize;
use std::time::Instant;

/// Look at every token that is named: is it there, does the PIN open it, are its keys sound?
///
/// Each token is opened, its keys are read, and how it differs from the standard is told. Nothing is
/// changed. With several tokens it tells which of them serve. Exit status 5 or 6 where a token is
/// not usable, 1 where a key has a problem.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keyward doctor
  keyward doctor --config keyward.toml --json")]
pub(crate) struct Doctor {
    #[command(flatten)]
    format: Format,
}

impl Doctor {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<u8> {
        let mut status = 0;
        let mut tokens = Vec::new();
        for uri in app.uris()? {
            let (found, one) = look_at(app, &uri);
            status = status.max(one);
            tokens.push(found);
        }
        let serving = tokens.iter().filter(|token| token.error.is_none()).count();
        let together = app.together().map(|together| match together {
            Together::Replicas => "replicas",
            Together::Siblings => "siblings",
        });
        if self.format.json {
            print_json(&Findings { tokens, together, serving })?;
            return Ok(status);
        }
        for token in &tokens {
            token.print()?;
        }
        if let Some(together) = together {
            print_line(&format!("{together}: {serving} of {} serve", count(tokens.len(), "token")))?;
        }
        Ok(status)
    }
}

#[derive(Serialize)]
struct Findings {
    tokens: Vec<Finding>,
    #[serde(skip_serializing_if = "Option::is_none")]
    together: Option<&'static str>,
    serving: usize,
}

/// What was found out about one token.
#[derive(Default, Serialize)]
struct Finding {
    uri: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    /// Why it is not usable.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    algorithms: Vec<&'static str>,
    /// The row of the table of quirks, and whether it was tested.
    #[serde(skip_serializing_if = "Option::is_none")]
    known_as: Option<&'static str>,
    tested: bool,
    notes: Vec<&'static str>,
    keys: usize,
    active: usize,
    /// Keys that are not as they should be, each a sentence.
    problems: Vec<String>,
    /// How long a search takes, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    search_us: Option<u128>,
}

/// What one token is like, and the exit status that it deserves.
fn look_at(app: &App, uri: &TokenUri) -> (Finding, u8) {
    let mut finding = Finding { uri: uri.to_string(), ..Finding::default() };
    let looked = app.open_one(uri).and_then(|token| {
        finding.describe(&token);
        let provider = HsmProvider::new(token);
        finding.keys(&provider.list_keys()?);
        finding.search_us = Some(search(&provider));
        Ok(())
    });
    if let Err(error) = looked {
        finding.hint = error.hint().map(ToOwned::to_owned);
        let error = anyhow::Error::from(error);
        finding.error = Some(report::message(&error));
        return (finding, report::status(&error));
    }
    let status = u8::from(!finding.problems.is_empty());
    (finding, status)
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

impl Finding {
    fn describe(&mut self, token: &Token) {
        let (info, quirks) = (token.info(), token.quirks());
        self.token = Some(format!(
            "'{}', serial {}, {} {}, firmware {}",
            info.label, info.serial, info.manufacturer, info.model, info.firmware
        ));
        let all = [WrappingAlgorithm::AesGcm, WrappingAlgorithm::AesKw, WrappingAlgorithm::RsaOaep];
        let able = all.into_iter().filter(|algorithm| token.capabilities().supports(*algorithm));
        self.algorithms = able.map(WrappingAlgorithm::name).collect();
        (self.known_as, self.tested) = (Some(quirks.vendor), quirks.tested);
        self.notes = quirks.notes.to_vec();
        if info.write_protected {
            self.notes.push("it is write-protected: keys can be used, not made or changed");
        }
        if info.pin_final_try {
            self.problems.push("one more wrong PIN locks it".to_owned());
        }
    }

    fn keys(&mut self, keys: &[KeyDescription]) {
        self.keys = keys.len();
        self.active = keys.iter().filter(|key| key.state == KeyState::Active).count();
        for key in keys {
            let found = key.problems.iter().map(|problem| format!("key '{}': {problem}", key.label()));
            self.problems.extend(found);
        }
    }

    fn print(&self) -> anyhow::Result<()> {
        print_line(&self.uri)?;
        let mut lines = Vec::new();
        if let Some(token) = &self.token {
            lines.push(("token", token.clone()));
        }
        match &self.error {
            Some(error) => lines.push(("NOT USABLE", error.clone())),
            None => lines.push(("login", "done".to_owned())),
        }
        lines.extend(self.hint.iter().map(|hint| ("hint", hint.clone())));
        if let Some(known_as) = self.known_as {
            let tested = if self.tested { "tested" } else { "not tested by us; from its manuals at most" };
            lines.push(("known as", format!("{known_as} ({tested})")));
            lines.push(("algorithms", self.algorithms.join(" ")));
        }
        lines.extend(self.notes.iter().map(|note| ("note", (*note).to_owned())));
        if let Some(micros) = self.search_us {
            lines.push(("keys", format!("{}, {} active", count(self.keys, "version"), self.active)));
            lines.push(("answers", format!("a search in {micros} µs")));
        }
        lines.extend(self.problems.iter().map(|problem| ("PROBLEM", problem.clone())));
        for (name, value) in lines {
            print_line(&format!("  {name:10}  {value}"))?;
        }
        Ok(())
    }
}
