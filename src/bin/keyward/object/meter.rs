//! How far a command is: a bar where somebody watches, and a line for each object.

use crate::app::App;
use crate::output::print_line;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{self, IsTerminal};

/// Less is done before anybody could read the bar.
const WORTH_SHOWING: u64 = 16 << 20;

pub(crate) struct Meter {
    bar: ProgressBar,
    quiet: bool,
}

impl Meter {
    /// For so many bytes; a number that only counts where nobody knows how many.
    pub(crate) fn new(app: &App, bytes: Option<u64>) -> Self {
        let too_few = bytes.is_some_and(|bytes| bytes < WORTH_SHOWING);
        if app.quiet() || too_few || !io::stderr().is_terminal() {
            return Self { bar: ProgressBar::hidden(), quiet: app.quiet() };
        }
        let template = match bytes {
            Some(_) => "{wide_bar} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left",
            None => "{bytes}, {bytes_per_sec}",
        };
        let bar = ProgressBar::with_draw_target(bytes, ProgressDrawTarget::stderr_with_hz(5));
        let style = ProgressStyle::with_template(template);
        Self { bar: bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())), quiet: false }
    }

    /// So many more bytes are through.
    pub(crate) fn add(&self, bytes: u64) {
        self.bar.inc(bytes);
    }

    /// Says on standard output what became of an object.
    pub(crate) fn line(&self, text: &str) -> io::Result<()> {
        if self.quiet {
            return Ok(());
        }
        self.bar.suspend(|| print_line(text))
    }

    /// Prints something without the bar in between.
    pub(crate) fn aside(&self, print: impl FnOnce()) {
        self.bar.suspend(print);
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
