//! Which files are still under a key version: their headers say it, to anyone.

use crate::app::App;
use crate::args::KeySpec;
use crate::headers::{Header, header};
use crate::many::tree::Origin;
use crate::many::{Skip, find, grouped};
use crate::output::count;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use keyward::{Error, ErrorKind, KekId};
use std::io::{self, IsTerminal};
use std::path::PathBuf;

/// So many paths are named.
const NAMED: usize = 3;

/// What was found in directories. Whatever cannot be told counts as found: what is destroyed is lost.
#[derive(Default)]
pub(crate) struct UsedIn {
    /// Envelopes with a wrapped key of the version.
    under: Vec<PathBuf>,
    /// What could not be looked at, and why.
    unknown: Vec<(PathBuf, String)>,
}

impl UsedIn {
    /// Looks at every file in the directories and below, temporary ones too. Symbolic links there are not followed.
    pub(crate) fn scan(app: &App, directories: &[PathBuf], ids: &[KekId]) -> Self {
        let bar = bar(app);
        let scanned = find(directories, true, None);
        let mut found = Self::default();
        for origin in scanned.files.into_iter().map(|item| item.origin).chain(scanned.temporaries) {
            found.file(&origin, ids, &bar);
        }
        // What was not looked at must not pass for empty.
        found.unknown.extend(scanned.failed.into_iter().map(|(path, error)| (path, reason(&error))));
        bar.finish_and_clear();
        let links = scanned.skipped.of(Skip::Link);
        if links > 0 {
            app.note(&format!("not followed: {} symbolic link{}", grouped(links), if links == 1 { "" } else { "s" }));
        }
        found
    }

    fn file(&mut self, origin: &Origin, ids: &[KekId], bar: &ProgressBar) {
        bar.inc(1);
        match is_under(origin, ids) {
            Ok(true) => self.under.push(origin.path()),
            Ok(false) => {}
            Err(why) => self.unknown.push((origin.path(), why)),
        }
    }

    /// Refuses where anything was found.
    pub(crate) fn check(mut self, key: &KeySpec, is_current: bool) -> keyward::Result<()> {
        self.under.sort();
        if !self.under.is_empty() {
            let paths = self.under.iter().map(|path| path.display().to_string());
            let verb = if self.under.len() == 1 { "is" } else { "are" };
            let message = format!(
                "nothing is destroyed: {} {verb} under '{key}': {}",
                count(self.under.len(), "file"),
                first(paths)
            );
            let name = &key.name;
            let first = if is_current { format!("`keyward key rotate {name}`, then ") } else { String::new() };
            return Err(Error::new(ErrorKind::KeyState, message)
                .with_hint(format!("{first}`keyward rewrap --key {name} FILE…` moves them to the current version")));
        }
        if !self.unknown.is_empty() {
            let paths = self.unknown.iter().map(|(path, why)| format!("{} ({why})", path.display()));
            let message = format!(
                "nothing is destroyed: of {} it cannot be told whether '{key}' is needed: {}",
                count(self.unknown.len(), "path"),
                first(paths)
            );
            return Err(Error::new(ErrorKind::KeyState, message)
                .with_hint("make them readable, or move them away, and try again"));
        }
        Ok(())
    }
}

/// The first few.
fn first(all: impl ExactSizeIterator<Item = String>) -> String {
    let more = all.len().saturating_sub(NAMED);
    let named = all.take(NAMED).collect::<Vec<_>>().join(", ");
    if more == 0 { named } else { format!("{named} and {more} more") }
}

/// Whether an envelope has a wrapped key of one of these. An error says why that cannot be told.
fn is_under(origin: &Origin, ids: &[KekId]) -> Result<bool, String> {
    let file = origin.open().map_err(|error| reason(&error))?;
    match header(file.file())? {
        Header::Other => Ok(false),
        Header::Envelope { ids: found, .. } if found.iter().any(|id| ids.contains(id)) => Ok(true),
        Header::Envelope { complete: true, .. } => Ok(false),
        Header::Envelope { complete: false, .. } => Err("it has a wrapped key of an unknown kind".to_owned()),
    }
}

/// Why a file cannot be read, without its path.
fn reason(error: &Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}

/// Counts the files where somebody watches.
fn bar(app: &App) -> ProgressBar {
    if app.quiet() || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(5));
    let style = ProgressStyle::with_template("{pos} files looked at");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
