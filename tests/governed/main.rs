//! Policies and the audit log around a provider: what is decided, what is recorded, and what is not done.

mod cached;
mod decided;
mod full_disk;
mod limits;
mod recorded;

#[path = "../common/small_disk.rs"]
mod small_disk;
#[allow(dead_code, reason = "what other tests need of it")]
#[path = "../common/spy.rs"]
mod spy;

use keyward::audit::{AuditLog, AuditOptions};
use keyward::key::{Operation, Principal, VersionReuse};
use keyward::policy::Policies;
use keyward::provider::Governed;
use keyward::{
    AlgorithmChoice, DataKeyLength, EncryptionContext, ErrorKind, KeyAdmin, KeyName, KeyProvider, KeyRef, KeyVersion,
    Result, WrappedKeys,
};
use spy::Spy;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

fn key() -> KeyName {
    "payments".parse().unwrap()
}

fn alice() -> Principal {
    Principal::new("alice").unwrap()
}

fn context() -> EncryptionContext {
    EncryptionContext::from_pairs([("tenant", "acme")]).unwrap()
}

/// A provider with the key `payments`, asked for nothing yet.
fn spy() -> Spy {
    let spy = Spy::default();
    spy.keys.create_key(&key(), AlgorithmChoice::Auto).unwrap();
    spy
}

fn policies(text: &str) -> Policies {
    Policies::parse("test.cedar", text).unwrap()
}

/// A log in a directory of its own.
struct Log {
    _dir: TempDir,
    path: PathBuf,
}

impl Log {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { path: dir.path().join("audit.log"), _dir: dir }
    }

    fn open(&self) -> AuditLog {
        AuditLog::open(&self.path, AuditOptions::default()).unwrap()
    }
}

trait Keys: KeyProvider + KeyAdmin {}

impl<P: KeyProvider + KeyAdmin> Keys for P {}

type Way = fn(&dyn Keys, &WrappedKeys) -> Result<()>;

/// Does what an operation stands for, to the key `payments`, in each way that there is.
fn ways(operation: Operation) -> Vec<Way> {
    match operation {
        Operation::GenerateDataKey => {
            vec![|p, _| p.generate_data_key(&key(), &context(), DataKeyLength::Bytes32).map(drop), |p, _| {
                p.data_key_for_message(&key(), &context(), DataKeyLength::Bytes32, 9).map(drop)
            }]
        }
        Operation::Wrap => {
            vec![|p, _| p.wrap_data_key(&key(), &context(), &keyward::DataKey::from_slice(&[7; 32]).unwrap()).map(drop)]
        }
        Operation::Unwrap => vec![|p, wrapped| p.unwrap_data_key(wrapped, &context()).map(drop)],
        Operation::Rewrap => {
            vec![|p, wrapped| p.rewrap_data_key(wrapped, &context(), &key(), keyward::Origin::Unverified).map(drop)]
        }
        Operation::CreateKey => vec![|p, _| p.create_key(&"new".parse().unwrap(), AlgorithmChoice::Auto).map(drop)],
        Operation::RotateKey => {
            vec![|p, _| p.rotate_key(&key(), None).map(drop), |p, _| {
                p.rotate_key(&key(), Some(SystemTime::now() + Duration::from_secs(9))).map(drop)
            }]
        }
        Operation::DisableKey => vec![|p, _| p.disable_key(&key(), KeyVersion::FIRST).map(drop)],
        Operation::EnableKey => vec![|p, _| p.enable_key(&key(), KeyVersion::FIRST).map(drop)],
        Operation::DestroyKey => vec![
            |p, _| p.schedule_destruction(&key(), KeyVersion::FIRST, SystemTime::UNIX_EPOCH).map(drop),
            |p, _| p.expire_key(&key(), KeyVersion::FIRST, SystemTime::now()),
            |p, _| p.destroy_key(&key(), KeyVersion::FIRST, VersionReuse::Refuse).map(drop),
        ],
        Operation::AdoptKey => {
            vec![|p, _| p.adopt_key("payments").map(drop), |p, _| p.adopt_key("payments:1").map(drop)]
        }
        Operation::DescribeKey => vec![|p, _| p.describe_key(KeyRef::Name(&key())).map(drop), |p, wrapped| {
            p.describe_key(KeyRef::Kek(wrapped.iter().next().unwrap().kek_id())).map(drop)
        }],
        Operation::ListKeys => vec![|p, _| p.list_keys().map(drop), |p, _| p.list_destroyed_keys().map(drop)],
        Operation::GetPublicKey => vec![|p, _| p.public_key(&key()).map(drop)],
        _ => panic!("{operation}: what does it stand for?"),
    }
}

#[track_caller]
fn assert_kind<T>(answer: Result<T>, kind: ErrorKind) -> keyward::Error {
    let Err(error) = answer else { panic!("an error was expected") };
    assert_eq!(error.kind(), kind, "{error}");
    error
}

fn governed(spy: &Spy) -> Governed<&Spy> {
    Governed::new(spy, alice())
}
