//! What takes a share off the screen.
//!
//! Every line is overwritten with blanks where it stands. To clear the screen is not enough: GNU screen, and tmux where
//! its alternate screen is off, first move what is cleared to what can be scrolled back to. And what was scrolled away
//! is out of reach, so nothing secret may be: it has to fit on the screen.

use std::fmt::Write;

/// To the second screen, where there is one, and to its beginning. What stood there before is no secret.
pub(super) const ENTER: &str = "\x1b[?1049h\x1b[H\x1b[2J";
/// Terminals on which it was tested, by `TERM`: each stands for itself and with a suffix, as in `xterm-256color`.
const TESTED: [&str; 4] = ["linux", "screen", "tmux", "xterm"];
/// More lines than any screen has: a line beyond the last one is the last one.
const MOST_ROWS: u16 = 1000;

/// The size of a screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) rows: u16,
    pub(super) columns: u16,
}

/// Whether tests have shown that what is overwritten on such a terminal is gone (`docs/ceremony.md`).
pub(super) fn is_tested(term: &str) -> bool {
    TESTED.iter().any(|tested| {
        term.strip_prefix(tested).is_some_and(|suffix| suffix.is_empty() || suffix.starts_with(['-', '.']))
    })
}

/// Overwrites every line, and goes back to the first screen. With `forget`, what can be scrolled back to is forgotten as
/// well where the terminal can.
pub(super) fn leave(size: Option<Size>, forget: bool) -> String {
    // One column less: nothing is scrolled by a line that is full.
    let blanks = " ".repeat(size.map_or(0, |size| usize::from(size.columns) - 1));
    let mut out = String::new();
    for row in 1..=size.map_or(MOST_ROWS, |size| size.rows) {
        // Writing into a string does not fail.
        let _ = write!(out, "\x1b[{row};1H{blanks}\x1b[2K");
    }
    if forget {
        out += "\x1b[3J";
    }
    out + "\x1b[H\x1b[?1049l"
}

/// How many lines these take on a screen of this width.
pub(super) fn rows(text: &str, columns: u16) -> usize {
    let columns = usize::from(columns).max(1);
    text.split('\n').map(|line| line.chars().count().max(1).div_ceil(columns)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_are_known_by_the_beginning_of_their_name() {
        for known in ["xterm", "xterm-256color", "screen", "screen.xterm-256color", "tmux-256color", "linux"] {
            assert!(is_tested(known), "{known}");
        }
        for other in ["", "dumb", "emacs", "vt100", "screenx", "rxvt-unicode", "linuxvt"] {
            assert!(!is_tested(other), "{other}");
        }
    }

    #[test]
    fn lines_that_wrap_take_more_room() {
        assert_eq!(rows("abc\n\nabcd\n", 3), 5);
        assert_eq!(rows("", 80), 1);
    }

    #[test]
    fn every_line_is_overwritten_and_nothing_is_scrolled() {
        let size = Size { rows: 3, columns: 5 };
        let leave = leave(Some(size), false);
        assert_eq!(leave.matches("    \x1b[2K").count(), 3);
        assert!(!leave.contains('\n') && !leave.contains("\x1b[2J") && leave.ends_with("\x1b[?1049l"));
        assert!(super::leave(None, true).contains("\x1b[1000;1H\x1b[2K\x1b[3J"));
    }
}
