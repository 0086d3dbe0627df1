//! The text form of what Keyward writes beside keys: a first line with kind and version, then one `field value` line
//! for each field.
//!
//! Limits: [`MAX_LEN`] bytes, [`MAX_FIELDS`] fields, names of 1 to 64 of `a-z 0-9 -`, values that are not empty, do not
//! begin or end with a blank, and hold no control character. No field stands there twice.

use std::fmt;

/// The longest text, in bytes. What is longer is neither written nor read.
pub(crate) const MAX_LEN: usize = 8 * 1024;
const MAX_FIELDS: usize = 128;
const MAX_NAME: usize = 64;

/// Why a text on the token is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// It has a version that this Keyward does not know.
    Newer,
    /// It breaks the rules of its version.
    Damaged,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Newer => "was written by a newer Keyward",
            Self::Damaged => "is damaged",
        })
    }
}

/// The fields of one text. Those that the parser does not take are the ones that this version does not know.
#[derive(Debug)]
pub(crate) struct Fields(Vec<(String, String)>);

impl Fields {
    /// Parses a text of `kind` in its version `version`.
    ///
    /// # Errors
    /// `Newer` if its version is a higher number, `Damaged` if it breaks any other rule.
    pub(crate) fn parse(kind: &str, version: u32, text: &[u8]) -> Result<Self, Unreadable> {
        let first = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let number = first.strip_prefix(kind.as_bytes()).and_then(|rest| rest.strip_prefix(b" "));
        match number.and_then(decimal::<u32>) {
            Some(own) if own == version => {}
            Some(other) if other > version => return Err(Unreadable::Newer),
            _ => return Err(Unreadable::Damaged),
        }
        // After the version: a newer one may have another limit.
        if text.len() > MAX_LEN {
            return Err(Unreadable::Damaged);
        }
        Self::parse_lines(text).ok_or(Unreadable::Damaged)
    }

    fn parse_lines(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let mut fields: Vec<(String, String)> = Vec::new();
        for line in text.strip_suffix('\n')?.split('\n').skip(1) {
            let (name, value) = line.split_once(' ')?;
            let repeated = fields.iter().any(|(other, _)| other == name);
            if repeated || fields.len() == MAX_FIELDS || !is_name(name) || !is_value(value) {
                return None;
            }
            fields.push((name.to_owned(), value.to_owned()));
        }
        Some(Self(fields))
    }

    /// Takes the value of a field out, if it is there.
    pub(crate) fn take(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(own, _)| own == name)?;
        Some(self.0.remove(at).1)
    }

    /// Returns the fields that were not taken, in their order.
    pub(crate) fn rest(self) -> Vec<(String, String)> {
        self.0
    }
}

fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(allowed)
}

fn is_value(value: &str) -> bool {
    !value.is_empty() && value.trim() == value && !value.chars().any(char::is_control)
}

/// Parses a number in its one spelling: decimal digits without a sign or leading zeros.
pub(crate) fn decimal<T: std::str::FromStr>(digits: impl AsRef<[u8]>) -> Option<T> {
    let digits = digits.as_ref();
    let canonical = digits.iter().all(u8::is_ascii_digit) && (digits.len() == 1 || !digits.starts_with(b"0"));
    if canonical { std::str::from_utf8(digits).ok()?.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<(String, String)>, Unreadable> {
        Fields::parse("kind", 2, text.as_bytes()).map(Fields::rest)
    }

    #[test]
    fn fields_keep_their_order() {
        let owned = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(parse("kind 2\nb x y\na-1 ü\n"), Ok(vec![owned("b", "x y"), owned("a-1", "ü")]));
        assert_eq!(parse("kind 2\n"), Ok(vec![]));
        let mut fields = Fields::parse("kind", 2, b"kind 2\na 1\nb 2\n").unwrap();
        assert_eq!((fields.take("a").as_deref(), fields.take("a")), (Some("1"), None));
        assert_eq!(fields.rest(), [owned("b", "2")]);
    }

    #[test]
    fn a_newer_version_is_told_apart_from_damage() {
        for newer in ["kind 3\n", "kind 3", "kind 4294967295\n\0ü", "kind 3\nb\n"] {
            assert_eq!(parse(newer), Err(Unreadable::Newer), "{newer}");
        }
        assert_eq!(Fields::parse("kind", 2, &[b"kind 3\n", &[7; 9000][..]].concat()).unwrap_err(), Unreadable::Newer);
        for damaged in ["", "\n", "kind", "kind ", "kind 1\n", "kind 02\n", "kind +3\n", "kind 3x\n", "kinds 3\n"] {
            assert_eq!(parse(damaged), Err(Unreadable::Damaged), "{damaged}");
        }
    }

    #[test]
    fn limits_are_kept() {
        let long = |len: usize| format!("kind 2\na {}\n", "x".repeat(len - "kind 2\na \n".len()));
        assert!(parse(&long(MAX_LEN)).is_ok());
        assert_eq!(parse(&long(MAX_LEN + 1)), Err(Unreadable::Damaged));
        let many = |count: usize| (0..count).fold("kind 2\n".to_owned(), |text, at| format!("{text}f{at} x\n"));
        assert!(parse(&many(MAX_FIELDS)).is_ok());
        assert_eq!(parse(&many(MAX_FIELDS + 1)), Err(Unreadable::Damaged));
        for bad in ["a", "a ", "a  x", "a x ", " x", "A x", "a_b x", "a x\ty", "a x\r", "a x\n\nb y", "a x\na y"] {
            assert_eq!(parse(&format!("kind 2\n{bad}\n")), Err(Unreadable::Damaged), "{bad:?}");
        }
        assert_eq!(parse(&format!("kind 2\n{} x\n", "a".repeat(MAX_NAME + 1))), Err(Unreadable::Damaged));
        assert_eq!(parse("kind 2\na x"), Err(Unreadable::Damaged));
    }
}
