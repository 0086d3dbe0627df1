//! How objects are encrypted and with what they are opened, as the command line of AWS names it.

use super::store::{MANAGED, Stores};
use crate::customer;
use clap::{Args, ValueEnum};
use keyward::key::CustomerKey;
use keyward::object::{Mode, OpenWith, Sse};
use keyward::{EncryptionContext, Error, ErrorKind, KeyName};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// `--sse MODE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SseMode {
    /// Under the master key of --sse-kms-key-id
    #[value(name = "aws:kms")]
    Kms,
    /// Under the managed key of the store, keyward/s3, which is made on first use
    #[value(name = "AES256")]
    S3,
}

/// `--sse-c ALGORITHM`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CustomerAlgorithm {
    /// The only one there is
    #[value(name = "AES256")]
    Aes256,
}

/// How what is written is encrypted.
#[derive(Debug, Args)]
#[command(next_help_heading = "Encryption")]
pub(crate) struct WriteArgs {
    /// How the object is encrypted. Where neither this nor the configuration says, AES256; a copy, as its source is
    #[arg(long, value_name = "MODE", conflicts_with_all = ["sse_c", "sse_c_key"])]
    pub(crate) sse: Option<SseMode>,
    /// The name of a master key on the token, for --sse aws:kms
    #[arg(long, value_name = "NAME", conflicts_with_all = ["sse_c", "sse_c_key"])]
    pub(crate) sse_kms_key_id: Option<KeyName>,
    /// A pair of the encryption context, which is authenticated but not secret; repeatable
    #[arg(long, short, visible_alias = "sse-kms-encryption-context", value_name = "KEY=VALUE", value_parser = crate::args::parse_pair)]
    pub(crate) context: Vec<(String, String)>,
    /// Let objects of one key and context share a data key, so that many need one call to the token
    #[arg(long)]
    pub(crate) bucket_key_enabled: bool,
    #[command(flatten)]
    customer: CustomerArgs,
}

/// A key of the caller's own.
#[derive(Debug, Args)]
#[command(next_help_heading = "Encryption")]
pub(crate) struct CustomerArgs {
    /// The object is under a key of your own, that of --sse-c-key
    #[arg(long, value_name = "ALGORITHM", requires = "sse_c_key")]
    sse_c: Option<CustomerAlgorithm>,
    /// A file with that key: 32 random bytes, as they are, in hexadecimal or in base64
    #[arg(long, value_name = "FILE", requires = "sse_c")]
    sse_c_key: Option<PathBuf>,
}

/// With what an object is opened.
#[derive(Debug, Args)]
#[command(next_help_heading = "Encryption")]
pub(crate) struct ReadArgs {
    /// A pair of the encryption context, which then has to be the object's; any is accepted without; repeatable
    #[arg(long, short, visible_alias = "sse-kms-encryption-context", value_name = "KEY=VALUE", value_parser = crate::args::parse_pair)]
    context: Vec<(String, String)>,
    #[command(flatten)]
    customer: CustomerArgs,
}

impl CustomerArgs {
    fn read(&self) -> anyhow::Result<Option<Arc<CustomerKey>>> {
        read_key(self.sse_c_key.as_deref())
    }

    pub(crate) fn is_given(&self) -> bool {
        self.sse_c_key.is_some()
    }
}

pub(crate) fn read_key(path: Option<&Path>) -> anyhow::Result<Option<Arc<CustomerKey>>> {
    Ok(path.map(customer::read).transpose()?.map(Arc::new))
}

impl ReadArgs {
    /// Whether no master key is needed.
    pub(crate) fn needs_no_token(&self) -> bool {
        self.customer.is_given()
    }

    pub(crate) fn open_with(&self) -> anyhow::Result<OpenWith> {
        let open = self.customer.read()?.map_or_else(OpenWith::master_key, OpenWith::customer_key);
        Ok(match self.context.is_empty() {
            true => open,
            false => open.context(EncryptionContext::from_pairs(self.context.iter().cloned())?),
        })
    }
}

impl WriteArgs {
    /// Whether no master key is needed.
    pub(crate) fn needs_no_token(&self) -> bool {
        self.customer.is_given()
    }

    /// Whether the command line says how to encrypt.
    pub(crate) fn says_how(&self) -> bool {
        self.customer.is_given() || self.sse.is_some() || self.sse_kms_key_id.is_some() || self.bucket_key_enabled
    }

    /// What the command line says, or else the configuration.
    pub(crate) fn choose(&self, stores: &Stores<'_>) -> anyhow::Result<Sse> {
        let wrong = |what: &'static str, hint: &'static str| {
            Err(Error::new(ErrorKind::InvalidArgument, what).with_hint(hint).into())
        };
        let context = EncryptionContext::from_pairs(self.context.iter().cloned())?;
        if let Some(key) = self.customer.read()? {
            if self.bucket_key_enabled {
                return wrong("--bucket-key-enabled shares what a master key wraps", "leave it away with --sse-c");
            }
            return Ok(Sse::customer(key).context(context));
        }
        let table = stores.table();
        let of_the_table = || table.sse_kms_key_id.clone();
        let sse = match (self.sse, self.sse_kms_key_id.clone()) {
            (Some(SseMode::S3), Some(_)) | (None, Some(_)) => {
                return wrong("--sse-kms-key-id goes with --sse aws:kms", "say both, or neither");
            }
            (Some(SseMode::Kms), named) => match named.or_else(of_the_table) {
                Some(name) => Sse::kms(name),
                None => {
                    return wrong(
                        "--sse aws:kms needs a master key",
                        "name it with --sse-kms-key-id; `keyward key list` shows which there are",
                    );
                }
            },
            (Some(SseMode::S3), None) => Sse::s3(),
            (None, None) => match (table.sse, of_the_table()) {
                (Some(Mode::Kms), Some(name)) => Sse::kms(name),
                _ => Sse::s3(),
            },
        };
        stores.check_allowed(&sse, self.sse_kms_key_id.as_ref().or(table.sse_kms_key_id.as_ref()))?;
        Ok(sse.context(context).bucket_key(self.bucket_key_enabled || table.bucket_key_enabled))
    }
}

impl Stores<'_> {
    /// Whether the configuration lets the key be used.
    fn check_allowed(&self, sse: &Sse, named: Option<&KeyName>) -> anyhow::Result<()> {
        match (sse.mode(), named) {
            (Mode::Kms, Some(name)) => Ok(self.app().check_allowed(name)?),
            (Mode::S3, _) => {
                let name = KeyName::managed(self.table().managed_key.as_deref().unwrap_or(MANAGED))?;
                Ok(self.app().check_allowed(&name).map_err(|error| {
                    error.with_hint(format!(
                        "name a key with --sse aws:kms --sse-kms-key-id, or add \"{name}\" to the file's list of keys"
                    ))
                })?)
            }
            _ => Ok(()),
        }
    }
}
