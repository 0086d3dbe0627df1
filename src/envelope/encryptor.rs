//! Encrypting: who can open what is made, and what stands before its chunks.

use super::body::{BodyKey, SALT_LEN};
use super::core::{Core, choose_slots_len};
use super::pipeline::Pipeline;
use super::room::Room;
use super::slots::{DetachedSlots, Half, half_len};
use super::writer::EncryptWriter;
use super::{BODY_CONTEXT, memory, verifier};
use crate::cipher::{Engine, random};
use crate::error::{Error, ErrorKind, Result};
use crate::key::{CustomerKey, DataKey, DataKeyLength, EncryptionContext, KeyName, KeyProvider, WrappedKeys};
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

    /// The length of the area for wrapped keys, 256 to 65536 bytes, where what is chosen by itself
    /// does not do: a store that wants all headers alike.
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
        let (header, key) = self.header(self.max_len)?;
        self.begin(&header, key, inner)
    }

    /// A writer that encrypts to `inner`, and the wrapped keys, which are not written there but
    /// stored apart. Store them first: without them the rest cannot be opened.
    ///
    /// # Errors
    /// As [`writer`](Self::writer).
    pub fn writer_detached<W: Write>(&self, inner: W) -> Result<(EncryptWriter<W>, DetachedSlots)> {
        let (header, key, detached) = self.header_detached(self.max_len)?;
        Ok((self.begin(&header, key, inner)?, detached))
    }

    /// Everything before the chunks, the key of the body, and the wrapped keys.
    pub(super) fn header_detached(&self, max_len: Option<u64>) -> Result<(Vec<u8>, BodyKey, DetachedSlots)> {
        let (data_key, keys) = self.data_key(max_len)?;
        let core = Core::new(true, self.slots_len.unwrap_or(0), &self.context)?;
        let keys = match (keys, &self.protection) {
            (None, Protection::Customer { key, .. }) => verifier::entry(key, core.as_bytes())?.into(),
            (Some(keys), _) => keys,
            (None, _) => return Err(Error::new(ErrorKind::Internal, "no keys to wrap with")),
        };
        let detached = DetachedSlots::from_half(Half::first(&keys))?;
        let (header, key) = self.derive(&core, &vec![0; core.slots_len], data_key.as_ref())?;
        Ok((header, key, detached))
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
        let (header, key) = self.header(Some(len as u64))?;
        let threads = self.threads.map_or(1, NonZeroUsize::get);
        memory::seal(&key, &[&header], plaintext, envelope, threads).inspect_err(|_| envelope.clear())
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

    pub(super) fn pipeline(&self) -> Pipeline<'a> {
        Pipeline { threads: self.threads, progress: self.progress }
    }

    /// Everything before the chunks, and the key of the body.
    pub(super) fn header(&self, max_len: Option<u64>) -> Result<(Vec<u8>, BodyKey)> {
        let (data_key, keys) = self.data_key(max_len)?;
        let half = keys.as_ref().map(Half::first);
        // A verifier's length is known before the CORE that it depends on.
        let needed = half.as_ref().map_or(super::slots::HALF_OVERHEAD + CUSTOMER_ENTRY_LEN, Half::len);
        let slots_len = choose_slots_len(self.slots_len, needed)?;
        let core = Core::new(false, slots_len, &self.context)?;
        let half = match (half, &self.protection) {
            (None, Protection::Customer { key, .. }) => Half::first(&verifier::entry(key, core.as_bytes())?.into()),
            (Some(half), _) => half,
            (None, _) => return Err(Error::new(ErrorKind::Internal, "no keys to wrap with")),
        };
        let mut slots = half.encode(half_len(core.slots_len))?;
        slots.resize(core.slots_len, 0);
        self.derive(&core, &slots, data_key.as_ref())
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

    fn derive(&self, core: &Core, slots: &[u8], data_key: Option<&DataKey>) -> Result<(Vec<u8>, BodyKey)> {
        let input_key = match (&self.protection, data_key) {
            (Protection::Customer { key, .. }, _) => key.as_data_key(),
            (_, Some(data_key)) => data_key,
            (_, None) => return Err(Error::new(ErrorKind::Internal, "no data key")),
        };
        let mut salt = [0; SALT_LEN];
        random(&mut salt)?;
        let key = BodyKey::derive(self.engine, input_key, &salt, &[BODY_CONTEXT, core.as_bytes()])?;
        Ok(([core.as_bytes(), slots, &salt, key.commitment()].concat(), key))
    }

    fn begin<W: Write>(&self, header: &[u8], key: BodyKey, inner: W) -> Result<EncryptWriter<W>> {
        EncryptWriter::begin(header, key, inner, Room::of(self.max_len), self.threads)
    }
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
