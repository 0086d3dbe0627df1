//! The progress of a long run, shown where somebody watches.

use crate::app::App;
use crate::output::say;
use indicatif::{BinaryBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Less is done before anybody could read the bar.
const WORTH_SHOWING: u64 = 64 << 20;

/// How often a line is printed where there is no terminal for a bar.
const EVERY: Duration = Duration::from_secs(10);

/// Says when the next line is due. What is over before is not told of.
pub(crate) struct Ticker {
    began: Instant,
    told: AtomicU64,
}

impl Ticker {
    pub(crate) fn start() -> Self {
        Self { began: Instant::now(), told: AtomicU64::new(0) }
    }

    /// Whether it is; to one caller alone.
    pub(crate) fn is_due(&self) -> bool {
        self.is_due_after(self.began.elapsed())
    }

    fn is_due_after(&self, elapsed: Duration) -> bool {
        let now = elapsed.as_secs() / EVERY.as_secs();
        self.told.fetch_max(now, Ordering::Relaxed) < now
    }
}

/// A bar for working through the file on a terminal, and a line now and then elsewhere. The bar goes away when it is
/// dropped.
pub(crate) struct Progress {
    bar: ProgressBar,
    lines: Option<(Ticker, u64)>,
}

impl Progress {
    pub(crate) fn over(app: &App, file: &Path) -> Self {
        let len = file.metadata().map_or(0, |meta| meta.len());
        if app.quiet() || len < WORTH_SHOWING || !std::io::stderr().is_terminal() {
            let lines = (!app.quiet()).then(|| (Ticker::start(), len));
            return Self { bar: ProgressBar::hidden(), lines };
        }
        let bar = ProgressBar::with_draw_target(Some(len), ProgressDrawTarget::stderr_with_hz(5));
        let style = ProgressStyle::with_template("{wide_bar} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left");
        Self { bar: bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())), lines: None }
    }

    pub(crate) fn set(&self, done: u64) {
        self.bar.set_position(done);
        if let Some((ticker, len)) = &self.lines
            && ticker.is_due()
        {
            say("note", &format!("{} of {}", BinaryBytes(done), BinaryBytes(*len)));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_due_every_ten_seconds_and_once() {
        let ticker = Ticker::start();
        let due = [0.0, 9.9, 10.0, 10.1, 19.9, 20.0, 57.0, 59.0, 60.0, 5.0]
            .map(|seconds| ticker.is_due_after(Duration::from_secs_f64(seconds)));
        assert_eq!(due, [false, false, true, false, false, true, true, false, true, false]);
    }
}
