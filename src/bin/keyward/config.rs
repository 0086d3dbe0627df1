//! The configuration file.

use crate::cache::table::Cache;
use crate::object::table::Object;
use keyward::audit::LogName;
use keyward::key::Provenance;
use keyward::{Error, ErrorKind, KeyName};
use serde::Deserialize;
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::{Path, PathBuf};

/// What a configuration file may say. A misspelt line is an error, not a line without effect.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// The token's URI, where `--token` gives none.
    pub(crate) token: Option<String>,
    /// The URIs of several tokens, in place of one.
    pub(crate) tokens: Option<Vec<String>>,
    /// How several tokens serve together.
    pub(crate) failover: Option<Together>,
    /// How many of several siblings must wrap what is protected.
    pub(crate) require_siblings: Option<NonZeroUsize>,
    /// The only master keys that may be used.
    #[serde(default, deserialize_with = "names")]
    pub(crate) keys: Option<Vec<KeyName>>,
    /// How keys that were outside a token once may have come.
    #[serde(default, deserialize_with = "provenances")]
    pub(crate) accept: Vec<Provenance>,
    /// The most sessions at once.
    pub(crate) max_sessions: Option<NonZeroUsize>,
    /// How long to wait for a session.
    pub(crate) session_timeout_seconds: Option<u64>,
    /// How long a token may take to answer one call.
    pub(crate) call_timeout_seconds: Option<NonZeroU64>,
    /// This host's share of an AES-GCM key version's 2^32 wraps.
    pub(crate) max_gcm_wraps: Option<u64>,
    /// The policies, a file or a directory; relative to the directory of this file.
    pub(crate) policy: Option<PathBuf>,
    /// Whether the users of a container, in a user namespace, count as the users that policies and the log name.
    #[serde(default)]
    pub(crate) container_uids: bool,
    /// How much `--cache-data-keys` keeps.
    pub(crate) cache: Option<Cache>,
    /// The audit log.
    pub(crate) audit: Option<Audit>,
    /// Stores of objects.
    pub(crate) object: Option<Object>,
}

/// The table `[audit]`: where the log is and how it is kept.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Audit {
    /// Its current file.
    pub(crate) log: PathBuf,
    /// Its name: that of the host where none is given.
    pub(crate) name: Option<LogName>,
    /// Whether the token signs its heads.
    #[serde(default = "yes")]
    pub(crate) sign: bool,
    /// After how many lines a head is signed.
    pub(crate) sign_every: Option<NonZeroU64>,
    /// After how long a head is signed.
    pub(crate) sign_after_seconds: Option<u64>,
    /// At what size a new file is begun.
    pub(crate) rotate_bytes: Option<NonZeroU64>,
    /// How often at most a head is anchored on the token.
    pub(crate) anchor_after_seconds: Option<u64>,
    /// How many hosts wrap under the same keys, each with a log of its own.
    pub(crate) hosts: Option<NonZeroU32>,
}

fn yes() -> bool {
    true
}

/// How several tokens serve together.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Together {
    /// They hold the same keys, cloned by their vendor's means.
    Replicas,
    /// Each holds keys of its own under the same names.
    Siblings,
}

impl Config {
    pub(crate) fn read(path: &Path) -> keyward::Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Error::new(ErrorKind::Io, format!("cannot read the configuration file '{}'", path.display()))
                .with_source(error)
        })?;
        let mut config = Self::parse(&text)
            .map_err(|(line, message)| {
                let at = format!("configuration file '{}', line {line}", path.display());
                Error::new(ErrorKind::InvalidArgument, format!("{at}: {message}"))
            })?
            .checked(path)?;
        // A configuration file may be named from anywhere.
        if let Some(beside) = path.parent() {
            let log = config.audit.as_mut().map(|audit| &mut audit.log);
            config.policy.iter_mut().chain(log).for_each(|named| *named = beside.join(&*named));
        }
        Ok(config)
    }

    /// Whether the lines make sense together.
    fn checked(self, path: &Path) -> keyward::Result<Self> {
        let several = self.tokens.is_some();
        let wrong = if several && self.token.is_some() {
            "it has both 'token' and 'tokens'"
        } else if several && self.failover.is_none() {
            "'tokens' needs 'failover', which is \"replicas\" or \"siblings\""
        } else if !several && self.failover.is_some() {
            "'failover' needs 'tokens', a list of token URIs"
        } else if self.require_siblings.is_some() && self.failover != Some(Together::Siblings) {
            "'require_siblings' is for failover = \"siblings\""
        } else if self.require_siblings.is_some_and(|least| least.get() > self.tokens.as_ref().map_or(0, Vec::len)) {
            "'require_siblings' is more than there are 'tokens'"
        } else if self.max_gcm_wraps.is_some() && self.audit.as_ref().is_some_and(|audit| audit.hosts.is_some()) {
            "'max_gcm_wraps' and 'hosts' both say how often this host may wrap"
        } else if let Some(problem) = self.object.as_ref().and_then(Object::problem) {
            problem
        } else if let Some(Err(error)) = self.cache.map(Cache::limits) {
            &format!("table 'cache': {error}")
        } else {
            return Ok(self);
        };
        let message = format!("configuration file '{}': {wrong}", path.display());
        Err(Error::new(ErrorKind::InvalidArgument, message))
    }

    /// The line and what is wrong there. The line itself is not repeated: it may hold a PIN.
    pub(crate) fn parse(text: &str) -> Result<Self, (usize, String)> {
        toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            // A value that is not what it should be is repeated before the last ", expected".
            let message = error.message();
            let said = message.rsplit_once(", expected ").filter(|_| message.starts_with("invalid "));
            let said = said.map_or(message.to_owned(), |(_, expected)| format!("expected {expected}"));
            (before.matches('\n').count() + 1, said)
        })
    }
}

fn names<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<KeyName>>, D::Error> {
    let names = Vec::<String>::deserialize(deserializer)?;
    let names: keyward::Result<Vec<KeyName>> = names.iter().map(|name| name.parse()).collect();
    // The error of a name repeats it.
    names.map(Some).map_err(|_| serde::de::Error::custom("one of the keys is not a key name"))
}

fn provenances<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<Provenance>, D::Error> {
    let known = |word: &String| word.parse().ok().filter(|one: &Provenance| one.must_be_accepted());
    let accepted = Vec::<String>::deserialize(deserializer)?.iter().map(known).collect::<Option<_>>();
    accepted.ok_or_else(|| serde::de::Error::custom("'accept' lists \"trusted-wrap\" and \"components\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_fields() {
        let config = Config::parse(
            "token = 'pkcs11:token=x'\nkeys = ['a', 'b']\nmax_sessions = 4\nsession_timeout_seconds = 5\nmax_gcm_wraps = 6\n",
        )
        .unwrap();
        assert_eq!(config.keys.unwrap().len(), 2);
        assert_eq!(config.max_gcm_wraps, Some(6));
        assert!(config.accept.is_empty());
        let config = Config::parse("accept = ['trusted-wrap']").unwrap();
        assert_eq!(config.accept, [Provenance::TrustedWrap]);
        assert!(Config::parse("").unwrap().keys.is_none());
    }

    #[test]
    fn mistakes_are_named_with_their_line_and_without_its_text() {
        for (text, line, what) in [
            ("\ntokn = 'pin-value=123'", 2, "unknown field `tokn`"),
            ("token = 'pin-value=123", 1, ""),
            ("keys = ['a b']", 1, "not a key name"),
            ("max_sessions = 0", 1, "nonzero"),
            ("keys = 'pin-value=123'", 1, "expected a sequence"),
            ("accept = ['components', 'pin-value=123']", 1, "'accept' lists"),
            ("accept = ['generated']", 1, "'accept' lists"),
            ("keys = ['a', 'pin-value=123']", 1, "not a key name"),
            ("max_sessions = 'pin-value=123, expected'", 1, "expected a nonzero"),
        ] {
            let (at, message) = Config::parse(text).unwrap_err();
            assert_eq!(at, line, "{text}: {message}");
            assert!(message.contains(what) && !message.contains("123"), "{text}: {message}");
        }
    }
}
