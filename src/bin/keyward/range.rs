//! `keyward decrypt --range`.

use crate::files::{Input, Output, PRIVATE_MODE};
use keyward::envelope::InputFile;
use keyward::{Decryptor, EncryptionContext, Error, ErrorKind};
use object_store::GetRange;
use std::str::FromStr;

/// A range of bytes, as HTTP has it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Range {
    first: u64,
    last: Option<u64>,
}

impl FromStr for Range {
    type Err = Error;

    fn from_str(s: &str) -> Result<Self, Error> {
        let invalid = |what: &str| {
            Error::new(ErrorKind::InvalidArgument, format!("'{}' {what}", s.escape_debug()))
                .with_hint("write FIRST-LAST or FIRST-, counted from 0, as in --range 0-1023")
        };
        let number = |digits: &str| {
            let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
            digits.parse().ok().filter(|_| plain).ok_or_else(|| invalid("is not a range of bytes"))
        };
        let (first, last) = s.split_once('-').ok_or_else(|| invalid("is not a range of bytes"))?;
        let first = number(first)?;
        let last = if last.is_empty() { None } else { Some(number(last)?) };
        if last.is_some_and(|last| last < first) {
            return Err(invalid("ends before it begins"));
        }
        Ok(Self { first, last })
    }
}

impl Range {
    /// The same for an object, whose store checks it against the length.
    pub(crate) fn of_an_object(self) -> GetRange {
        match self.last {
            Some(last) => GetRange::Bounded(self.first..last.saturating_add(1)),
            None => GetRange::Offset(self.first),
        }
    }
}

/// Decrypts this part of the content.
pub(crate) fn read_range(
    decryptor: &Decryptor<'_>,
    range: Range,
    input: &Input,
    output: &Output,
) -> anyhow::Result<EncryptionContext> {
    let path = input.seekable("--range")?;
    let file = InputFile::open(path)?;
    let mode = file.creation_mode()?.unwrap_or(PRIVATE_MODE);
    let mut envelope = decryptor.open(file)?;
    let len = envelope.len();
    if range.first >= len {
        return Err(Error::new(
            ErrorKind::InvalidArgument,
            format!("the range begins at byte {} of a content of {len} bytes", range.first),
        )
        .into());
    }
    let end = range.last.map_or(len, |last| last.saturating_add(1).min(len));
    let mut sink = output.open(mode)?;
    envelope.read_range(range.first, end, &mut sink)?;
    sink.finish()?;
    Ok(envelope.context().clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        assert_eq!("0-0".parse::<Range>().unwrap(), Range { first: 0, last: Some(0) });
        assert_eq!("5-".parse::<Range>().unwrap(), Range { first: 5, last: None });
        for bad in ["", "-", "-5", "5", "2-1", "a-b", "+1-2", "1-2-3", "1 -2", "99999999999999999999-"] {
            assert!(bad.parse::<Range>().is_err(), "{bad}");
        }
    }
}
