//! Spans of time as people write and read them: `90d`.

use keyward::{Error, ErrorKind};
use std::str::FromStr;
use std::time::Duration;

const DAY: u64 = 24 * 60 * 60;
const UNITS: [(&str, u64, &str); 5] =
    [("w", 7 * DAY, "week"), ("d", DAY, "day"), ("h", 60 * 60, "hour"), ("m", 60, "minute"), ("s", 1, "second")];

/// A whole number of weeks, days, hours, minutes or seconds. A day has 24 hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) Duration);

impl FromStr for Span {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || {
            Error::new(ErrorKind::InvalidArgument, format!("'{}' is not a span of time", text.escape_debug()))
                .with_hint("write a whole number and its unit, as in 90d, 12h, 30m, 45s or 2w")
        };
        let (unit, seconds, _) = UNITS.iter().find(|(unit, _, _)| text.ends_with(unit)).copied().ok_or_else(wrong)?;
        let number = text.strip_suffix(unit).ok_or_else(wrong)?;
        if number.starts_with('0') || !number.bytes().all(|b| b.is_ascii_digit()) {
            return Err(wrong());
        }
        let number: u64 = number.parse().map_err(|_| wrong())?;
        // A thousand years: beyond, dates cannot be written any more.
        let all = number.checked_mul(seconds).filter(|all| *all <= 366_000 * DAY).ok_or_else(wrong)?;
        Ok(Self(Duration::from_secs(all)))
    }
}

/// `3 days`, in the largest unit of which it is two or more, else in the next smaller.
pub(crate) fn in_words(span: Duration) -> String {
    let seconds = span.as_secs();
    let fitting = UNITS[1..].iter().find(|(_, unit, _)| seconds >= 2 * unit).unwrap_or(&UNITS[4]);
    crate::output::count(usize::try_from(seconds / fitting.1).unwrap_or(usize::MAX), fitting.2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        let seconds = |text: &str| text.parse::<Span>().unwrap().0.as_secs();
        assert_eq!(["45s", "30m", "12h", "90d", "2w"].map(seconds), [45, 1800, 43_200, 7_776_000, 1_209_600]);
        for bad in [
            "",
            "d",
            "90",
            "0d",
            "01d",
            "-1d",
            "+1d",
            "1.5d",
            "1 d",
            "1d ",
            "1dd",
            "1d2h",
            "1y",
            "1D",
            "400000d",
            "99999999999999999999s",
        ] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
    }

    #[test]
    fn words() {
        let words = |seconds| in_words(Duration::from_secs(seconds));
        assert_eq!([0, 1, 119, 120].map(words), ["0 seconds", "1 second", "119 seconds", "2 minutes"]);
        assert_eq!([2 * DAY - 1, 2 * DAY, 90 * DAY].map(words), ["47 hours", "2 days", "90 days"]);
    }
}
