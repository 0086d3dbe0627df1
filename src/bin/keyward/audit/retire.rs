//! `keyward audit retire`.

use super::AnchorJson;
use crate::app::App;
use crate::args::Format;
use crate::output::{self, print_json, print_line};
use clap::Args;
use keyward::audit::{Anchor, LogName, live_anchors, retire};
use keyward::{Error, ErrorKind};
use std::io::{IsTerminal, Write};

/// Retire a log whose files are gone, so that another of its name can begin
///
/// As long as the token has an anchor of a log, no other log of its name is begun: that would hide that it was removed. This
/// leaves a signed anchor that says that the log has ended, and at which entry. It becomes the first line of the next log
/// of that name. Move the files of the old log away before the next command.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  keyward audit retire db1.example.org")]
pub(crate) struct Retire {
    /// The log's name
    #[arg(value_name = "NAME")]
    name: LogName,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    format: Format,
}

impl Retire {
    pub(super) fn run(&self, app: &App) -> anyhow::Result<()> {
        let name = &self.name;
        if !self.yes && !std::io::stdin().is_terminal() {
            let message = format!("nothing is retired: '{name}' was not confirmed");
            return Err(Error::new(ErrorKind::InvalidArgument, message)
                .with_hint("at a terminal you are asked; in a script, add --yes")
                .into());
        }
        let keepers = app.keepers()?;
        let anchors = live_anchors(name, &keepers)?;
        if !self.yes && !anchors.is_empty() {
            confirm(name, &anchors)?;
        }
        let retired = retire(name, &keepers)?;
        if self.format.json {
            return print_json(&AnchorJson::new(&retired));
        }
        Ok(print_line(&format!("retired the log '{name}' ({}) at entry {}", retired.log(), retired.count()))?)
    }
}

fn confirm(name: &LogName, anchors: &[Anchor]) -> anyhow::Result<()> {
    for anchor in anchors {
        let (log, count, time) = (anchor.log(), anchor.count(), anchor.time_text());
        output::say("warning", &format!("the log '{name}' ({log}) had {count} entries on {time}; it ends with this"));
    }
    let mut err = std::io::stderr().lock();
    write!(err, "Type {name} to retire it: ")?;
    err.flush()?;
    let mut typed = String::new();
    std::io::stdin().read_line(&mut typed)?;
    if typed.trim() != name.as_str() {
        return Err(anyhow::anyhow!("nothing is retired: '{}' is not '{name}'", typed.trim()));
    }
    Ok(())
}
