//! What is written is read again, and is encrypted in between.

use crate::table::{TEXT, carried, columns, context, kind, read, token_with, uniform, write};
use keyward::parquet::Kms;
use keyward::provider::{Failover, Member};
use keyward::testkit::{Failing, MemoryProvider};
use keyward::{AlgorithmChoice, ErrorKind, KeyAdmin, KeyName, WrappingAlgorithm};
use parquet_key_management::crypto_factory::CryptoFactory;
use parquet_key_management::kms::KmsClient;
use std::sync::Arc;

fn contains(path: &std::path::Path, text: &str) -> bool {
    let bytes = std::fs::read(path).unwrap();
    bytes.windows(text.len()).any(|at| at == text.as_bytes())
}

#[test]
fn a_table_comes_back_under_every_algorithm_and_every_arrangement_of_keys() {
    let dir = tempfile::tempdir().unwrap();
    for algorithm in [WrappingAlgorithm::AesGcm, WrappingAlgorithm::AesKw, WrappingAlgorithm::RsaOaepSha1] {
        let names = ["footer", "people"];
        let token = token_with(&names, AlgorithmChoice::Exactly(algorithm));
        // RSA keys recover only where they are named.
        let kms = || Kms::new(token.provider().only(names.map(|name| name.parse::<KeyName>().unwrap())));
        let arrangements = [
            ("uniform", uniform()),
            ("single", uniform().set_double_wrapping(false)),
            ("columns", columns()),
            ("plain footer, single", columns().set_plaintext_footer(true).set_double_wrapping(false)),
        ];
        for (what, keys) in arrangements {
            let path = dir.path().join(format!("{algorithm} {what}"));
            write(&path, &CryptoFactory::new(kms().context(context())), keys).unwrap();
            assert!(!contains(&path, TEXT), "{algorithm}, {what}");
            // Another factory, which has nothing in memory.
            read(&path, &CryptoFactory::new(kms().context(context()))).unwrap();
        }
    }
}

#[test]
fn a_table_without_encryption_shows_its_text() {
    // Else the test above would prove nothing.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("plain");
    let rows = crate::table::rows();
    let file = std::fs::File::create(&path).unwrap();
    let mut writer = parquet::arrow::ArrowWriter::try_new(file, rows.schema(), None).unwrap();
    writer.write(&rows).unwrap();
    writer.close().unwrap();
    assert!(contains(&path, TEXT));
}

#[test]
fn a_column_that_is_not_named_is_left_in_plaintext_where_another_is() {
    // Not ours to change; the documentation warns of it.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("table");
    let token = token_with(&["footer", "people"], AlgorithmChoice::Auto);
    let keys = uniform().add_column_key("people".into(), vec!["pay".into()]);
    write(&path, &CryptoFactory::new(Kms::new(token.provider())), keys).unwrap();
    assert!(contains(&path, TEXT));
}

#[test]
fn a_table_outlives_the_rotation_of_its_keys() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("table");
    let token = token_with(&["footer", "people"], AlgorithmChoice::Auto);
    let hsm = token.provider();
    write(&path, &CryptoFactory::new(Kms::new(token.provider())), columns()).unwrap();
    for name in ["footer", "people"] {
        hsm.rotate_key(&name.parse().unwrap(), None).unwrap();
    }
    read(&path, &CryptoFactory::new(Kms::new(token.provider()))).unwrap();
}

#[test]
fn keys_of_both_lengths_are_wrapped_and_no_others() {
    let token = token_with(&["k"], AlgorithmChoice::Auto);
    let kms = Kms::new(token.provider());
    for len in [16, 32] {
        let key: Vec<u8> = (0..len).collect();
        let wrapped = kms.wrap_key(&key, "k").unwrap();
        assert_eq!(kms.unwrap_key(&wrapped, "k").unwrap(), key);
        assert_ne!(kms.wrap_key(&key, "k").unwrap(), wrapped);
    }
    for len in [0, 15, 17, 24, 33] {
        assert!(kms.wrap_key(&vec![1; len], "k").is_err(), "{len}");
    }
}

#[test]
fn a_table_under_siblings_is_read_while_either_of_them_is_away() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("table");
    let siblings = ["berlin", "paris"].map(|name| {
        let keys = MemoryProvider::new();
        keys.create_key(&"footer".parse().unwrap(), AlgorithmChoice::Auto).unwrap();
        (name, Arc::new(Failing::new(keys)))
    });
    let factory = || {
        let members = siblings.iter().map(|(name, keys)| Member::new(*name, Arc::clone(keys)));
        CryptoFactory::new(Kms::new(Failover::siblings(members).unwrap()))
    };
    write(&path, &factory(), uniform()).unwrap();
    assert_eq!(carried(&path, "wrappedKEK").split(',').count(), 2);
    for (_, away) in &siblings {
        away.fail(ErrorKind::TokenUnavailable);
        read(&path, &factory()).unwrap();
        away.recover();
    }
    for (_, away) in &siblings {
        away.fail(ErrorKind::TokenUnavailable);
    }
    assert_eq!(kind(read(&path, &factory())), ErrorKind::TokenUnavailable);
}
