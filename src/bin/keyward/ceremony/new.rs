//! `keyward ceremony plan new`: questions, and the plan that their answers make.

use crate::app::App;
use crate::output::{one_line, print_line, say};
use clap::Args;
use keyward::ceremony::{Answers, Hash, Name, Plan, WitnessKey, file_hash};
use keyward::durable::{AtomicFile, Replace};
use keyward::{Error, ErrorKind, KeyName, WrappingAlgorithm};
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Ask what a ceremony is to be, and write a plan for it
///
/// The plan is for two fresh tokens, each of which is the other's sibling: keys are made on both, and nothing is ever
/// exported. What else there may be in a plan stands in it as comments.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  keyward ceremony plan new payments.toml

The hash of this program goes into the plan, and that of the module: make the plan on the host of the ceremony, or
put in the hashes of that host.")]
pub(crate) struct New {
    /// The plan to write
    #[arg(value_name = "PLAN")]
    plan: PathBuf,
    /// Replace a plan that exists
    #[arg(long, short)]
    force: bool,
}

impl New {
    pub(super) fn run(&self, app: &App) -> anyhow::Result<()> {
        let replace = if self.force { Replace::Yes } else { Replace::No };
        // Before anybody has answered anything.
        let mut file = AtomicFile::create(&self.plan, replace)?;
        let program = std::env::current_exe().map_err(|error| {
            Error::new(ErrorKind::Io, "this program cannot be found for its hash").with_source(error)
        })?;
        let text = ask_all(file_hash(&program)?)?.to_toml();
        let findings = Plan::parse(&text)?.lint(&text);
        for finding in &findings {
            say("warning", &finding.to_string());
        }
        file.write_all(text.as_bytes())?;
        file.commit()?;
        app.note("read it, edit it, then: keyward ceremony plan lint");
        Ok(print_line(&format!("wrote '{}'", self.plan.display()))?)
    }
}

fn ask_all(tool_sha256: Hash) -> anyhow::Result<Answers> {
    let id = ask("What is the ceremony called, as in 2026-11-payments", str::parse)?;
    let (module, module_sha256) = ask("The PKCS#11 module", module)?;
    let operator = ask("Who sits at the keyboard, a short name", str::parse)?;
    let officer = ask("Who knows the security officer's PINs", str::parse)?;
    let custodians: Vec<Name> = ask("Who keep shares of the user PINs, with commas in between", list)?;
    let threshold = ask("How many of them open a token together", |text| {
        let threshold = text.parse().ok().filter(|threshold| (2..=custodians.len()).contains(&usize::from(*threshold)));
        threshold.ok_or_else(|| wrong(format!("a number from 2 to {}", custodians.len())))
    })?;
    let names: Vec<Name> = ask("Who are the witnesses, with commas in between", list)?;
    let mut witnesses = Vec::new();
    for name in names {
        let key = ask(&format!("The minisign public key of {name}, or the file that has it"), witness_key)?;
        witnesses.push((name, key));
    }
    let keys = ask("Which keys are made, as in payments,box=rsa-oaep (aes-gcm where not said)", keys)?;
    Ok(Answers { id, tool_sha256, module, module_sha256, operator, officer, custodians, threshold, witnesses, keys })
}

/// Asks until the answer is one; until there are no more answers.
fn ask<T>(question: &str, parse: impl Fn(&str) -> keyward::Result<T>) -> anyhow::Result<T> {
    loop {
        let mut err = std::io::stderr().lock();
        write!(err, "{question}: ")?;
        err.flush()?;
        drop(err);
        let mut line = String::new();
        if std::io::stdin().lock().read_line(&mut line)? == 0 {
            return Err(
                Error::new(ErrorKind::InvalidArgument, "a question was not answered; nothing is written").into()
            );
        }
        match parse(line.trim()) {
            Ok(answer) => return Ok(answer),
            Err(error) => say("warning", &one_line(&error.to_string())),
        }
    }
}

fn wrong(expected: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidArgument, format!("expected {}", expected.into()))
}

fn list<T: FromStr<Err = Error>>(text: &str) -> keyward::Result<Vec<T>> {
    text.split(',').map(|one| one.trim().parse()).collect()
}

fn module(text: &str) -> keyward::Result<(PathBuf, Hash)> {
    let path = Path::new(text);
    if !path.is_absolute() {
        return Err(wrong("an absolute path"));
    }
    Ok((path.to_owned(), file_hash(path)?))
}

fn witness_key(text: &str) -> keyward::Result<WitnessKey> {
    match std::fs::read_to_string(text) {
        Ok(file) => file.parse(),
        Err(_) => text.parse(),
    }
}

fn keys(text: &str) -> keyward::Result<Vec<(KeyName, WrappingAlgorithm)>> {
    let one = |text: &str| {
        let (name, algorithm) = text.split_once('=').unwrap_or((text, "aes-gcm"));
        match algorithm.trim().parse()? {
            WrappingAlgorithm::CustomerKey => Err(wrong("an algorithm of a token")),
            algorithm => Ok((name.trim().parse()?, algorithm)),
        }
    };
    text.split(',').map(one).collect()
}
