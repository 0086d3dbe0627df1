//! The URLs of stores and of objects in them.

use keyward::{Error, ErrorKind, Result};
use object_store::ObjectStoreScheme;
use object_store::path::Path;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use std::str::FromStr;
use url::Url;

/// What stands for itself in a key, but not in a URL.
const ESCAPED: &AsciiSet = &CONTROLS.add(b' ').add(b'%').add(b'?').add(b'#').add(b'\\').add(b'"').add(b'<').add(b'>');

/// A place in a store.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    url: Url,
    scheme: ObjectStoreScheme,
    /// Of the object in the store; empty for the whole store.
    path: Path,
    /// Whether a `/` at the end says that objects go below it.
    below: bool,
    /// The URL of the store itself, up to and with the last `/`.
    base: String,
}

impl FromStr for Target {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = |what: &str| Error::new(ErrorKind::InvalidArgument, format!("'{}' {what}", text.escape_debug()));
        let no_url = || wrong("is no URL of a store").with_hint(FORMS);
        // All of these are left out or changed without a word by whoever parses URLs: it is another object then.
        if text.trim() != text || text.contains(|c: char| c.is_control()) || text.contains('\\') {
            return Err(wrong("has characters that no URL has").with_hint("write them as %20, %5C and so on"));
        }
        if text.contains(['?', '#']) {
            return Err(wrong("has a '?' or '#'").with_hint("in the name of an object write them as %3F and %23"));
        }
        if text.split('/').skip(3).any(|part| matches!(decoded(part).as_deref(), Some("." | ".."))) {
            return Err(wrong("has a part that is '.' or '..'"));
        }
        let url = Url::parse(text).map_err(|_| no_url())?;
        if url.scheme() == "file" {
            // Its files would be found by their paths, through every symbolic link in them.
            return Err(
                wrong("is no URL of a store").with_hint("`keyward encrypt -r` and `decrypt -r` are for directories")
            );
        }
        if url.password().is_some() {
            return Err(Error::new(ErrorKind::InvalidArgument, "a URL with a password in it")
                .with_hint("what is needed to log in is taken from the environment, where not everybody sees it"));
        }
        let (scheme, path) = ObjectStoreScheme::parse(&url).map_err(|error| {
            // Its type cannot be named.
            let is_unknown = error.to_string().starts_with("Unable to recognise");
            if is_unknown { no_url() } else { wrong("is no name that an object can have") }
        })?;
        if matches!(scheme, ObjectStoreScheme::Memory | ObjectStoreScheme::Local) {
            return Err(no_url());
        }
        let below = url.path().ends_with('/') || url.path().is_empty();
        let base = base_of(&url, path.parts().count());
        Ok(Self { url, scheme, path, below, base })
    }
}

const FORMS: &str = "write s3://BUCKET/KEY, gs://BUCKET/KEY or az://CONTAINER/KEY";

fn decoded(part: &str) -> Option<String> {
    percent_encoding::percent_decode_str(part).decode_utf8().ok().map(Into::into)
}

/// A key as it stands in a URL: letters of all scripts as they are, for people to read.
fn escaped(key: &str) -> String {
    let escape = |c: char| utf8_percent_encode(c.encode_utf8(&mut [0; 4]), ESCAPED).to_string();
    key.chars().map(|c| if c.is_ascii() || c.is_control() { escape(c) } else { c.to_string() }).collect()
}

/// The URL without its last parts.
fn base_of(url: &Url, parts: usize) -> String {
    let text = url.as_str().trim_end_matches('/');
    let kept = text.rsplitn(parts + 1, '/').last().unwrap_or(text);
    format!("{kept}/")
}

impl Target {
    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    pub(crate) fn scheme(&self) -> &ObjectStoreScheme {
        &self.scheme
    }

    /// Of the object in the store.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What is listed: everything for the store itself.
    pub(crate) fn prefix(&self) -> Option<&Path> {
        (!self.path.as_ref().is_empty()).then_some(&self.path)
    }

    /// Whether it ends in a `/`, or names a whole store.
    pub(crate) fn is_below(&self) -> bool {
        self.below || self.path.as_ref().is_empty()
    }

    /// Whether both are in one store.
    pub(crate) fn is_in_the_store_of(&self, other: &Self) -> bool {
        self.base == other.base
    }

    /// The object itself: a URL that names no object cannot be meant.
    pub(crate) fn object(&self) -> Result<&Path> {
        if self.is_below() {
            return Err(Error::new(ErrorKind::InvalidArgument, format!("'{self}' names no object"))
                .with_hint("write the object's key behind it, or take all below it with --recursive"));
        }
        Ok(&self.path)
    }

    /// The object, or the one of this name below it.
    pub(crate) fn or_below(&self, name: &str) -> Result<Self> {
        if self.is_below() { self.join(name) } else { Ok(self.clone()) }
    }

    /// The object with this key below it.
    pub(crate) fn join(&self, key: &str) -> Result<Self> {
        let unfit = |_| {
            let message = format!("'{}' is no name that an object can have", key.escape_debug());
            Error::new(ErrorKind::InvalidArgument, message)
        };
        let below = Path::parse(key).map_err(unfit)?;
        let path = Path::from_iter(self.path.parts().chain(below.parts()));
        Ok(Self { path, below: false, ..self.clone() })
    }

    /// Another object in the same store.
    pub(crate) fn at(&self, path: Path) -> Self {
        Self { path, below: false, ..self.clone() }
    }

    /// The URL of another object in the same store.
    pub(crate) fn url_of(&self, path: &Path) -> String {
        format!("{}{}", self.base, escaped(path.as_ref()))
    }

    /// The key of an object below this place, without the place's own.
    pub(crate) fn key_below(&self, path: &Path) -> Option<String> {
        let parts = path.prefix_match(&self.path)?;
        Some(Path::from_iter(parts).to_string())
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let slash = if self.below && !self.path.as_ref().is_empty() { "/" } else { "" };
        write!(f, "{}{slash}", self.url_of(&self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stores_and_objects() {
        for (text, path, shown) in [
            ("s3://bucket/a/b.txt", "a/b.txt", "s3://bucket/a/b.txt"),
            ("s3://bucket", "", "s3://bucket/"),
            ("s3://bucket/a/", "a", "s3://bucket/a/"),
            ("s3://bucket/a b%3F", "a b?", "s3://bucket/a%20b%3F"),
            ("gs://bucket/ü", "ü", "gs://bucket/ü"),
            ("az://container/x", "x", "az://container/x"),
            (
                "https://account.blob.core.windows.net/container/x/y",
                "x/y",
                "https://account.blob.core.windows.net/container/x/y",
            ),
        ] {
            let target: Target = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((target.path().as_ref(), target.to_string().as_str()), (path, shown), "{text}");
            let again: Target = shown.parse().unwrap();
            assert_eq!(again.path(), target.path(), "{text}");
        }
    }

    #[test]
    fn what_would_quietly_be_another_object_is_refused() {
        for bad in [
            "report.pdf",
            "memory:///a",
            "s3:///a",
            "ftp://host/a",
            "s3://bucket/a?b",
            "s3://bucket/a#b",
            "s3://bucket/../a",
            "s3://bucket/a/%2E%2e/b",
            "s3://bucket/./a",
            " s3://bucket/a",
            "s3://bucket/a\tb",
            "s3://bucket/a\\b",
            "s3://bucket/a//b",
            "file:a",
            "file:///tmp/x",
            "file://host/a",
            "s3://user:secret@bucket/a",
            "",
        ] {
            assert!(bad.parse::<Target>().is_err(), "{bad}");
        }
        assert!(!"s3://user:secret@bucket/a".parse::<Target>().unwrap_err().to_string().contains("secret"));
    }

    #[test]
    fn names_below() {
        let target: Target = "s3://bucket/a/".parse().unwrap();
        assert_eq!(target.or_below("x.txt").unwrap().to_string(), "s3://bucket/a/x.txt");
        assert_eq!(target.key_below(&Path::from("a/b/c")).as_deref(), Some("b/c"));
        assert!(target.object().is_err() && target.or_below("../x").is_err());
        let object: Target = "s3://bucket/a".parse().unwrap();
        assert_eq!(object.or_below("x.txt").unwrap().to_string(), "s3://bucket/a");
    }
}
