//! The table `[object]` of the configuration file.

use keyward::object::Mode;
use keyward::provider::CacheLimits;
use keyward::{KeyName, Result};
use serde::{Deserialize, Deserializer};
use std::str::FromStr;
use std::time::Duration;

/// What stores are like, and how objects are encrypted where the command line says nothing.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Object {
    /// The mode of encryption.
    #[serde(default, deserialize_with = "one")]
    pub(crate) sse: Option<Mode>,
    /// The master key of `aws:kms`.
    #[serde(default, deserialize_with = "one")]
    pub(crate) sse_kms_key_id: Option<KeyName>,
    /// Whether objects may share data keys.
    #[serde(default)]
    pub(crate) bucket_key_enabled: bool,
    /// The only modes that are written.
    #[serde(default, deserialize_with = "several")]
    pub(crate) require: Vec<Mode>,
    /// The only master keys that are named for what is written.
    #[serde(default, deserialize_with = "several")]
    pub(crate) require_keys: Vec<KeyName>,
    /// What follows `keyward/` in the name of the key of `AES256`.
    pub(crate) managed_key: Option<String>,
    /// How long a data key serves several objects.
    pub(crate) bucket_key_seconds: Option<u64>,
    /// How many objects a data key serves.
    pub(crate) bucket_key_objects: Option<u32>,
    /// The length of what precedes each object.
    pub(crate) header_len: Option<u32>,
    /// Whether wrapped keys are in objects of their own.
    #[serde(default)]
    pub(crate) detached_slots: bool,
    /// What is bound to each object beside its key.
    pub(crate) name: Option<String>,
}

/// How many data keys are kept: one for each master key and context that a run meets.
const KEYS: usize = 64;

impl Object {
    pub(crate) fn limits(&self) -> Result<CacheLimits> {
        let seconds = Duration::from_secs(self.bucket_key_seconds.unwrap_or(300));
        CacheLimits::new(seconds, self.bucket_key_objects.unwrap_or(CacheLimits::MAX_MESSAGES), KEYS)
    }

    /// What is wrong with the lines together.
    pub(crate) fn problem(&self) -> Option<&'static str> {
        match (self.sse, &self.sse_kms_key_id) {
            (Some(Mode::Kms), None) => Some("'sse' = \"aws:kms\" needs 'sse_kms_key_id', the name of a master key"),
            (Some(Mode::Kms), Some(_)) | (Some(Mode::S3) | None, None) => None,
            (Some(Mode::S3) | None, Some(_)) => Some("'sse_kms_key_id' is for 'sse' = \"aws:kms\""),
            // A key that comes with each request cannot be in a file for all of them.
            _ => Some("'sse' is \"aws:kms\" or \"AES256\""),
        }
    }
}

fn parse<'de, D: Deserializer<'de>, T: FromStr>(text: &str) -> std::result::Result<T, D::Error> {
    // What was written is not repeated, as in all of the file.
    text.parse().map_err(|_| serde::de::Error::custom("one of the names is not one of a mode, or of a key"))
}

fn one<'de, D: Deserializer<'de>, T: FromStr>(deserializer: D) -> std::result::Result<Option<T>, D::Error> {
    parse::<D, T>(&String::deserialize(deserializer)?).map(Some)
}

fn several<'de, D: Deserializer<'de>, T: FromStr>(deserializer: D) -> std::result::Result<Vec<T>, D::Error> {
    Vec::<String>::deserialize(deserializer)?.iter().map(|text| parse::<D, T>(text)).collect()
}
