//! A line of something secret, key by key.
//!
//! Not with `rpassword`, which other commands use: as its text grows, pieces of it stay behind in memory, and it takes
//! Ctrl-C for itself, so that two threads put the terminal right.

use zeroize::Zeroizing;

/// The longest line, in bytes. It never moves to a larger place in memory, which would leave a copy.
const MAX: usize = 1024;

/// What a key has done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// There is more to come, and this is shown.
    Show(&'static str),
    /// The line is typed.
    Done,
    /// The input ends.
    Ended,
}

/// What is typed so far.
pub(super) struct Keys {
    bytes: Zeroizing<Vec<u8>>,
    stars: bool,
    escape: Escape,
}

/// Cursor keys and the like send several bytes, none of which is meant.
#[derive(PartialEq, Eq)]
enum Escape {
    No,
    Begun,
    Inside,
}

impl Keys {
    /// With stars, one is shown for each sign, and hyphens and blanks as they are: they are in every share.
    pub(super) fn new(stars: bool) -> Self {
        Self { bytes: Zeroizing::new(Vec::with_capacity(MAX)), stars, escape: Escape::No }
    }

    pub(super) fn key(&mut self, byte: u8) -> Then {
        match (&self.escape, byte) {
            (Escape::Begun, b'[' | b'O') => self.escape = Escape::Inside,
            (Escape::Inside, 0x40..=0x7e) | (Escape::Begun, _) => self.escape = Escape::No,
            (Escape::Inside, _) => {}
            (Escape::No, b'\x1b') => self.escape = Escape::Begun,
            (Escape::No, b'\n' | b'\r') => return Then::Done,
            // Ctrl-D at the beginning.
            (Escape::No, 4) if self.bytes.is_empty() => return Then::Ended,
            (Escape::No, 8 | 0x7f) => return self.back(),
            // Ctrl-U. The stars of the line stay and are told apart from the new ones.
            (Escape::No, 0x15) => {
                self.bytes.clear();
                return Then::Show(if self.stars { " (from the start) " } else { "" });
            }
            (Escape::No, byte) if byte >= b' ' => return self.add(byte),
            (Escape::No, _) => {}
        }
        Then::Show("")
    }

    fn add(&mut self, byte: u8) -> Then {
        if self.bytes.len() == MAX {
            return Then::Show("\x07");
        }
        self.bytes.push(byte);
        Then::Show(match byte {
            _ if !self.stars || is_inside(byte) => "",
            b'-' => "-",
            b' ' => " ",
            _ => "*",
        })
    }

    fn back(&mut self) -> Then {
        let before = self.bytes.len();
        while self.bytes.pop().is_some_and(is_inside) {}
        Then::Show(if self.stars && self.bytes.len() < before { "\x08 \x08" } else { "" })
    }

    /// What was typed; empty where it is no text.
    pub(super) fn into_text(self) -> Zeroizing<String> {
        Zeroizing::new(std::str::from_utf8(&self.bytes).unwrap_or_default().to_owned())
    }
}

/// Whether it is not the first byte of a character in UTF-8.
fn is_inside(byte: u8) -> bool {
    byte & 0xc0 == 0x80
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(stars: bool, text: &str) -> (String, String, Then) {
        let mut keys = Keys::new(stars);
        let mut shown = String::new();
        for byte in text.bytes() {
            match keys.key(byte) {
                Then::Show(text) => shown += text,
                end => return (keys.into_text().to_string(), shown, end),
            }
        }
        (keys.into_text().to_string(), shown, Then::Show(""))
    }

    #[test]
    fn nothing_of_a_secret_is_shown() {
        assert_eq!(typed(false, "4711é\r"), ("4711é".into(), "".into(), Then::Done));
        assert_eq!(typed(true, "AB-1 é\n"), ("AB-1 é".into(), "**-* *".into(), Then::Done));
        assert_eq!(typed(false, "\u{4}"), ("".into(), "".into(), Then::Ended));
    }

    #[test]
    fn what_was_mistyped_can_be_taken_back() {
        assert_eq!(typed(true, "abé\x7f\x7fc\n"), ("ac".into(), "***\x08 \x08\x08 \x08*".into(), Then::Done));
        assert_eq!(typed(false, "\x7fwrong\x15right\n").0, "right");
        // Cursor keys are not meant, nor is Ctrl-D in the middle.
        assert_eq!(typed(true, "a\x1b[A\x1b[3~\x1bOP\x04b\n"), ("ab".into(), "**".into(), Then::Done));
    }

    #[test]
    fn a_line_never_grows_past_its_place() {
        let mut keys = Keys::new(false);
        let place = keys.bytes.as_ptr();
        for _ in 0..2 * MAX {
            keys.key(b'x');
        }
        assert_eq!((keys.bytes.len(), keys.bytes.as_ptr()), (MAX, place));
    }
}
