//! Tables between the `parquet` crate and pyarrow, each with its keys from the same token: here through the library,
//! there through the command line.

use crate::table::{TEXT, alter_wrapped_key, columns, context, kind, read, replace, token_with, uniform, write};
use keyward::parquet::Kms;
use keyward::testkit::SoftToken;
use keyward::{AlgorithmChoice, ErrorKind, KeyAdmin, KeyVersion, WrappingAlgorithm};
use parquet_key_management::crypto_factory::CryptoFactory;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The Python that has `tests/interop/requirements.txt`.
fn python() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = match std::env::var_os("KEYWARD_TEST_PYTHON") {
        Some(path) => PathBuf::from(path),
        None => root.join(".venv/bin/python"),
    };
    assert!(python.exists(), "no {}: run ci/test, which makes it", python.display());
    python
}

fn pyarrow(token: &SoftToken, command: &str, path: &Path, words: &[&str]) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parquet/table.py");
    let mut python = Command::new(python());
    python.arg(script).args([env!("CARGO_BIN_EXE_keyward"), command]).arg(path).args(words);
    for name in ["KEYWARD_CONFIG", "KEYWARD_PIN"] {
        python.env_remove(name);
    }
    python.env("KEYWARD_TOKEN", token.uri_with_pin()).output().unwrap()
}

#[track_caller]
fn succeeds(output: Output) {
    assert!(output.status.success(), "{}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
}

/// Python fails because of what Keyward says.
#[track_caller]
fn fails(output: Output, because: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && stderr.contains(because), "{}\n{stderr}", output.status);
}

fn factory(token: &SoftToken) -> CryptoFactory {
    CryptoFactory::new(Kms::new(token.provider()).context(context()))
}

const CONTEXT: &str = "context=table=staff";

#[test]
fn pyarrow_reads_what_the_parquet_crate_writes() {
    let dir = tempfile::tempdir().unwrap();
    let token = token_with(&["footer", "people"], AlgorithmChoice::Auto);
    let arrangements = [
        uniform(),
        columns(),
        columns().set_double_wrapping(false),
        columns().set_plaintext_footer(true).set_double_wrapping(false),
    ];
    for (number, keys) in arrangements.into_iter().enumerate() {
        let path = dir.path().join(number.to_string());
        write(&path, &factory(&token), keys).unwrap();
        succeeds(pyarrow(&token, "read", &path, &[CONTEXT]));
    }
}

#[test]
fn the_parquet_crate_reads_what_pyarrow_writes() {
    let dir = tempfile::tempdir().unwrap();
    let token = token_with(&["footer", "people"], AlgorithmChoice::Auto);
    let arrangements: [&[&str]; 5] = [
        &["uniform"],
        &[],
        &["single"],
        &["single", "plaintext-footer"],
        // The crate writes no such keys, but reads them.
        &["single", "bits=256"],
    ];
    for (number, words) in arrangements.into_iter().enumerate() {
        let path = dir.path().join(number.to_string());
        succeeds(pyarrow(&token, "write", &path, &[words, &[CONTEXT]].concat()));
        let bytes = std::fs::read(&path).unwrap();
        assert!(!bytes.windows(TEXT.len()).any(|at| at == TEXT.as_bytes()), "{words:?}");
        read(&path, &factory(&token)).unwrap();
    }
}

#[test]
fn both_refuse_alike() {
    let dir = tempfile::tempdir().unwrap();
    let token = token_with(&["footer", "folder", "people"], AlgorithmChoice::Auto);
    let path = dir.path().join("table");
    let fresh = || write(&path, &factory(&token), columns()).unwrap();

    fresh();
    fails(pyarrow(&token, "read", &path, &["context=table=stuff"]), "exits with 4: ");

    replace(&path, r#""masterKeyID":"footer""#, r#""masterKeyID":"folder""#);
    assert_eq!(kind(read(&path, &factory(&token))), ErrorKind::NotAuthentic);
    // The program does not allow it; where it does, the command line uses that key and no other.
    fails(pyarrow(&token, "read", &path, &[CONTEXT]), "'folder' is not among the master keys that this program allows");
    let allowing = [CONTEXT, "keys=footer+folder+people"];
    fails(pyarrow(&token, "read", &path, &allowing), "keyward data-key unwrap exits with ");

    fresh();
    alter_wrapped_key(&path);
    assert_eq!(kind(read(&path, &factory(&token))), ErrorKind::NotAuthentic);
    fails(pyarrow(&token, "read", &path, &[CONTEXT]), "exits with 4: ");

    fresh();
    token.provider().disable_key(&"people".parse().unwrap(), KeyVersion::FIRST).unwrap();
    let refused = read(&path, &factory(&token)).unwrap_err().to_string();
    assert!(refused.contains("key 'people:1' is disabled"), "{refused}");
    fails(pyarrow(&token, "read", &path, &[CONTEXT]), "exits with 1: ");
}

/// Anyone with the public half of an RSA key can write a whole table under it.
#[test]
fn table_under_an_rsa_key_is_read_only_if_its_origin_is_asserted() {
    let dir = tempfile::tempdir().unwrap();
    let token = token_with(&["footer", "people"], AlgorithmChoice::Exactly(WrappingAlgorithm::RsaOaepSha1));
    let path = dir.path().join("table");
    succeeds(pyarrow(&token, "write", &path, &[CONTEXT]));
    fails(pyarrow(&token, "read", &path, &[CONTEXT]), "which proves nothing about its writer");
    succeeds(pyarrow(&token, "read", &path, &[CONTEXT, "assert-origin"]));
}

#[test]
fn names_and_contexts_that_would_be_taken_for_others_are_refused() {
    succeeds(pyarrow(&SoftToken::new(), "refuses", Path::new("-"), &[]));
}
