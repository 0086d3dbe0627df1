//! What is refused, and that nothing is read then.

use crate::table::{alter_wrapped_key, columns, context, kind, read, replace, token_with, uniform, write};
use keyward::key::VersionReuse;
use keyward::parquet::Kms;
use keyward::testkit::{MemoryProvider, SoftToken};
use keyward::{AlgorithmChoice, EncryptionContext, ErrorKind, KeyAdmin, KeyName, KeyVersion};
use parquet_key_management::crypto_factory::CryptoFactory;
use parquet_key_management::errors::Error as ParquetError;
use parquet_key_management::kms::KmsClient;
use std::path::PathBuf;
use tempfile::TempDir;

struct Written {
    _dir: TempDir,
    path: PathBuf,
    token: SoftToken,
}

/// A table under `footer`, on a token that has `folder` as well.
fn written() -> Written {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("table");
    let token = token_with(&["footer", "folder", "people"], AlgorithmChoice::Auto);
    write(&path, &CryptoFactory::new(Kms::new(token.provider()).context(context())), columns()).unwrap();
    Written { _dir: dir, path, token }
}

impl Written {
    /// A factory that has nothing in memory.
    fn factory(&self) -> CryptoFactory {
        CryptoFactory::new(Kms::new(self.token.provider()).context(context()))
    }

    #[track_caller]
    fn is_refused(&self, because: ErrorKind) {
        assert_eq!(kind(read(&self.path, &self.factory())), because);
    }
}

fn name(text: &str) -> KeyName {
    text.parse().unwrap()
}

#[test]
fn a_file_that_names_another_master_key_is_refused() {
    let written = written();
    read(&written.path, &written.factory()).unwrap();
    replace(&written.path, r#""masterKeyID":"footer""#, r#""masterKeyID":"folder""#);
    written.is_refused(ErrorKind::NotAuthentic);
}

#[test]
fn a_file_that_names_no_master_key_is_refused() {
    let written = written();
    replace(&written.path, r#""masterKeyID":"footer""#, r#""masterKeyID":"f*oter""#);
    written.is_refused(ErrorKind::InvalidArgument);
}

#[test]
fn an_altered_wrapped_key_is_refused() {
    let written = written();
    alter_wrapped_key(&written.path);
    written.is_refused(ErrorKind::NotAuthentic);
}

#[test]
fn another_context_is_refused() {
    let written = written();
    for pairs in [vec![], vec![("table", "stuff")], vec![("table", "staff"), ("more", "")]] {
        let context = EncryptionContext::from_pairs(pairs).unwrap();
        let factory = CryptoFactory::new(Kms::new(written.token.provider()).context(context));
        assert_eq!(kind(read(&written.path, &factory)), ErrorKind::NotAuthentic);
    }
}

#[test]
fn a_disabled_key_opens_nothing_and_wraps_nothing() {
    let written = written();
    let hsm = written.token.provider();
    hsm.disable_key(&name("footer"), KeyVersion::FIRST).unwrap();
    written.is_refused(ErrorKind::KeyState);
    let other = written.path.with_extension("other");
    assert_eq!(kind(write(&other, &written.factory(), uniform())), ErrorKind::KeyState);
    assert!(!other.exists());

    hsm.enable_key(&name("footer"), KeyVersion::FIRST).unwrap();
    hsm.disable_key(&name("people"), KeyVersion::FIRST).unwrap();
    // Of column keys, the `parquet` crate keeps what the error says, and not the error.
    let refused = read(&written.path, &written.factory()).unwrap_err().to_string();
    assert!(refused.contains("key 'people:1' is disabled"), "{refused}");
}

#[test]
fn a_key_that_is_gone_or_not_to_be_used_opens_nothing() {
    let written = written();
    let only = Kms::new(written.token.provider().only([name("people"), name("folder")])).context(context());
    assert_eq!(kind(read(&written.path, &CryptoFactory::new(only))), ErrorKind::KeyNotFound);
    written.token.provider().destroy_key(&name("footer"), KeyVersion::FIRST, VersionReuse::Refuse).unwrap();
    written.is_refused(ErrorKind::KeyNotFound);
}

fn refusal(answer: Result<impl Sized, ParquetError>) -> ErrorKind {
    match answer.map(drop) {
        Err(ParquetError::External(error)) => error.downcast_ref::<keyward::Error>().unwrap().kind(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn malformed_wrapped_keys_are_refused() {
    let keys = MemoryProvider::new();
    keys.create_key(&name("k"), AlgorithmChoice::Auto).unwrap();
    let kms = Kms::new(keys);
    let good = kms.wrap_key(&[7; 16], "k").unwrap();
    let seventeen = vec![good.as_str(); 17].join(",");
    let endless = "A".repeat(1 << 20);
    for bad in ["", ",", "AAAA", "*", &good[1..], &good[..good.len() - 1], &format!("{good},"), &seventeen, &endless] {
        assert_eq!(refusal(kms.unwrap_key(bad, "k")), ErrorKind::NotAnEnvelope, "{bad:.80}");
    }
    assert_eq!(kms.unwrap_key(&good, "k").unwrap(), [7; 16]);
    let sixteen = vec![good.as_str(); 16].join(",");
    assert_eq!(kms.unwrap_key(&sixteen, "k").unwrap(), [7; 16]);
}

#[test]
fn of_several_wrapped_keys_only_those_of_the_named_master_key_are_looked_at() {
    let keys = MemoryProvider::new();
    for key in ["a", "b"] {
        keys.create_key(&name(key), AlgorithmChoice::Auto).unwrap();
    }
    let kms = Kms::new(keys);
    let (a, b) = (kms.wrap_key(&[1; 16], "a").unwrap(), kms.wrap_key(&[2; 16], "b").unwrap());
    let both = format!("{a},{b}");
    assert_eq!(kms.unwrap_key(&both, "a").unwrap(), [1; 16]);
    assert_eq!(kms.unwrap_key(&both, "b").unwrap(), [2; 16]);
    assert_eq!(refusal(kms.unwrap_key(&a, "b")), ErrorKind::NotAuthentic);
}
