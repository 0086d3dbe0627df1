//! The configured name of a log.

use crate::error::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The longest name: that of a host.
const MAX_LEN: usize = 64;

/// The name of a log: 1 to 64 of `A-Z a-z 0-9 . _ -`. Logs that share a token have different names.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LogName(String);

impl LogName {
    /// Returns the name of this host, the name of a log that is given none.
    ///
    /// # Errors
    /// `InvalidArgument` if the host's name is no name of a log.
    pub fn of_host() -> Result<Self> {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        host.parse().map_err(|error: Error| error.with_hint("give the log a name of its own"))
    }

    /// Returns the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for LogName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if text.is_empty() || text.len() > MAX_LEN || !text.bytes().all(is_valid) {
            let message = format!("'{}' is no name of an audit log", text.escape_debug());
            return Err(Error::new(ErrorKind::InvalidArgument, message)
                .with_hint("a name is 1 to 64 letters, digits, '.', '_' or '-'"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for LogName {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<LogName> for String {
    fn from(name: LogName) -> Self {
        name.0
    }
}

impl fmt::Display for LogName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_host_name_at_most() {
        for good in ["db1", "db1.example.org", "A_b-9", &"x".repeat(64)] {
            assert_eq!(good.parse::<LogName>().unwrap().as_str(), good);
        }
        for bad in ["", "a b", "a/b", "é", "a\n", &"x".repeat(65)] {
            assert_eq!(bad.parse::<LogName>().unwrap_err().kind(), ErrorKind::InvalidArgument, "{bad}");
        }
        assert!(serde_json::from_str::<LogName>("\"a b\"").is_err());
    }
}
