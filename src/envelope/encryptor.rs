//! Encrypting: who can open what is made, and what stands before its chunks.

use super::body::{BodyKey, SALT_LEN};
use super::core::{Core, SlotsForm, choose_slots_len};
use super::pipeline::Pipeline;
use super::room::Room;
use super::slots::{self, DetachedSlots, SlotCopy, SlotsKey, area_len};
use super::writer::EncryptWriter;
use super::{BODY_CONTEXT, memory, verifier};
use crate::cipher::{Engine, random};
use crate::error::{Error, ErrorKind, Result};
use crate::key::{
    CustomerKey, DataKey, DataKeyLength, EncryptionContext, KeyName, KeyProvider, Origin, WrappedKey, WrappedKeys,
    WrappingAlgorithm,
};
use std::fmt;
use std::io::Write;
use std::num::NonZeroUsize;

/// Encrypts: every output gets a data key of its own.
///
/// ```no_run
/// use keyward::durable::Replace;
/// use keyward::{EncryptionContext, Encryptor, KeyName, KeyProvider};
/// # fn example(hsm: &dyn KeyProvider) -> keyward::Result<()> {
/// let key: KeyName = "backups".parse()?;
/// let context = EncryptionContext::from_pairs([("host", "db1")])?;
/// Encryptor::new(hsm, &key).context(context).encrypt_file("dump.sql".as_ref(), "dump.sql.kw".as_ref(), Replace::No)?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Encryptor<'a> {
    protection: Protection<'a>,
    context: EncryptionContext,
    engine: Engine,
    slots_len: Option<u32>,
    compact: bool,
    source: Option<(WrappingAlgorithm, Origin)>,
    symmetric_only: bool,
    max_len: Option<u64>,
    threads: Option<NonZeroUsize>,
    pub(super) progress: Option<&'a (dyn Fn(u64) + Sync)>,
}

#[derive(Clone)]
enum Protection<'a> {
    /// At least one.
    Keys(Vec<(&'a dyn KeyProvider, KeyName)>),
    Customer {
        key: &'a CustomerKey,
        alone: bool,
    },
}

impl<'a> Encryptor<'a> {
    /// Encrypts under the current version of the master key `key`.
    #[must_use]
    pub fn new(provider: &'a dyn KeyProvider, key: &KeyName) -> Self {
        Self::with(Protection::Keys(vec![(provider, key.clone())]))
    }

    /// Encrypts under the customer's own key, without any provider.
    #[must_use]
    pub fn with_customer_key(key: &'a CustomerKey) -> Self {
        Self::with(Protection::Customer { key, alone: true })
    }

    fn with(protection: Protection<'a>) -> Self {
        Self {
            protection,
            context: EncryptionContext::new(),
            engine: Engine::default(),
            slots_len: None,
            compact: false,
            source: None,
            symmetric_only: false,
            max_len: None,
            threads: None,
            progress: None,
        }
    }

    /// One more master key that can open what is encrypted; up to 16 in all. A customer's key
    /// stands alone: together, encrypting fails with `InvalidArgument`.
    #[must_use]
    pub fn also(mut self, provider: &'a dyn KeyProvider, key: &KeyName) -> Self {
        match &mut self.protection {
            Protection::Keys(keys) => keys.push((provider, key.clone())),
            Protection::Customer { alone, .. } => *alone = false,
        }
        self
    }

    /// The encryption context: not secret, and needed again, byte for byte, to decrypt.
    #[must_use]
    pub fn context(mut self, context: EncryptionContext) -> Self {
        self.context = context;
        self
    }

    /// The engine.
    #[must_use]
    pub fn engine(mut self, engine: Engine) -> Self {
        self.engine = engine;
        self
    }

    /// Makes compact envelopes, for records: with one slot copy of exactly the needed length, so that an envelope under
    /// one AES-GCM key is 229 bytes longer than its plaintext. A rewrap replaces such an envelope as a whole.
    ///
    /// ```
    /// # #[cfg(feature = "testkit")] {
    /// # use keyward::{AlgorithmChoice, Encryptor, KeyAdmin, KeyName};
    /// # let provider = keyward::testkit::MemoryProvider::new();
    /// # let key: KeyName = "records".parse()?;
    /// # provider.create_key(&key, AlgorithmChoice::Auto)?;
    /// let sealed = Encryptor::new(&provider, &key).compact().encrypt(b"Ada Lovelace")?;
    /// assert_eq!(sealed.len(), 12 + 229);
    /// # }
    /// # Ok::<(), keyward::Error>(())
    /// ```
    #[must_use]
    pub fn compact(mut self) -> Self {
        self.compact = true;
        self
    }

    /// Refuses RSA keys: readers take what is encrypted for the work of a holder of a symmetric key.
    #[cfg(feature = "object-store")]
    pub(crate) fn symmetric_only(mut self) -> Self {
        self.symmetric_only = true;
        self
    }

    /// Encrypts what came from another envelope, which a key of this algorithm has opened: the origin rule holds.
    pub(crate) fn moved_from(mut self, source: WrappingAlgorithm, origin: Origin) -> Self {
        self.source = Some((source, origin));
        self
    }

    /// Sets the length of the area for wrapped keys, 320 to 65536 bytes, for a store that wants all headers alike. By
    /// default it is twice what the wrapped keys need, and at least 2048 bytes. A compact envelope has no such area.
    #[must_use]
    pub fn slots_len(mut self, len: u32) -> Self {
        self.slots_len = Some(len);
        self
    }

    /// Each plaintext is at most so many bytes long; writing more fails with `LimitExceeded`. Whoever can say so lets
    /// a provider that keeps data keys ([`Cached`](crate::provider::Cached)) use one for many outputs. Otherwise
    /// every stream and every file has a data key of its own; [`encrypt`](Self::encrypt) knows the length itself.
    ///
    /// ```no_run
    /// use keyward::durable::Replace;
    /// use keyward::provider::{CacheLimits, Cached};
    /// use keyward::{Encryptor, KeyName, KeyProvider};
    /// use std::{fs, path::Path, time::Duration};
    /// # fn example(hsm: &dyn KeyProvider) -> Result<(), Box<dyn std::error::Error>> {
    /// let key: KeyName = "backups".parse()?;
    /// let cached = Cached::new(hsm, CacheLimits::new(Duration::from_secs(300), 1000, 500)?);
    /// let encryptor = Encryptor::new(&cached, &key);
    /// for input in ["one", "two"].map(Path::new) {
    ///     let len = fs::metadata(input)?.len();
    ///     encryptor.clone().max_len(len).encrypt_file(input, &input.with_extension("kw"), Replace::No)?;
    /// }
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn max_len(mut self, len: u64) -> Self {
        self.max_len = Some(len);
        self
    }

    /// The same, and every output gets a data key that is used for nothing else.
    pub(super) fn with_fresh_keys(&self) -> Self {
        Self { max_len: None, ..self.clone() }
    }

    /// The most threads that work at once. By default files and streams take all cores, as soon as
    /// they are longer than half a MiB, and calls in memory take one.
    #[must_use]
    pub fn threads(mut self, threads: NonZeroUsize) -> Self {
        self.threads = Some(threads);
        self
    }

    /// Calls `progress` with the plaintext bytes done so far, in whole-file calls.
    #[must_use]
    pub fn progress(mut self, progress: &'a (dyn Fn(u64) + Sync)) -> Self {
        self.progress = Some(progress);
        self
    }

    /// A writer that encrypts to `inner`. The header is written at once.
    ///
    /// # Errors
    /// What the provider answers; `LimitExceeded` for more than 16 keys or a slots length that is
    /// too small for them; `Io` where writing fails.
    pub fn writer<W: Write>(&self, inner: W) -> Result<EncryptWriter<W>> {
        let head = self.head(self.max_len, Placement::Inside)?;
        self.begin(&head.bytes, head.key, inner)
    }

    /// A writer that encrypts to `inner`, and the wrapped keys, which are not written there but
    /// stored apart. Store them first: without them the rest cannot be opened.
    ///
    /// # Errors
    /// As [`writer`](Self::writer), and `InvalidArgument` for compact envelopes.
    pub fn writer_detached<W: Write>(&self, inner: W) -> Result<(EncryptWriter<W>, DetachedSlots)> {
        let NewHead { bytes, key, slots } = self.head(self.max_len, Placement::Apart)?;
        let slots = slots.ok_or_else(|| Error::new(ErrorKind::Internal, "no detached slots"))?;
        Ok((self.begin(&bytes, key, inner)?, slots))
    }

    /// The whole envelope of `plaintext`.
    ///
    /// # Errors
    /// As [`writer`](Self::writer).
    pub fn encrypt(&self, plaintext: &[u8]) -> Result<Vec<u8>> {
        let mut envelope = Vec::new();
        self.encrypt_into(plaintext, &mut envelope)?;
        Ok(envelope)
    }

    /// Makes `envelope` the whole envelope of `plaintext`, in place of what it was.
    ///
    /// Whoever encrypts much gives the same `envelope` again and again: memory that was used before
    /// saves the most of the time that a call takes.
    ///
    /// ```
    /// # #[cfg(feature = "testkit")] {
    /// # use keyward::{AlgorithmChoice, Decryptor, Encryptor, KeyAdmin, KeyName};
    /// # let provider = keyward::testkit::MemoryProvider::new();
    /// # let key: KeyName = "records".parse()?;
    /// # provider.create_key(&key, AlgorithmChoice::Auto)?;
    /// let (encryptor, decryptor) = (Encryptor::new(&provider, &key), Decryptor::new(&provider));
    /// let (mut sealed, mut opened) = (Vec::new(), Vec::new());
    /// for record in ["the first", "the second"] {
    ///     encryptor.encrypt_into(record.as_bytes(), &mut sealed)?;
    ///     decryptor.decrypt_into(&sealed, &mut opened)?;
    ///     assert_eq!(opened, record.as_bytes());
    /// }
    /// # }
    /// # Ok::<(), keyward::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`writer`](Self::writer). `envelope` is then empty or as it was.
    pub fn encrypt_into(&self, plaintext: &[u8], envelope: &mut Vec<u8>) -> Result<()> {
        let len = plaintext.len();
        self.check_len(len as u64)?;
        let head = self.head(Some(len as u64), Placement::Inside)?;
        let threads = self.threads.map_or(1, NonZeroUsize::get);
        memory::seal(&head.key, &[&head.bytes], plaintext, envelope, threads).inspect_err(|_| envelope.clear())
    }

    /// Nothing that is longer than was said gets a name.
    pub(super) fn check_len(&self, len: u64) -> Result<()> {
        Room::of(self.max_len).check_for(usize::try_from(len).unwrap_or(usize::MAX))
    }

    /// What [`max_len`](Self::max_len) said.
    #[cfg(feature = "object-store")]
    pub(super) fn length_limit(&self) -> Option<u64> {
        self.max_len
    }

    /// Returns the master keys that can open what is encrypted; none with a customer's key.
    pub(super) fn master_keys(&self) -> &[(&'a dyn KeyProvider, KeyName)] {
        match &self.protection {
            Protection::Keys(keys) => keys,
            Protection::Customer { .. } => &[],
        }
    }

    pub(super) fn pipeline(&self) -> Pipeline<'a> {
        Pipeline { threads: self.threads, progress: self.progress }
    }

    /// Makes everything that stands before the chunks.
    pub(super) fn head(&self, max_len: Option<u64>, placement: Placement) -> Result<NewHead> {
        let (data_key, keys) = self.data_key(max_len)?;
        let input_key = match (&self.protection, &data_key) {
            (Protection::Customer { key, .. }, _) => key.as_data_key(),
            (Protection::Keys(_), Some(data_key)) => data_key,
            (Protection::Keys(_), None) => return Err(Error::new(ErrorKind::Internal, "no data key")),
        };
        // A verifier's length is known before the CORE that it depends on.
        let needed = keys.as_ref().map_or(slots::OVERHEAD + CUSTOMER_ENTRY_LEN, slots::copy_len);
        let core = Core::new(self.form(placement, needed)?, &self.context)?;
        let keys = match (keys, &self.protection) {
            (Some(keys), _) => keys,
            (None, Protection::Customer { key, .. }) => verifier::entry(key, core.as_bytes())?.into(),
            (None, Protection::Keys(_)) => return Err(Error::new(ErrorKind::Internal, "no keys to wrap with")),
        };
        if self.symmetric_only && keys.iter().any(|key| key.algorithm().is_rsa()) {
            return Err(Error::new(ErrorKind::InvalidArgument, "this needs a symmetric master key, not an RSA key"));
        }
        if let Some((source, origin)) = self.source {
            origin.check(source, keys.iter().map(WrappedKey::algorithm))?;
        }
        let copy = SlotCopy::first(&keys, &SlotsKey::derive(input_key, &core)?)?;
        let (area, detached) = match core.form {
            SlotsForm::Compact => (copy.encode_compact()?, None),
            SlotsForm::Attached(_) => (copy.encode(area_len(core.slots_len()))?, None),
            SlotsForm::Detached(_) => (Vec::new(), Some(DetachedSlots::from_copy(copy)?)),
        };
        let mut salt = [0; SALT_LEN];
        random(&mut salt)?;
        let key = BodyKey::derive(self.engine, input_key, &salt, &[BODY_CONTEXT, core.as_bytes()])?;
        let padding = vec![0; core.slots_len().saturating_sub(area.len())];
        let bytes = [core.as_bytes(), &area, &padding, &salt, key.commitment()].concat();
        Ok(NewHead { bytes, key, slots: detached })
    }

    /// Chooses where the wrapped keys are, of which a slot copy needs `needed` bytes.
    fn form(&self, placement: Placement, needed: usize) -> Result<SlotsForm> {
        let invalid = |what: &'static str| Err(Error::new(ErrorKind::InvalidArgument, what));
        match (placement, self.compact, self.slots_len) {
            (Placement::Apart, true, _) => invalid("a compact envelope holds its wrapped keys itself"),
            (Placement::Inside, true, Some(_)) => invalid("a compact envelope has no area of a fixed length for slots"),
            (Placement::Inside, true, None) => Ok(SlotsForm::Compact),
            (Placement::Inside, false, asked) => choose_slots_len(asked, needed).map(SlotsForm::Attached),
            (Placement::Apart, false, asked) => Ok(SlotsForm::Detached(asked.unwrap_or(0))),
        }
    }

    /// A data key wrapped by all; with a customer's key there is neither. It is a fresh one, unless it is known how
    /// much is to be encrypted.
    fn data_key(&self, max_len: Option<u64>) -> Result<(Option<DataKey>, Option<WrappedKeys>)> {
        let keys = match &self.protection {
            Protection::Keys(keys) => keys,
            Protection::Customer { alone: true, .. } => return Ok((None, None)),
            Protection::Customer { .. } => {
                let message = "a customer's own key stands alone: nothing can be encrypted under a master key as well";
                return Err(Error::new(ErrorKind::InvalidArgument, message));
            }
        };
        if keys.len() > WrappedKeys::MAX {
            return Err(Error::new(ErrorKind::LimitExceeded, "an envelope has at most 16 keys"));
        }
        let Some(((provider, key), others)) = keys.split_first() else {
            return Err(Error::new(ErrorKind::Internal, "no keys to wrap with"));
        };
        let (context, length) = (&*self.context.for_wrapping(), DataKeyLength::Bytes32);
        let (data_key, wrapped) = match max_len {
            // What has no known end could pass what one data key may encrypt, so it does not share one.
            None => provider.generate_data_key(key, context, length)?,
            // Each message has keys of its own, derived from the data key, the random salt and the random id in CORE.
            Some(len) => provider.data_key_for_message(key, context, length, len)?,
        };
        let mut all = wrapped.into_vec();
        for (provider, key) in others {
            all.extend(provider.wrap_data_key(key, context, &data_key)?.into_vec());
        }
        Ok((Some(data_key), Some(WrappedKeys::new(all)?)))
    }

    fn begin<W: Write>(&self, header: &[u8], key: BodyKey, inner: W) -> Result<EncryptWriter<W>> {
        EncryptWriter::begin(header, key, inner, Room::of(self.max_len), self.threads)
    }
}

/// Where the wrapped keys of a new envelope go.
#[derive(Clone, Copy)]
pub(super) enum Placement {
    /// Into the envelope.
    Inside,
    /// To a sidecar, which the caller stores.
    Apart,
}

/// The beginning of a new envelope, whose chunks are still to be made.
pub(crate) struct NewHead {
    /// CORE, SLOTS, salt and commitment.
    pub(crate) bytes: Vec<u8>,
    pub(crate) key: BodyKey,
    /// The wrapped keys, if they are stored apart.
    pub(crate) slots: Option<DetachedSlots>,
}

/// The length prefix and the entry of a customer key: salt and verifier of 32 bytes each.
const CUSTOMER_ENTRY_LEN: usize = 2 + 21 + 32 + 32;

impl fmt::Debug for Encryptor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<_> = match &self.protection {
            Protection::Keys(keys) => keys.iter().map(|(_, name)| name.as_str()).collect(),
            Protection::Customer { .. } => vec!["customer key"],
        };
        f.debug_struct("Encryptor").field("keys", &keys).field("engine", &self.engine).finish_non_exhaustive()
    }
}
