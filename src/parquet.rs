//! Key management for Parquet Modular Encryption: footer and column keys wrapped by master keys on the token.
//!
//! The crate `parquet-key-management` makes a file's keys and writes them, wrapped, into the file; [`Kms`] is where it
//! has them wrapped and unwrapped. A master key identifier is the [name](KeyName) of a master key. Encryption and
//! decryption are the `parquet` crate's. Programs that use it this way depend on:
//!
//! ```toml
//! keyward = { version = "0.1", features = ["parquet"] }
//! parquet = { version = "58", features = ["encryption"] }
//! parquet-key-management = "0.8"
//! ```
//!
//! ```
//! use arrow_array::{ArrayRef, Int32Array, RecordBatch};
//! use keyward::{AlgorithmChoice, EncryptionContext, KeyAdmin, parquet::Kms};
//! use parquet::arrow::ArrowWriter;
//! use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
//! use parquet::file::properties::WriterProperties;
//! use parquet_key_management::crypto_factory::{CryptoFactory, EncryptionConfiguration};
//! use std::sync::Arc;
//!
//! // A program takes the provider of its token: `HsmProvider::new(Token::open(&uri)?)`.
//! # #[cfg(not(feature = "testkit"))] fn main() {}
//! # #[cfg(feature = "testkit")] fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let provider = keyward::testkit::MemoryProvider::new();
//! provider.create_key(&"staff".parse()?, AlgorithmChoice::Auto)?;
//! provider.create_key(&"payroll".parse()?, AlgorithmChoice::Auto)?;
//! let context = EncryptionContext::from_pairs([("table", "staff")])?;
//! let factory = CryptoFactory::new(Kms::new(provider).context(context));
//!
//! // The footer under one master key, a column under another.
//! let keys = EncryptionConfiguration::builder("staff".into()).add_column_key("payroll".into(), vec!["pay".into()]);
//! let encryption = factory.file_encryption_properties(Arc::default(), &keys.build()?)?;
//! let properties = WriterProperties::builder().with_file_encryption_properties(encryption).build();
//! let pay: ArrayRef = Arc::new(Int32Array::from(vec![3000, 4000]));
//! let table = RecordBatch::try_from_iter([("pay", pay)])?;
//! let file = tempfile::tempfile()?;
//! let mut writer = ArrowWriter::try_new(file.try_clone()?, table.schema(), Some(properties))?;
//! writer.write(&table)?;
//! writer.close()?;
//!
//! // The file says which keys it needs.
//! let decryption = factory.file_decryption_properties(Arc::default(), Default::default())?;
//! let options = ArrowReaderOptions::new().with_file_decryption_properties(decryption);
//! let mut reader = ParquetRecordBatchReaderBuilder::try_new_with_options(file, options)?.build()?;
//! assert_eq!(reader.next().unwrap()?, table);
//! # Ok(()) }
//! ```
//!
//! # Which columns are encrypted
//!
//! Where no column is named, all are, under the footer's key. **Where one is named, those that are not are left in
//! plaintext**: so Parquet Modular Encryption has it.
//!
//! # What a file carries
//!
//! `wrappedKEK`, or `wrappedDEK` where double wrapping is off, is the wrapped key of `docs/format.md` in base64; where
//! there are several, as with [`Failover`](crate::provider::Failover) over siblings, they are joined by commas. So
//! `{"wrapped_keys": [BASE64]}` is what `keyward data-key unwrap` reads and `keyward data-key wrap` writes, and clients
//! in other languages need no more than these two.
//!
//! # Double wrapping
//!
//! Unless it is switched off (`set_double_wrapping(false)`), `CryptoFactory` has the token wrap one intermediate key per
//! master key, encrypts the keys of files under that on the host, and keeps it in memory for ten minutes or what
//! `set_cache_lifetime` says. Meanwhile neither the token nor a policy nor the audit log hears of further files: a master
//! key that is disabled still opens them, and whoever shares the factory has what it keeps. **Make one factory for each
//! principal and each context**, and switch double wrapping off where every file is to be decided about and recorded.
//!
//! # What is not wiped
//!
//! `CryptoFactory` makes the keys and `parquet` uses them, as plain vectors that neither wipes. [`Kms`] keeps none, and
//! its own copies are wiped; but what [`unwrap_key`](KmsClient::unwrap_key) answers is such a vector, because the trait
//! says so. A host that reads a table holds its keys in memory until that memory is used for something else.

use crate::error::{Error, ErrorKind, Result};
use crate::key::{DataKey, EncryptionContext, KeyName, KeyProvider, KeyRef, WrappedKey, WrappedKeys};
use base64ct::{Base64, Encoding};
use parquet_key_management::errors::{Error as ParquetError, Result as ParquetResult};
use parquet_key_management::kms::{KmsClient, KmsClientFactory, KmsClientRef, KmsConnectionInfo};
use std::fmt;
use std::sync::Arc;

/// The longest wrapped key that is looked at, in bytes: 16 under the longest RSA keys, with room to spare.
const MAX_LEN: usize = 64 * 1024;

/// Wraps and unwraps the keys of Parquet files with any [`KeyProvider`], for
/// [`CryptoFactory`](parquet_key_management::crypto_factory::CryptoFactory). See the [module](self) for an example.
///
/// It is both what `CryptoFactory` calls and the factory that it takes. What a connection says, and with it what a file
/// says (KMS instance, URL, access token), is not looked at: the provider alone decides where keys are. Clones share the
/// provider.
///
/// Calls block while the token works; asynchronous programs make them in their runtime's `spawn_blocking`.
///
/// # What is bound and checked
///
/// Each wrapped key is bound to the [encryption context](Self::context), as it is to its master key. A key that a file
/// says is under master key `a` is unwrapped only where the key that wrapped it is named `a`, in whatever version: who
/// may write files cannot have one master key stand for another. Under [`Governed`](crate::provider::Governed), reading
/// needs `Unwrap` and `DescribeKey` of a master key, and writing needs `Wrap`.
///
/// # Errors
/// Those of the provider, as [`ParquetError::External`], whose cause is an [`Error`]: [`ErrorKind::NotAuthentic`] for
/// another master key, another context and altered bytes alike. [`ErrorKind::InvalidArgument`] for a master key
/// identifier that is no key name, and for keys that are not 16 or 32 bytes long. [`ErrorKind::NotAnEnvelope`] for what
/// is no wrapped key. The `parquet` crate hands the error of a column key on as text.
pub struct Kms<P> {
    provider: Arc<P>,
    context: EncryptionContext,
}

impl<P> Kms<P> {
    /// Keys wrapped by `provider`, with the empty encryption context.
    #[must_use]
    pub fn new(provider: P) -> Self {
        Self { provider: Arc::new(provider), context: EncryptionContext::new() }
    }

    /// Binds the wrapped keys to this context, which must be the same, byte for byte, when they are unwrapped. It is
    /// not secret, and not written into the file.
    #[must_use]
    pub fn context(mut self, context: EncryptionContext) -> Self {
        self.context = context;
        self
    }
}

impl<P: KeyProvider> Kms<P> {
    fn wrap(&self, key: &[u8], master_key: &str) -> Result<String> {
        let name: KeyName = master_key.parse()?;
        let wrapped = self.provider.wrap_data_key(&name, &self.context, &DataKey::from_slice(key)?)?;
        Ok(wrapped.iter().map(|one| Base64::encode_string(&one.to_bytes())).collect::<Vec<_>>().join(","))
    }

    fn unwrap(&self, wrapped: &str, master_key: &str) -> Result<DataKey> {
        let under_it = self.under(&parse(wrapped)?, &master_key.parse()?)?;
        Ok(self.provider.unwrap_data_key(&under_it, &self.context)?.data_key)
    }

    /// Those of `wrapped` whose KEKs are versions of this master key. The file says which master key that is, and its
    /// writer may have lied about it.
    fn under(&self, wrapped: &WrappedKeys, name: &KeyName) -> Result<WrappedKeys> {
        let (mut found, mut failed, mut not_found) = (Vec::new(), None, None);
        for one in wrapped {
            match self.provider.describe_key(KeyRef::Kek(one.kek_id())) {
                Ok(key) if key.name == *name => found.push(one.clone()),
                Ok(_) => {}
                // The key of another token, or nobody's.
                Err(error) if error.kind() == ErrorKind::KeyNotFound => not_found = Some(error),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        match found.is_empty() {
            true => Err(failed.or(not_found).unwrap_or_else(Error::not_authentic)),
            false => WrappedKeys::new(found),
        }
    }
}

fn parse(wrapped: &str) -> Result<WrappedKeys> {
    let malformed = |what: &'static str| Error::new(ErrorKind::NotAnEnvelope, what);
    if wrapped.len() > MAX_LEN || wrapped.split(',').count() > WrappedKeys::MAX {
        return Err(malformed("malformed wrapped key: too long"));
    }
    let keys = wrapped.split(',').map(|one| {
        let bytes = Base64::decode_vec(one).map_err(|_| malformed("malformed wrapped key: not base64"))?;
        WrappedKey::parse(&bytes)
    });
    WrappedKeys::new(keys.collect::<Result<_>>()?)
}

impl<P: KeyProvider> KmsClient for Kms<P> {
    fn wrap_key(&self, key_bytes: &[u8], master_key_identifier: &str) -> ParquetResult<String> {
        self.wrap(key_bytes, master_key_identifier).map_err(external)
    }

    fn unwrap_key(&self, wrapped_key: &str, master_key_identifier: &str) -> ParquetResult<Vec<u8>> {
        // The trait wants a vector, which its caller does not wipe.
        self.unwrap(wrapped_key, master_key_identifier).map(|key| key.expose_secret().to_vec()).map_err(external)
    }
}

fn external(error: Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}

impl<P: KeyProvider + 'static> KmsClientFactory for Kms<P> {
    fn create_client(&self, _: &KmsConnectionInfo) -> ParquetResult<KmsClientRef> {
        Ok(Arc::new(self.clone()))
    }
}

impl<P> Clone for Kms<P> {
    fn clone(&self) -> Self {
        Self { provider: Arc::clone(&self.provider), context: self.context.clone() }
    }
}

impl<P> fmt::Debug for Kms<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kms").field("context", &self.context).finish_non_exhaustive()
    }
}
