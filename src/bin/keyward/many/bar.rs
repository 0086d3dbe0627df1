//! How far a run is, shown where somebody watches.

use super::summary::grouped;
use crate::app::App;
use crate::output::say;
use crate::progress::Ticker;
use indicatif::{BinaryBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a run takes its time for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// The content of the files.
    Bytes,
    /// Each file, whatever its size.
    Files,
}

/// A bar on a terminal, and a line now and then elsewhere.
pub(super) struct Bar {
    bar: ProgressBar,
    lines: Option<Ticker>,
    unit: Unit,
    files: u64,
    bytes: u64,
    through: AtomicU64,
    done: AtomicU64,
}

impl Bar {
    pub(super) fn new(app: &App, unit: Unit, files: u64, bytes: u64) -> Self {
        let (through, done) = (AtomicU64::new(0), AtomicU64::new(0));
        if app.quiet() || !std::io::stderr().is_terminal() {
            let lines = (!app.quiet()).then(Ticker::start);
            return Self { bar: ProgressBar::hidden(), lines, unit, files, bytes, through, done };
        }
        let (len, template) = match unit {
            Unit::Bytes => (bytes, "{wide_bar} {msg} files, {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left"),
            Unit::Files => (files, "{wide_bar} {msg} files, {per_sec}, {eta} left"),
        };
        let bar = ProgressBar::with_draw_target(Some(len), ProgressDrawTarget::stderr_with_hz(5));
        let style = ProgressStyle::with_template(template);
        let bar = bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_message(format!("0 of {}", grouped(files)));
        Self { bar, lines: None, unit, files, bytes, through, done }
    }

    /// So many more bytes are worked on.
    pub(super) fn bytes(&self, more: u64) {
        if self.unit == Unit::Bytes {
            self.bar.inc(more);
            self.done.fetch_add(more, Ordering::Relaxed);
        }
        self.line();
    }

    /// One more file is through; so many are by now.
    pub(super) fn file(&self, through: u64) {
        self.through.store(through, Ordering::Relaxed);
        self.line();
        if self.bar.is_hidden() {
            return;
        }
        if self.unit == Unit::Files {
            self.bar.inc(1);
        }
        self.bar.set_message(format!("{} of {}", grouped(through), grouped(self.files)));
    }

    fn line(&self) {
        if !self.lines.as_ref().is_some_and(Ticker::is_due) {
            return;
        }
        let mut line = format!("{} of {} files", grouped(self.through.load(Ordering::Relaxed)), grouped(self.files));
        if self.unit == Unit::Bytes {
            let done = BinaryBytes(self.done.load(Ordering::Relaxed));
            line += &format!(", {done} of {}", BinaryBytes(self.bytes));
        }
        say("note", &line);
    }

    /// Prints something without the bar in between.
    pub(super) fn aside(&self, print: impl FnOnce()) {
        self.bar.suspend(print);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
