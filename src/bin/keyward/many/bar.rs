//! How far a run is, shown where somebody watches.

use super::summary::grouped;
use crate::app::App;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;

/// What a run takes its time for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// The content of the files.
    Bytes,
    /// Each file, whatever its size.
    Files,
}

pub(super) struct Bar {
    bar: ProgressBar,
    unit: Unit,
    files: u64,
}

impl Bar {
    pub(super) fn new(app: &App, unit: Unit, files: u64, bytes: u64) -> Self {
        if app.quiet() || !std::io::stderr().is_terminal() {
            return Self { bar: ProgressBar::hidden(), unit, files };
        }
        let (len, template) = match unit {
            Unit::Bytes => (bytes, "{wide_bar} {msg} files, {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left"),
            Unit::Files => (files, "{wide_bar} {msg} files, {per_sec}, {eta} left"),
        };
        let bar = ProgressBar::with_draw_target(Some(len), ProgressDrawTarget::stderr_with_hz(5));
        let style = ProgressStyle::with_template(template);
        let bar = bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_message(format!("0 of {}", grouped(files)));
        Self { bar, unit, files }
    }

    /// So many more bytes are worked on.
    pub(super) fn bytes(&self, more: u64) {
        if self.unit == Unit::Bytes {
            self.bar.inc(more);
        }
    }

    /// One more file is through; so many are by now.
    pub(super) fn file(&self, through: u64) {
        if self.bar.is_hidden() {
            return;
        }
        if self.unit == Unit::Files {
            self.bar.inc(1);
        }
        self.bar.set_message(format!("{} of {}", grouped(through), grouped(self.files)));
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
