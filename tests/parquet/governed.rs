//! Policies and the audit log see what Parquet files ask for.

use crate::table::{columns, context, kind, read, uniform, write};
use keyward::ErrorKind;
use keyward::audit::{AuditLog, AuditOptions, Filter, history};
use keyward::key::Principal;
use keyward::parquet::Kms;
use keyward::policy::Policies;
use keyward::provider::Governed;
use keyward::testkit::MemoryProvider;
use keyward::{AlgorithmChoice, KeyAdmin};
use parquet_key_management::crypto_factory::{CryptoFactory, EncryptionConfigurationBuilder};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The writer writes; the reader reads, but not what is under `people`.
const POLICY: &str = r#"
permit(principal == Keyward::User::"writer", action == Keyward::Action::"Wrap", resource);
permit(principal == Keyward::User::"reader", action == Keyward::Action::"DescribeKey", resource);
permit(principal == Keyward::User::"reader", action == Keyward::Action::"Unwrap", resource)
    when { resource.name == "footer" && context.encryption_context.hasTag("table") };
"#;

#[test]
fn a_policy_decides_about_each_key_of_a_file() {
    let keys = MemoryProvider::new();
    for name in ["footer", "people"] {
        keys.create_key(&name.parse().unwrap(), AlgorithmChoice::Auto).unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.log");
    let log = AuditLog::open(&path, AuditOptions::default()).unwrap();
    let keys = Arc::new(keys);
    let factory = |name| {
        let policies = Policies::parse("tables.cedar", POLICY).unwrap();
        let governed = Governed::new(Arc::clone(&keys), Principal::new(name).unwrap()).policies(policies);
        CryptoFactory::new(Kms::new(governed.log(log.clone())).context(context()))
    };
    let (all, some) = (dir.path().join("all"), dir.path().join("some"));
    write(&all, &factory("writer"), uniform()).unwrap();
    write(&some, &factory("writer"), columns()).unwrap();

    read(&all, &factory("reader")).unwrap();
    // Of column keys, the `parquet` crate keeps what the error says, and not the error.
    let refused = read(&some, &factory("reader")).unwrap_err().to_string();
    assert!(refused.ends_with("no policy allows 'reader' to Unwrap with key 'people:1'"), "{refused}");
    assert_eq!(kind(read(&all, &factory("writer"))), ErrorKind::PolicyDenied);
    let refused = dir.path().join("refused");
    assert_eq!(kind(write(&refused, &factory("reader"), uniform())), ErrorKind::PolicyDenied);

    // Nobody waits until a refusal is on the disk.
    log.flush().unwrap();
    let told = history(&path, &Filter::default()).unwrap().operations;
    let about_reading_all: Vec<_> = told.iter().skip(3).take(2).collect();
    for (record, operation) in about_reading_all.into_iter().zip(["DescribeKey", "Unwrap"]) {
        assert_eq!((&*record.operation, record.result.name(), &*record.principal), (operation, "ok", "reader"));
    }
    let refused = told.iter().filter(|record| record.result.name() == "refused");
    let refused: BTreeSet<_> = refused.map(|record| (&*record.principal, &*record.operation)).collect();
    assert_eq!(refused, [("reader", "Unwrap"), ("reader", "Wrap"), ("writer", "DescribeKey")].into());
}

/// How often the log hears of each when one factory writes three files and another reads them.
fn heard(keys: fn() -> EncryptionConfigurationBuilder) -> [usize; 2] {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.log");
    let log = AuditLog::open(&path, AuditOptions::default()).unwrap();
    let provider = MemoryProvider::new();
    provider.create_key(&"footer".parse().unwrap(), AlgorithmChoice::Auto).unwrap();
    let governed = Arc::new(Governed::new(provider, Principal::new("service").unwrap()).log(log));
    let [writer, reader] = [(); 2].map(|()| CryptoFactory::new(Kms::new(Arc::clone(&governed))));
    for file in ["a", "b", "c"] {
        write(&dir.path().join(file), &writer, keys()).unwrap();
        read(&dir.path().join(file), &reader).unwrap();
    }
    let told = history(&path, &Filter::default()).unwrap().operations;
    ["Wrap", "Unwrap"].map(|operation| told.iter().filter(|record| record.operation == operation).count())
}

#[test]
fn every_file_is_recorded_where_double_wrapping_is_off() {
    assert_eq!(heard(uniform), [1, 1]);
    assert_eq!(heard(|| uniform().set_double_wrapping(false)), [3, 3]);
}
