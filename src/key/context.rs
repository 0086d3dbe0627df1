//! The encryption context: what a data key is for, authenticated but not secret.

use crate::error::{Error, ErrorKind, Result};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// A map of strings that is bound to a data key, as AWS KMS uses the term: authenticated, not
/// secret, and needed again, byte for byte, to recover the key.
///
/// At most 64 pairs and 8192 bytes serialized. Keys are not empty, and those that begin with
/// `keyward:` are reserved.
///
/// ```
/// use keyward::EncryptionContext;
/// let context = EncryptionContext::from_pairs([("tenant", "acme"), ("purpose", "backup")])?;
/// assert_eq!(context.get("tenant"), Some("acme"));
/// # Ok::<(), keyward::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct EncryptionContext(BTreeMap<String, String>);

/// Context keys with this prefix are set by Keyward alone.
const RESERVED_PREFIX: &str = "keyward:";
/// Of these, the ones that only the body is bound to.
const BODY_PREFIX: &str = "keyward:body:";

impl EncryptionContext {
    /// The most pairs.
    pub const MAX_PAIRS: usize = 64;
    /// The longest serialized context, in bytes.
    pub const MAX_LEN: usize = 8192;

    /// The empty context.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The context of these pairs.
    ///
    /// # Errors
    /// `InvalidArgument` where a key is empty, reserved or given twice, or a limit is passed.
    pub fn from_pairs<K: Into<String>, V: Into<String>>(pairs: impl IntoIterator<Item = (K, V)>) -> Result<Self> {
        let mut context = Self::new();
        for (key, value) in pairs {
            context.insert(key, value)?;
        }
        Ok(context)
    }

    /// Adds one pair.
    ///
    /// # Errors
    /// `InvalidArgument` where the key is empty, reserved or there already, or a limit is passed;
    /// the context is then as it was.
    pub fn insert(&mut self, key: impl Into<String>, value: impl Into<String>) -> Result<()> {
        let key = key.into();
        if key.starts_with(RESERVED_PREFIX) {
            return Err(invalid(format!("context key '{}' is reserved", key.escape_debug())));
        }
        self.insert_reserved(key, value.into())
    }

    /// Adds a pair whose key may be one of Keyward's own.
    pub(crate) fn insert_reserved(&mut self, key: String, value: String) -> Result<()> {
        if key.is_empty() {
            return Err(invalid("a context key is empty"));
        }
        if self.0.contains_key(&key) {
            return Err(invalid(format!("context key '{}' is given twice", key.escape_debug())));
        }
        let added = 4 + key.len() + value.len() + if self.0.is_empty() { 2 } else { 0 };
        if self.0.len() >= Self::MAX_PAIRS || self.serialized_len() + added > Self::MAX_LEN {
            return Err(
                invalid("the encryption context is too large").with_hint("at most 64 pairs and 8192 bytes in all")
            );
        }
        self.0.insert(key, value);
        Ok(())
    }

    /// The context that data keys are wrapped under: this one without the pairs that the body alone is bound to
    /// (`docs/format.md`, "Encryption context"). So one data key can serve many bodies that differ in them; each body
    /// is bound to all pairs, through CORE. This is the one place that knows which they are.
    #[must_use]
    pub fn for_wrapping(&self) -> Cow<'_, Self> {
        if !self.0.keys().any(|key| key.starts_with(BODY_PREFIX)) {
            return Cow::Borrowed(self);
        }
        let bound = self.0.iter().filter(|(key, _)| !key.starts_with(BODY_PREFIX));
        Cow::Owned(Self(bound.map(|(key, value)| (key.clone(), value.clone())).collect()))
    }

    /// The pairs that callers set, without those of Keyward.
    #[cfg(feature = "object-store")]
    pub(crate) fn of_the_caller(&self) -> Self {
        let own = self.0.iter().filter(|(key, _)| !key.starts_with(RESERVED_PREFIX));
        Self(own.map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    /// The value of `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// Whether there is no pair.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The pairs, sorted by the keys' bytes.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    fn serialized_len(&self) -> usize {
        match self.0.len() {
            0 => 0,
            _ => 2 + self.0.iter().map(|(key, value)| 4 + key.len() + value.len()).sum::<usize>(),
        }
    }

    /// The bytes that are bound (`docs/format.md`, "Encryption context"): nothing for the empty
    /// context, else `u16 count ‖ (u16 len ‖ key ‖ u16 len ‖ value)*`, big-endian, sorted.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        if self.0.is_empty() {
            return Vec::new();
        }
        // `insert` keeps every count and length far below u16::MAX.
        let u16_of = |n: usize| u16::try_from(n).unwrap_or(u16::MAX).to_be_bytes();
        let mut out = Vec::with_capacity(self.serialized_len());
        out.extend(u16_of(self.0.len()));
        for (key, value) in &self.0 {
            out.extend(u16_of(key.len()));
            out.extend(key.as_bytes());
            out.extend(u16_of(value.len()));
            out.extend(value.as_bytes());
        }
        out
    }

    /// Parses [`to_bytes`](Self::to_bytes), strictly: every context has exactly one serialization.
    ///
    /// # Errors
    /// `NotAnEnvelope`, naming the rule that is broken.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let malformed = |what: &'static str| Error::new(ErrorKind::NotAnEnvelope, what);
        if bytes.is_empty() {
            return Ok(Self::new());
        }
        if bytes.len() > Self::MAX_LEN {
            return Err(malformed("malformed encryption context: too long"));
        }
        let mut rest = bytes;
        let mut field = |len: usize| -> Result<&[u8]> {
            let (head, tail) =
                rest.split_at_checked(len).ok_or_else(|| malformed("malformed encryption context: cut short"))?;
            rest = tail;
            Ok(head)
        };
        let u16_from = |bytes: &[u8]| bytes.iter().fold(0usize, |n, b| n << 8 | usize::from(*b));
        let count = u16_from(field(2)?);
        if count == 0 || count > Self::MAX_PAIRS {
            return Err(malformed("malformed encryption context: number of pairs"));
        }
        let mut map = BTreeMap::new();
        for _ in 0..count {
            let mut text = || -> Result<String> {
                let len = u16_from(field(2)?);
                let bytes = field(len)?;
                String::from_utf8(bytes.to_vec()).map_err(|_| malformed("malformed encryption context: not UTF-8"))
            };
            let (key, value) = (text()?, text()?);
            if key.is_empty() {
                return Err(malformed("malformed encryption context: empty key"));
            }
            if map.last_key_value().is_some_and(|(last, _): (&String, _)| *last >= key) {
                return Err(malformed("malformed encryption context: keys unsorted or repeated"));
            }
            map.insert(key, value);
        }
        if !rest.is_empty() {
            return Err(malformed("malformed encryption context: bytes left over"));
        }
        Ok(Self(map))
    }
}

fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidArgument, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn serialization_is_that_of_the_aws_encryption_sdk() {
        let context = EncryptionContext::from_pairs([("b", "2"), ("a", "")]).unwrap();
        assert_eq!(context.to_bytes(), b"\0\x02\0\x01a\0\0\0\x01b\0\x012");
        assert_eq!(EncryptionContext::parse(&context.to_bytes()).unwrap(), context);
        assert!(EncryptionContext::new().to_bytes().is_empty());
    }

    #[test]
    fn each_rule_has_a_case_that_breaks_it() {
        let cases: &[(&[u8], &str)] = &[
            (b"\0", "cut short"),
            (b"\0\0", "number of pairs"),
            (b"\0\x41", "number of pairs"),
            (b"\0\x01\0\x01a\0\x02x", "cut short"),
            (b"\0\x01\0\x01a", "cut short"),
            (b"\0\x01\0\0\0\0", "empty key"),
            (b"\0\x01\0\x01\xff\0\0", "not UTF-8"),
            (b"\0\x01\0\x01a\0\x01\xff", "not UTF-8"),
            (b"\0\x02\0\x01b\0\0\0\x01a\0\0", "unsorted"),
            (b"\0\x02\0\x01a\0\0\0\x01a\0\0", "repeated"),
            (b"\0\x01\0\x01a\0\0\0", "left over"),
            (&[0; 8193], "too long"),
        ];
        for (bytes, rule) in cases {
            let error = EncryptionContext::parse(bytes).unwrap_err();
            assert!(error.to_string().contains(rule), "{bytes:?}: {error}, expected {rule}");
            assert_eq!(error.kind(), ErrorKind::NotAnEnvelope);
        }
    }

    #[test]
    fn callers_are_held_to_the_limits() {
        let mut context = EncryptionContext::new();
        assert!(context.insert("", "x").is_err());
        assert!(context.insert("keyward:path", "x").is_err());
        context.insert("k", "x".repeat(8192 - 2 - 4 - 1)).unwrap();
        assert_eq!(context.to_bytes().len(), EncryptionContext::MAX_LEN);
        assert!(EncryptionContext::parse(&context.to_bytes()).is_ok());
        assert!(context.insert("l", "").is_err(), "one pair over the length");
        assert!(context.insert("k", "").is_err(), "twice");

        let many = |n: usize| EncryptionContext::from_pairs((0..n).map(|i| (format!("{i}"), "")));
        assert!(many(64).is_ok());
        assert!(many(65).is_err());
    }

    #[test]
    fn what_the_body_alone_is_bound_to_is_not_in_the_context_for_wrapping() {
        let mut context = EncryptionContext::from_pairs([("tenant", "acme")]).unwrap();
        assert!(matches!(context.for_wrapping(), Cow::Borrowed(same) if *same == context));
        context.insert_reserved("keyward:sse".into(), "aws:kms".into()).unwrap();
        let wrapping = context.clone();
        context.insert_reserved("keyward:body:path".into(), "a/b".into()).unwrap();
        assert_eq!(*context.for_wrapping(), wrapping);
        let alone = EncryptionContext::parse(b"\0\x01\0\x11keyward:body:path\0\x01a").unwrap();
        assert_eq!(alone.for_wrapping().to_bytes(), b"", "nothing is left");
        let body = EncryptionContext::parse(b"\0\x01\0\x0ckeyward:body\0\x01a").unwrap();
        assert_eq!(*body.for_wrapping(), body, "the prefix ends with its colon");
    }

    proptest! {
        #[test]
        fn parse_never_panics_and_is_the_inverse_of_to_bytes(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(context) = EncryptionContext::parse(&bytes) {
                prop_assert_eq!(context.to_bytes(), bytes);
            }
        }

        #[test]
        fn every_context_comes_back(pairs in prop::collection::btree_map("[a-zé]{1,8}", ".{0,16}", 0..8)) {
            let context = EncryptionContext::from_pairs(pairs).unwrap();
            prop_assert_eq!(EncryptionContext::parse(&context.to_bytes()).unwrap(), context);
        }
    }
}
