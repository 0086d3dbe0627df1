//! The progress of a long run, shown where somebody watches.

use crate::app::App;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::path::Path;

/// Less is done before anybody could read the bar.
const WORTH_SHOWING: u64 = 64 << 20;

/// A bar for working through the file, which shows nothing where nobody watches. It goes away when
/// it is dropped.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    pub(crate) fn over(app: &App, file: &Path) -> Self {
        let len = file.metadata().map_or(0, |meta| meta.len());
        if app.quiet() || len < WORTH_SHOWING || !std::io::stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let bar = ProgressBar::with_draw_target(Some(len), ProgressDrawTarget::stderr_with_hz(5));
        let style = ProgressStyle::with_template("{wide_bar} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left");
        Self(bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())))
    }

    pub(crate) fn set(&self, done: u64) {
        self.0.set_position(done);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
