//! Reading a plan from its text, strictly. What is wrong is told without the text: it may be a PIN.

use super::parts::ExportMechanism;
use super::{MAX_LEN, Plan};
use crate::audit::Hash;
use crate::ceremony::format;
use crate::error::{Error, ErrorKind, Result};
use crate::key::{KeyName, KeyVersion, WrappingAlgorithm};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use std::path::PathBuf;

/// The longest text in a plan, in bytes.
const MAX_TEXT: usize = 200;

impl Plan {
    /// The plan that this text is.
    ///
    /// Whether it makes sense is for [`lint`](Self::lint) to say.
    ///
    /// # Errors
    /// `InvalidArgument` where it is no plan, with the line. The line's text is not repeated: it may hold a PIN.
    pub fn parse(text: &str) -> Result<Self> {
        let failed = |line: usize, what: &str| {
            Error::new(ErrorKind::InvalidArgument, format!("the plan is not valid: line {line}: {what}"))
        };
        if text.len() > MAX_LEN {
            return Err(failed(1, "it is longer than 256 KiB"));
        }
        toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            failed(before.matches('\n').count() + 1, &without_values(error.message()))
        })
    }
}

/// What `toml` says, without the value that it says it of.
fn without_values(message: &str) -> String {
    let expected = || message.rsplit_once(", expected ").map(|(_, expected)| format!("expected {expected}"));
    let value_is_named = ["invalid ", "unknown variant "].iter().any(|start| message.starts_with(start));
    let said = if value_is_named {
        expected().unwrap_or_else(|| "not a value that may stand here".into())
    } else {
        message.into()
    };
    // One line, whatever was written there: of an unknown field the name is repeated.
    said.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

pub(super) fn format<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let format = u32::deserialize(deserializer)?;
    match format::is_known(format) {
        true => Ok(format),
        false => Err(D::Error::custom(format!("the format of a plan is {}", format::CURRENT))),
    }
}

pub(super) fn hash<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Hash, D::Error> {
    let text = String::deserialize(deserializer)?;
    Hash::parse(&text).ok_or_else(|| D::Error::custom("a SHA-256 hash is 64 lower-case hexadecimal digits"))
}

pub(super) fn some_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    text(deserializer, MAX_TEXT).map(Some)
}

fn text<'de, D: Deserializer<'de>>(deserializer: D, max: usize) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    let good = (1..=max).contains(&text.len()) && !text.chars().any(char::is_control) && text.trim() == text;
    good.then_some(text).ok_or_else(|| D::Error::custom(format!("expected 1 to {max} bytes of text on one line")))
}

/// PKCS#11 3.1, `C_InitToken`: a label is 32 bytes, filled up with blanks.
pub(super) fn label<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    text(deserializer, 32)
}

pub(super) fn module<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    let path = PathBuf::from(text(deserializer, 1024)?);
    // A name would be searched for in places that depend on the environment.
    if path.is_absolute() { Ok(path) } else { Err(D::Error::custom("expected an absolute path")) }
}

pub(super) fn key_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<KeyName, D::Error> {
    let name = String::deserialize(deserializer)?;
    name.parse().map_err(|_| D::Error::custom("a key name is 1 to 64 of: A-Z a-z 0-9 . _ / -"))
}

pub(super) fn key_label<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let label = String::deserialize(deserializer)?;
    let good = label
        .split_once(':')
        .is_some_and(|(name, version)| name.parse::<KeyName>().is_ok() && version.parse::<KeyVersion>().is_ok());
    good.then_some(label).ok_or_else(|| D::Error::custom("expected NAME:VERSION"))
}

pub(super) fn first() -> KeyVersion {
    KeyVersion::FIRST
}

pub(super) fn version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<KeyVersion, D::Error> {
    let number = u32::deserialize(deserializer)?;
    number.to_string().parse().map_err(|_| D::Error::custom("a version is a whole number from 1"))
}

pub(super) fn yes() -> bool {
    true
}

pub(super) fn algorithm<'de, D: Deserializer<'de>>(deserializer: D) -> Result<WrappingAlgorithm, D::Error> {
    let name = String::deserialize(deserializer)?;
    let known = WrappingAlgorithm::ALL.into_iter().filter(|one| *one != WrappingAlgorithm::CustomerKey);
    let found = known.into_iter().find(|one| one.name() == name);
    found.ok_or_else(|| D::Error::custom("an algorithm is aes-gcm, aes-kw, rsa-oaep or rsa-oaep-sha1"))
}

pub(super) fn mechanism<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ExportMechanism>, D::Error> {
    let name = String::deserialize(deserializer)?;
    let found = ExportMechanism::ALL.into_iter().find(|one| one.name() == name);
    // Modes without authentication give a key away piece by piece to whoever may unwrap (Clulow 2003; Bortolozzo et
    // al. 2010).
    // An AES key that wraps would be one of the officer's: SoftHSM keeps its value in clear.
    let refused = "only RSA-OAEP may export a key: rsa-oaep or rsa-oaep-sha1";
    found.map(Some).ok_or_else(|| D::Error::custom(refused))
}
