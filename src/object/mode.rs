//! How an object is encrypted, and with what it is opened: what a request or a store says.

use crate::envelope::Opening;
use crate::error::{Error, ErrorKind, Result};
use crate::key::{CustomerKey, EncryptionContext, KekId, KeyName, Origin, WrappingAlgorithm};
use object_store::{Attribute, Attributes};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Who holds the key of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Mode {
    /// SSE-KMS: a named master key.
    Kms,
    /// SSE-S3: the store's managed key, which callers need not know.
    S3,
    /// SSE-C: a key that comes with each request and is not stored.
    Customer,
    /// Client-side: the same, made where the plaintext is, so that no server claims it.
    Client,
}

impl Mode {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Kms, Self::S3, Self::Customer, Self::Client];

    /// The name in headers of objects: `aws:kms`, `AES256`, `customer`, `client`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kms => "aws:kms",
            Self::S3 => "AES256",
            Self::Customer => "customer",
            Self::Client => "client",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Mode {
    type Err = Error;

    /// # Errors
    /// `InvalidArgument` where it is none of them.
    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|mode| mode.name() == text).ok_or_else(|| {
            Error::new(ErrorKind::InvalidArgument, format!("'{}' is no mode of encryption", text.escape_debug()))
                .with_hint("one of aws:kms, AES256, customer, client")
        })
    }
}

/// How an object is to be encrypted: the default of a store
/// ([`Builder::default_sse`](super::Builder::default_sse)), or of one request through the `extensions` of
/// `PutOptions`, `PutMultipartOptions`, `CopyOptions` and `RenameOptions`.
///
/// ```
/// use keyward::{EncryptionContext, object::Sse};
/// use object_store::PutOptions;
///
/// let context = EncryptionContext::from_pairs([("tenant", "acme")])?;
/// let mut options = PutOptions::default();
/// options.extensions.insert(Sse::kms("payments".parse()?).context(context));
/// # Ok::<(), keyward::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Sse {
    pub(super) mode: Mode,
    pub(super) key: SseKey,
    pub(super) context: EncryptionContext,
    pub(super) bucket_key: bool,
    /// What opened the content, if it comes from another object.
    pub(super) source: Option<(WrappingAlgorithm, Origin)>,
}

#[derive(Clone, Debug)]
pub(super) enum SseKey {
    Named(KeyName),
    Managed,
    Customer(Arc<CustomerKey>),
}

impl Sse {
    fn of(mode: Mode, key: SseKey) -> Self {
        Self { mode, key, context: EncryptionContext::new(), bucket_key: false, source: None }
    }

    /// SSE-KMS: under the current version of this master key.
    #[must_use]
    pub fn kms(key: KeyName) -> Self {
        Self::of(Mode::Kms, SseKey::Named(key))
    }

    /// SSE-S3: under the store's managed key ([`Builder::managed_key`](super::Builder::managed_key)).
    #[must_use]
    pub fn s3() -> Self {
        Self::of(Mode::S3, SseKey::Managed)
    }

    /// SSE-C: under the caller's own key, which is needed again with each get ([`OpenWith::customer_key`]).
    #[must_use]
    pub fn customer(key: Arc<CustomerKey>) -> Self {
        Self::of(Mode::Customer, SseKey::Customer(key))
    }

    /// Client-side, under a master key.
    #[must_use]
    pub fn client(key: KeyName) -> Self {
        Self::of(Mode::Client, SseKey::Named(key))
    }

    /// Client-side, under the caller's own key.
    #[must_use]
    pub fn client_with_customer_key(key: Arc<CustomerKey>) -> Self {
        Self::of(Mode::Client, SseKey::Customer(key))
    }

    /// More pairs for the encryption context. The path of the object is in it anyway.
    #[must_use]
    pub fn context(mut self, context: EncryptionContext) -> Self {
        self.context = context;
        self
    }

    /// Whether data keys may be shared with other objects, as with S3 Bucket Keys: the path is then bound by the
    /// object's body and not by the wrapped data key, so that one call to the provider serves many objects. That needs
    /// a provider that keeps data keys ([`Builder::bucket_keys`](super::Builder::bucket_keys)). With a customer's own
    /// key there is nothing to share, and it changes nothing.
    #[must_use]
    pub fn bucket_key(mut self, enabled: bool) -> Self {
        self.bucket_key = enabled;
        self
    }

    /// States that the content comes from an object that was opened with `open` and found to be encrypted as `is` says:
    /// what an RSA key opened is then put under a symmetric key only if `open` asserts its
    /// [origin](OpenWith::danger_assert_origin), and refused with `OriginUnverified` else. Copies and renames within a
    /// store do this by themselves; a program that gets an object and puts it elsewhere does it here.
    #[must_use]
    pub fn copied_from(mut self, is: &Encryption, open: &OpenWith) -> Self {
        self.source = is.opening.as_ref().map(|opening| (opening.entry.algorithm, open.origin));
        self
    }

    /// Who holds the key.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    pub(super) fn shares_data_keys(&self) -> bool {
        self.bucket_key && !matches!(self.key, SseKey::Customer(_))
    }

    pub(super) fn customer_key(&self) -> Option<&Arc<CustomerKey>> {
        match &self.key {
            SseKey::Customer(key) => Some(key),
            SseKey::Named(_) | SseKey::Managed => None,
        }
    }
}

/// With what an object is opened: for one request through the `extensions` of `GetOptions`, and of `CopyOptions` and
/// `RenameOptions` for the source; or for the requests that have none, the store's
/// ([`Builder::open_with`](super::Builder::open_with)).
///
/// It is the caller who chooses: with a customer's key only objects under that key open, and without only objects
/// under master keys.
///
/// ```
/// use keyward::{key::CustomerKey, object::OpenWith};
/// use object_store::GetOptions;
/// use std::sync::Arc;
///
/// let key = Arc::new(CustomerKey::from_slice(&[7; 32])?); // 32 random bytes
/// let mut options = GetOptions::default();
/// options.extensions.insert(OpenWith::customer_key(key));
/// # Ok::<(), keyward::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct OpenWith {
    pub(super) customer: Option<Arc<CustomerKey>>,
    pub(super) context: Option<EncryptionContext>,
    pub(super) origin: Origin,
}

impl OpenWith {
    /// The store's provider, whatever master key the object is under.
    #[must_use]
    pub fn master_key() -> Self {
        Self::default()
    }

    /// The caller's own key.
    #[must_use]
    pub fn customer_key(key: Arc<CustomerKey>) -> Self {
        Self { customer: Some(key), ..Self::default() }
    }

    /// Allows a copy or a rename to move what an RSA key opened under a symmetric key. The caller knows who wrote the
    /// source: anyone with the public half of the RSA key can have written it.
    #[must_use]
    pub fn danger_assert_origin(mut self) -> Self {
        self.origin = Origin::DangerAsserted;
        self
    }

    /// What the context must be, the store's own pairs left out. Without this, each is accepted: as S3 does, the
    /// store passes on the object's own, and the key's policy decides.
    #[must_use]
    pub fn context(mut self, context: EncryptionContext) -> Self {
        self.context = Some(context);
        self
    }
}

/// What an object is encrypted with, in the `extensions` of every `GetResult`. After a get it is what opening the object
/// has confirmed; after a head without a customer's key it is what the store claims.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Encryption {
    /// Who holds the key.
    pub mode: Mode,
    /// After a get the version of a master key that opened it. After a head those that its header names, which are not
    /// authentic, or none if the wrapped keys are kept apart. None with a customer's own key.
    pub keks: Vec<KekId>,
    /// What opening the object has confirmed, or `None` after a head that opened nothing.
    pub opening: Option<Opening>,
    /// Whether its data key may be shared with other objects.
    pub bucket_key: bool,
    /// The encryption context, without the store's own pairs.
    pub context: EncryptionContext,
}

/// What S3 answers these things under.
const SSE: &str = "x-amz-server-side-encryption";
const KEY_ID: &str = "x-amz-server-side-encryption-aws-kms-key-id";
const BUCKET_KEY: &str = "x-amz-server-side-encryption-bucket-key-enabled";
const CUSTOMER: &str = "x-amz-server-side-encryption-customer-algorithm";
const NAMES: [&str; 4] = [SSE, KEY_ID, BUCKET_KEY, CUSTOMER];

impl Encryption {
    /// Adds what S3 would say.
    pub(super) fn show(&self, attributes: &mut Attributes) {
        let mut say = |name: &'static str, value: String| {
            attributes.insert(Attribute::Metadata(name.into()), value.into());
        };
        match self.mode {
            Mode::Kms => {
                say(SSE, Mode::Kms.name().into());
                if let Some(kek) = self.keks.first() {
                    say(KEY_ID, kek.to_string());
                }
            }
            Mode::S3 => say(SSE, Mode::S3.name().into()),
            Mode::Customer => say(CUSTOMER, "AES256".into()),
            Mode::Client => {}
        }
        if self.bucket_key && self.mode != Mode::Client {
            say(BUCKET_KEY, "true".into());
        }
    }

    /// The attributes without these: they follow from the header and are not stored, so that what a get gave can be
    /// put again.
    pub(super) fn hide(attributes: &Attributes) -> Attributes {
        let is_ours = |name: &Attribute| matches!(name, Attribute::Metadata(name) if NAMES.contains(&name.as_ref()));
        let others = attributes.iter().filter(|(name, _)| !is_ours(name));
        others.map(|(name, value)| (name.clone(), value.clone())).collect()
    }
}
