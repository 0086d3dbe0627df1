//! Envelope encryption under master keys that never leave a PKCS#11 token.

mod cipher;
mod error;
pub mod hsm;
pub mod key;
#[cfg(feature = "testkit")]
pub mod testkit;
pub mod token;

pub use error::{Error, ErrorKind, Result};
pub use key::{
    AlgorithmChoice, DataKey, DataKeyLength, EncryptionContext, KekId, KeyAdmin, KeyName, KeyProvider, KeyRef,
    KeyVersion, WrappedKey, WrappedKeys, WrappingAlgorithm,
};
