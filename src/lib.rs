//! Envelope encryption under master keys that never leave a PKCS#11 token.
//!
//! Master keys live in a hardware security module as objects that cannot be extracted. Each file or
//! record gets a data key of its own, which the token wraps and unwraps; the bulk of the data is
//! encrypted on the host with AES-256-GCM.
//!
//! # What there is
//!
//! - [`token::Token`] opens a token by its PKCS#11 URI; [`hsm::HsmProvider`] is the key provider on it.
//! - [`KeyProvider`] and [`KeyAdmin`] are the whole seam: the HSM implements them, everything else
//!   consumes them.
//! - [`Encryptor`] and [`Decryptor`] make and read envelopes: in memory, as streams, as files, in
//!   ranges. [`envelope::Rewrap`] moves them to new keys without touching their bodies.
//! - [`key::PublicKeyProvider`] wraps with an RSA public key on hosts without a token;
//!   [`key::CustomerKey`] encrypts under a key that the caller keeps.
//! - [`policy::Policies`] says who may do what with which key, with the feature `governed`.
//! - `parquet::Kms` manages the keys of Parquet files, with the feature `parquet`.
//! - `object::EncryptedStore` is an encrypting object store around any other, with the feature `object-store`.
//! - [`provider::Failover`] keeps working while one of several tokens is down; [`provider::Cached`] keeps data keys in
//!   memory, within limits.
//!
//! ```no_run
//! use keyward::{Decryptor, EncryptionContext, Encryptor, KeyName, hsm::HsmProvider, token::Token};
//!
//! let uri = "pkcs11:token=demo?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/run/pin";
//! let hsm = HsmProvider::new(Token::open(&uri.parse()?)?);
//! let key: KeyName = "payments".parse()?;
//! let context = EncryptionContext::from_pairs([("tenant", "acme")])?;
//!
//! let sealed = Encryptor::new(&hsm, &key).context(context.clone()).encrypt(b"hello")?;
//! let opened = Decryptor::new(&hsm).context(context).decrypt(&sealed)?;
//! assert_eq!(opened, b"hello");
//! # Ok::<(), keyward::Error>(())
//! ```
//!
//! # Defaults
//!
//! Keys are AES-GCM where the token has it, else AES-KW. The encryption context is empty, and
//! decryption expects exactly the context it is told. Every symmetric key of the token may be used
//! unless [`hsm::HsmProvider::only`] names some; RSA keys recover only when named. Existing files are
//! not replaced. What is risky has `danger` in its name. Calls to the token have no deadline unless
//! [`token::TokenOptions::call_timeout`] sets one.
//!
//! # Errors
//!
//! [`Error`] has a [kind](ErrorKind) to match on, one line for people, a cause, and often a hint. Every
//! failed unwrapping and decryption is one and the same [`ErrorKind::NotAuthentic`].
//!
//! # What it does not do
//!
//! A library that prints, prompts, reads environment variables or exits would be in the way: this
//! one does none of it, and logs through `tracing`. It does not protect a host that holds a data
//! key in memory, nor from whoever holds the PIN: see the threat model in `docs/threat-model.md`.
//!
//! # Features
//!
//! - `aws-lc-rs` (default): the faster AES engine. The pure-Rust one is always there.
//! - `ceremony`: plans, transcripts and shares of key ceremonies.
//! - `governed`: policies, the audit log, and the provider that keeps both.
//! - `metrics`: counters and histograms of calls to tokens, through the `metrics` facade.
//! - `parquet`: key management for Parquet Modular Encryption.
//! - `object-store`: the encrypting object store.
//! - `testkit`: SoftHSM tokens and a provider in memory, for tests.
//! - `cli`: what the `keyward` binary needs; programs that link the library leave it off.

#![warn(clippy::unwrap_used)]
// The library never prints.
#![warn(clippy::print_stdout, clippy::print_stderr)]

#[cfg(feature = "governed")]
pub mod audit;
#[cfg(feature = "ceremony")]
pub mod ceremony;
mod cipher;
pub mod durable;
pub mod envelope;
mod error;
pub mod hsm;
pub mod key;
#[cfg(feature = "object-store")]
pub mod object;
#[cfg(feature = "parquet")]
pub mod parquet;
#[cfg(feature = "governed")]
pub mod policy;
pub mod provider;
#[cfg(feature = "testkit")]
pub mod testkit;
pub mod token;

pub use cipher::Engine;
pub use envelope::{Decryptor, Encryptor};
pub use error::{Error, ErrorKind, Result};
pub use key::{
    AlgorithmChoice, DataKey, DataKeyLength, EncryptionContext, KekId, KeyAdmin, KeyName, KeyProvider, KeyRef,
    KeyVersion, Origin, UnwrappedKey, WrapOccasion, WrappedKey, WrappedKeys, WrappingAlgorithm,
};

/// The examples of the README are compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// And those of the page on testing.
#[cfg(all(doctest, feature = "testkit"))]
#[doc = include_str!("../docs/testing.md")]
struct Testing;
