//! `keyward doctor`: whether everything is as it should be, and what to do about what is not.

mod check;
mod files;
mod host;
mod keys;
mod replicas;
mod token;

use self::check::{Check, Status};
use self::token::Finding;
use crate::app::App;
use crate::args::Format;
use crate::config::Together;
use crate::output::{count, print_json, print_line};
use clap::Args;
use serde::Serialize;

/// Look at this host, the files that matter and every token that is named, and say what to do
///
/// Each token is opened, its keys are held against what they should be, and what interrupted changes left behind is
/// named. Nothing is changed without --repair. Each line is ok, a warning or a FAILURE. Exit status 0 where there is no
/// failure, 5 or 6 where a token is not usable, 1 for any other failure.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keyward doctor
  keyward doctor --config keyward.toml --json
  keyward doctor --repair")]
pub(crate) struct Doctor {
    /// Clear up what interrupted changes left: keys that were not finished, records without a key, versions that were
    /// not retired. It touches nothing that anybody uses
    #[arg(long)]
    repair: bool,
    #[command(flatten)]
    format: Format,
}

impl Doctor {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<u8> {
        let mut host = host::look_at(app)?;
        let tokens: Vec<_> = app.uris()?.iter().map(|uri| token::look_at(app, uri, self.repair)).collect();
        let serving = tokens.iter().filter(|token| token.usable).count();
        let together = app.together().map(|together| match together {
            Together::Replicas => "replicas",
            Together::Siblings => "siblings",
        });
        match together {
            Some("siblings") => host.extend(missing_on_siblings(&tokens)),
            Some(_) => host.extend(replicas::compare(app, &tokens)),
            None => {}
        }
        let checks = || host.iter().chain(tokens.iter().flat_map(|token| &token.checks));
        let worst = checks().map(|check| check.status).max().unwrap_or(Status::Ok);
        let exit = tokens.iter().map(|token| token.exit).max().unwrap_or(0).max(u8::from(worst == Status::Failure));
        let number = |status| checks().filter(|check| check.status == status).count();
        let (failures, warnings) = (number(Status::Failure), number(Status::Warning));
        if self.format.json {
            print_json(&Findings { status: worst, host, tokens, together, serving })?;
            return Ok(exit);
        }
        print_line("this host")?;
        host.iter().try_for_each(Check::print)?;
        for token in &tokens {
            print_line(&token.uri)?;
            token.checks.iter().try_for_each(Check::print)?;
        }
        if let Some(together) = together {
            print_line(&format!("{together}: {serving} of {} serve", count(tokens.len(), "token")))?;
        }
        print_line(&format!("{}, {}", count(failures, "failure"), count(warnings, "warning")))?;
        Ok(exit)
    }
}

/// A key that some siblings have and another lacks protects nothing.
fn missing_on_siblings(tokens: &[Finding]) -> Vec<Check> {
    let usable: Vec<_> = tokens.iter().filter(|token| token.usable).collect();
    let mut names: Vec<_> = usable.iter().flat_map(|token| &token.names).collect();
    names.sort();
    names.dedup();
    let mut checks = Vec::new();
    for name in names {
        for token in usable.iter().filter(|token| !token.names.contains(name)) {
            let text = format!("key '{name}' is missing on {}, so nothing is protected with it", token.uri);
            checks.push(Check::failure(
                "siblings",
                text,
                format!("`keyward key create {name}` makes it where it is missing"),
            ));
        }
    }
    checks
}

#[derive(Serialize)]
struct Findings {
    status: Status,
    host: Vec<Check>,
    tokens: Vec<Finding>,
    #[serde(skip_serializing_if = "Option::is_none")]
    together: Option<&'static str>,
    serving: usize,
}
