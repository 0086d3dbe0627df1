//! Envelope encryption under master keys that never leave a PKCS#11 token.

mod cipher;
pub mod durable;
pub mod envelope;
mod error;
pub mod hsm;
pub mod key;
#[cfg(feature = "testkit")]
pub mod testkit;
pub mod token;

pub use cipher::Engine;
pub use envelope::{Decryptor, Encryptor};
pub use error::{Error, ErrorKind, Result};
pub use key::{
    AlgorithmChoice, DataKey, DataKeyLength, EncryptionContext, KekId, KeyAdmin, KeyName, KeyProvider, KeyRef,
    KeyVersion, WrappedKey, WrappedKeys, WrappingAlgorithm,
};
