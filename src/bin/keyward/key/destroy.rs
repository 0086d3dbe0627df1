//! `keyward key destroy`: a version is destroyed, or will be.

use super::listing::{KeyJson, date};
use super::managed::Managed;
use super::used_in::UsedIn;
use crate::app::App;
use crate::args::{Format, KeySpec};
use crate::duration::Span;
use crate::output::{self, print_json, print_line};
use clap::Args;
use keyward::key::{KeyDescription, KeyState, UsedNumbers, VersionReuse};
use keyward::{Error, ErrorKind, KeyAdmin, KeyName};
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::SystemTime;

/// Destroy one version for good; what it alone protects is lost
///
/// It is asked for the name again. With --used-in, nothing is destroyed while an envelope in one of the directories
/// still has a wrapped key of this version, or where a file there cannot be read. With --after, the version is
/// disabled now, and destroyed by the first `keyward key expire` after that time; until then `keyward key enable`
/// brings it back.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keyward key destroy payments:1 --used-in /srv/files
  keyward key destroy payments:1 --used-in /srv/files --after 7d --yes")]
pub(crate) struct Destroy {
    /// The version
    #[arg(value_name = "NAME:VERSION")]
    key: KeySpec,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Refuse while envelopes in this directory, or below it, are under this version; repeatable
    #[arg(long, value_name = "DIR")]
    used_in: Vec<PathBuf>,
    /// Disable it now, and let `key expire` destroy it after this time: 7d, 12h, 2w
    #[arg(long, value_name = "TIME")]
    after: Option<Span>,
    /// Destroy it although the token cannot record that its number was used: a later version may get the same number
    #[arg(long, conflicts_with = "after")]
    allow_version_reuse: bool,
    #[command(flatten)]
    managed: Managed,
    #[command(flatten)]
    format: Format,
}

impl Destroy {
    /// The key that is named.
    pub(super) fn key_name(&self) -> &KeyName {
        &self.key.name
    }

    pub(crate) fn run(&self, app: &App) -> anyhow::Result<()> {
        let key = &self.key;
        self.managed.allow(&key.name, "destroyed")?;
        if !self.yes && !std::io::stdin().is_terminal() {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                format!("nothing is destroyed: nobody confirmed '{key}'"),
            )
            .with_hint("at a terminal you are asked; in a script, add --yes")
            .into());
        }
        let provider = app.provider()?;
        let mut all = provider.list_keys()?;
        // One, or one of each sibling.
        all.retain(|one| one.name == key.name && one.version == key.version);
        let found =
            all.first().ok_or_else(|| Error::new(ErrorKind::KeyNotFound, format!("there is no key '{key}'")))?;
        if !self.used_in.is_empty() {
            let newest =
                provider.describe_key(keyward::KeyRef::Name(&key.name)).is_ok_and(|now| now.version == key.version);
            let ids: Vec<_> = all.iter().map(|one| one.kek_id).collect();
            UsedIn::scan(app, &self.used_in, &ids).check(key, newest)?;
        }
        if !self.yes {
            confirm(found)?;
        }
        match self.after {
            Some(after) => self.schedule(&*provider, after),
            None => {
                let numbers = provider.destroy_key(&key.name, key.version, self.reuse()).map_err(with_flag)?;
                if numbers == UsedNumbers::Forgotten {
                    let name = &key.name;
                    output::say(
                        "warning",
                        &format!(
                            "the token keeps no record of '{name}': a later version may have a number that was used"
                        ),
                    );
                }
                if self.format.json {
                    return print_json(&KeyJson::destroyed(found));
                }
                Ok(print_line(&format!("destroyed {key} (KEK id {}); a search for it finds nothing", found.kek_id))?)
            }
        }
    }

    fn reuse(&self) -> VersionReuse {
        match self.allow_version_reuse {
            true => VersionReuse::Allow,
            false => VersionReuse::Refuse,
        }
    }

    fn schedule(&self, provider: &dyn crate::app::Keys, after: Span) -> anyhow::Result<()> {
        let not_before = SystemTime::now()
            .checked_add(after.0)
            .ok_or_else(|| Error::new(ErrorKind::InvalidArgument, "the date is too far away"))?;
        let key = provider.schedule_destruction(&self.key.name, self.key.version, not_before)?;
        if self.format.json {
            return print_json(&KeyJson::new(&key));
        }
        let due = key.destroy_after.and_then(date).unwrap_or_default();
        let KeyDescription { state, kek_id, .. } = &key;
        let told = format!("scheduled {} ({state}, KEK id {kek_id})", key.label());
        Ok(print_line(&format!("{told}; `keyward key expire` destroys it after {due}"))?)
    }
}

/// Names the flag that allows what was refused.
fn with_flag(error: Error) -> Error {
    match error.kind() {
        ErrorKind::VersionReuse => {
            error.with_hint("rotate the key first, or add --allow-version-reuse to destroy the version all the same")
        }
        ErrorKind::LimitExceeded => error.with_hint(
            "destroy an older version first, or add --allow-version-reuse: a later version may then get its number",
        ),
        _ => error,
    }
}

fn confirm(key: &KeyDescription) -> anyhow::Result<()> {
    let label = key.label();
    output::say("warning", &format!("files that '{label}' alone protects can never be read again"));
    if key.state == KeyState::Active {
        output::say("warning", &format!("'{label}' is in use: new files are protected with it"));
    }
    let mut err = std::io::stderr().lock();
    write!(err, "Type {label} to destroy it: ")?;
    err.flush()?;
    let mut typed = String::new();
    std::io::stdin().read_line(&mut typed)?;
    if typed.trim() != label {
        return Err(anyhow::anyhow!("nothing is destroyed: '{}' is not '{label}'", typed.trim()));
    }
    Ok(())
}
