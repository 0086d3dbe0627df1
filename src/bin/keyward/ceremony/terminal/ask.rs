//! Questions whose answers are no secret.

use super::Terminal;
use keyward::Result;
use keyward::ceremony::{CheckValueOf, Name};

/// How many digits of a check value there are.
const DIGITS: usize = 6;
/// How many digits of a fingerprint stand together, and how many such groups on a line.
const GROUP: usize = 4;
const ON_A_LINE: usize = 8;

impl Terminal {
    pub(super) fn ask_check_value(&self, of: &CheckValueOf<'_>) -> Result<Option<String>> {
        let question = match of {
            CheckValueOf::Component { key, by, index } => {
                format!("{by}: the check value of component {index} of '{key}', as it stands on your paper")
            }
            CheckValueOf::Key { key } => {
                format!("The check value of the whole key '{key}', as whoever made the components wrote it down")
            }
            _ => "The check value".into(),
        };
        self.write(2, &format!("{question}: {DIGITS} digits of 0-9 and a-f. Nothing, where there is none."))?;
        loop {
            let Some(typed) = self.tty.ask("check value: ")? else { return Ok(None) };
            let value: String = typed.split_whitespace().collect::<String>().to_ascii_lowercase();
            match value.len() {
                0 => return Ok(None),
                DIGITS if value.bytes().all(|b| b.is_ascii_hexdigit()) => return Ok(Some(value)),
                // What was typed is not repeated: it may be the component.
                _ => self.write(2, &format!("A check value has {DIGITS} digits of 0-9 and a-f."))?,
            }
        }
    }

    pub(super) fn ask_trust(&self, officer: &Name, token: &Name, fingerprint: &str) -> Result<bool> {
        let what = format!("The key of '{token}' under which others would be exported has the fingerprint");
        self.write(2, &what)?;
        for line in grouped(fingerprint) {
            self.write(6, &line)?;
        }
        self.write(2, "Where that token's own tool shows it as well, compare them digit by digit.")?;
        self.yes_or_no(&format!("{officer}, is this the key under which others may be exported, yes or no: "))
    }

    /// No, where the input ends.
    pub(super) fn yes_or_no(&self, question: &str) -> Result<bool> {
        loop {
            match self.tty.ask(question)?.as_deref().map(String::as_str) {
                Some("yes") => return Ok(true),
                None | Some("no") => return Ok(false),
                Some(_) => {}
            }
        }
    }
}

/// Lines of groups of four digits.
fn grouped(digits: &str) -> Vec<String> {
    let digits: Vec<char> = digits.chars().collect();
    let groups: Vec<String> = digits.chunks(GROUP).map(|group| group.iter().collect()).collect();
    groups.chunks(ON_A_LINE).map(|line| line.join(" ")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_read_in_groups() {
        let lines = grouped(&"0123456789abcdef".repeat(4));
        assert_eq!(lines, ["0123 4567 89ab cdef 0123 4567 89ab cdef"; 2]);
        assert_eq!(grouped("01234"), ["0123 4"]);
    }
}
