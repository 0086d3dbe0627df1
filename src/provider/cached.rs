//! A provider that keeps data keys around another.

// A method that is added to the traits does not compile until it is decided whether its answer is kept.
#![deny(clippy::missing_trait_methods)]

mod admin;
mod count;
#[cfg(feature = "object-store")]
mod kept;
mod limits;
mod shelf;
mod store;
mod watch;

use crate::error::Result;
use crate::key::{
    DataKey, DataKeyLength, EncryptionContext, KeyDescription, KeyName, KeyProvider, KeyRef, Origin, UnwrappedKey,
    WrappedKeys,
};
pub use count::CacheStats;
use count::Counts;
#[cfg(feature = "object-store")]
pub(crate) use kept::Kept;
pub use limits::CacheLimits;
use sha2::{Digest, Sha256};
use shelf::Id;
use std::fmt;
use std::time::Instant;
use store::{Clock, Store, Taken};
use watch::Watch;

/// Keeps data keys in memory and uses them again, so that not every message costs a call to the token.
///
/// It stands inside of what decides and records, and around what is slow or may be away:
/// `Governed(Cached(Failover(HsmProvider)))`. So policies are asked about hits, and the audit log has them, too.
///
/// # For encrypting
///
/// [`data_key_for_message`](KeyProvider::data_key_for_message) gives one data key to many messages under the same
/// key name, context and length: to [`max_messages`](CacheLimits::max_messages) of them, of together at most
/// [32 TiB](CacheLimits::MAX_BYTES), while it is no older than [`max_age`](CacheLimits::max_age). Each message counts
/// with the length that was said, whatever it turns out to be. A longer one gets a data key of its own.
///
/// [`generate_data_key`](KeyProvider::generate_data_key) is never answered from memory: what asks for a fresh key
/// gets one. So it depends on the caller whether anything is kept. An [`Encryptor`](crate::Encryptor) shares data
/// keys where it knows how much there is to encrypt: in [`encrypt`](crate::Encryptor::encrypt), and for streams and
/// files where [`max_len`](crate::Encryptor::max_len) says it. A stream without that may have no end, and has a data
/// key of its own. Where contexts differ from message to message, nothing is shared.
///
/// # For decrypting
///
/// [`unwrap_data_key`](KeyProvider::unwrap_data_key) keeps what it recovers, by all bytes of the wrapped keys and of
/// the context: where one of them differs the provider inside is asked. So are all other methods, always.
///
/// # Once for all
///
/// Where many threads want the same data key and it is not there, one call is made and the others wait for it. Errors
/// are never kept or shared: where that call fails or panics, each of those who waited makes its own, so the longest
/// wait is that of two calls. A call that hangs keeps them all: open tokens with a
/// [`call_timeout`](crate::token::TokenOptions::call_timeout). Where fewer messages than threads share a data key,
/// they wait for one another: `max_messages` should be larger.
///
/// # What it costs
///
/// **A master key that is disabled, rotated or destroyed elsewhere goes on serving from memory**, until `max_age` is
/// over. Changes that are made through this provider ([`KeyAdmin`](crate::KeyAdmin)) forget everything at once, and
/// so does [`clear`](Self::clear). So does [`describe_key`](KeyProvider::describe_key), which always asks, where it
/// hears of a key for the first time, or that it is not what it was: with a log, or policies that look at more than
/// names, [`Governed`](crate::provider::Governed) describes keys before it uses them, and changes are noticed as soon
/// as the token's provider notices them. That also means that a token that is away stops what is governed so.
///
/// Whoever reads the memory of the process gets the data keys that are kept, and with one all its messages. They are
/// in locked memory, and wiped when they are put out: the one that was not used for longest, where there are more
/// than [`max_keys`](CacheLimits::max_keys); one that is used up, or too old. Age is looked at when the provider is
/// used, so that one which is not used for long has keys in memory that it would not use any more: `clear` wipes
/// them. The clock stands still on some systems while the machine is suspended, and so does age.
///
/// A log around it counts each message as an AES-GCM wrap, also where the data key was kept: the count is an upper
/// bound, and reaches its limit too early rather than too late.
///
/// # Errors
/// Those of the provider inside.
///
/// # Panics
/// Where the provider inside does.
///
/// ```
/// use keyward::provider::{CacheLimits, Cached};
/// use keyward::{AlgorithmChoice, Decryptor, Encryptor, KeyAdmin, KeyName};
/// use std::time::Duration;
/// # let provider = keyward::testkit::MemoryProvider::new();
/// let key: KeyName = "records".parse()?;
/// provider.create_key(&key, AlgorithmChoice::Auto)?;
///
/// let cached = Cached::new(provider, CacheLimits::new(Duration::from_secs(300), 1000, 500)?);
/// let encryptor = Encryptor::new(&cached, &key);
/// let records = [encryptor.encrypt(b"one")?, encryptor.encrypt(b"two")?];
/// assert_eq!((cached.stats().generate_hits, cached.stats().generate_misses), (1, 1));
///
/// let decryptor = Decryptor::new(&cached);
/// assert_eq!(decryptor.decrypt(&records[0])?, b"one");
/// assert_eq!(decryptor.decrypt(&records[1])?, b"two");
/// assert_eq!((cached.stats().unwrap_hits, cached.stats().unwrap_misses), (1, 1));
/// # Ok::<(), keyward::Error>(())
/// ```
pub struct Cached<P> {
    inner: P,
    limits: CacheLimits,
    shared: Store<Shared>,
    recovered: Store<UnwrappedKey>,
    watch: Watch,
    clock: Box<Clock<'static>>,
}

impl<P> Cached<P> {
    /// `inner`, whose data keys are kept within these limits.
    #[must_use]
    pub fn new(inner: P, limits: CacheLimits) -> Self {
        let (max_age, max_keys) = (limits.max_age(), limits.max_keys());
        Self {
            inner,
            limits,
            shared: Store::new(Counts::of("generate"), max_age, max_keys),
            recovered: Store::new(Counts::of("unwrap"), max_age, max_keys),
            watch: Watch::default(),
            clock: Box::new(Instant::now),
        }
    }

    /// Tells the age of data keys by another clock, for the tests of programs that depend on it.
    #[cfg(feature = "testkit")]
    #[must_use]
    pub fn clock(mut self, now: impl Fn() -> Instant + Send + Sync + 'static) -> Self {
        self.clock = Box::new(now);
        self
    }

    /// The limits.
    #[must_use]
    pub fn limits(&self) -> CacheLimits {
        self.limits
    }

    /// Forgets all data keys, and wipes them. What is asked of a token at this moment is not kept either.
    pub fn clear(&self) {
        self.shared.clear();
        self.recovered.clear();
    }

    /// What it has done so far.
    #[must_use]
    pub fn stats(&self) -> CacheStats {
        let [generate_hits, generate_misses, used] = self.shared.counts.read();
        let [unwrap_hits, unwrap_misses, recovered] = self.recovered.counts.read();
        CacheStats {
            generate_hits,
            generate_misses,
            unwrap_hits,
            unwrap_misses,
            evicted: used + recovered,
            kept: self.shared.len() + self.recovered.len(),
        }
    }

    /// Forgets what is too old.
    fn sweep(&self) {
        self.shared.sweep(&*self.clock);
        self.recovered.sweep(&*self.clock);
    }
}

/// A data key that encrypts many messages, and what is left of it.
struct Shared {
    data_key: DataKey,
    wrapped: WrappedKeys,
    messages: u32,
    bytes: u64,
}

impl Shared {
    /// The key for one more message of this length.
    fn take(&mut self, len: u64) -> Taken<(DataKey, WrappedKeys)> {
        let (Some(messages), Some(bytes)) = (self.messages.checked_sub(1), self.bytes.checked_sub(len)) else {
            return Taken::Nothing;
        };
        (self.messages, self.bytes) = (messages, bytes);
        let answer = (self.data_key.duplicate(), self.wrapped.clone());
        if messages == 0 { Taken::Last(answer) } else { Taken::Some(answer) }
    }
}

impl<P: KeyProvider> KeyProvider for Cached<P> {
    fn describe_key(&self, key: KeyRef<'_>) -> Result<KeyDescription> {
        self.sweep();
        let described = self.inner.describe_key(key);
        // Nothing that was allowed before goes on being done when the key is seen to be another.
        self.watch.on_change(key, &described, || self.clear());
        described
    }

    fn generate_data_key(
        &self,
        key: &KeyName,
        context: &EncryptionContext,
        length: DataKeyLength,
    ) -> Result<(DataKey, WrappedKeys)> {
        self.sweep();
        // A fresh one was asked for, and may be used in ways in which a shared one must not.
        self.inner.generate_data_key(key, context, length)
    }

    fn data_key_for_message(
        &self,
        key: &KeyName,
        context: &EncryptionContext,
        length: DataKeyLength,
        message_len: u64,
    ) -> Result<(DataKey, WrappedKeys)> {
        self.recovered.sweep(&*self.clock);
        // Fresh also where it will be shared: a key that another cache inside shares already would be counted twice.
        let generate = || self.inner.generate_data_key(key, context, length);
        if message_len > CacheLimits::MAX_BYTES || self.limits.max_messages() == 1 {
            self.shared.sweep(&*self.clock);
            self.shared.counts.miss();
            return generate();
        }
        let make = || {
            let (data_key, wrapped) = generate()?;
            let shared = Shared {
                data_key: data_key.duplicate(),
                wrapped: wrapped.clone(),
                messages: self.limits.max_messages() - 1,
                bytes: CacheLimits::MAX_BYTES - message_len,
            };
            Ok(((data_key, wrapped), shared))
        };
        let id = shared_id(key, context, length);
        self.shared.take_or_make(id, &*self.clock, |shared| shared.take(message_len), make)
    }

    fn wrap_data_key(&self, key: &KeyName, context: &EncryptionContext, data_key: &DataKey) -> Result<WrappedKeys> {
        self.sweep();
        self.inner.wrap_data_key(key, context, data_key)
    }

    fn unwrap_data_key(&self, wrapped: &WrappedKeys, context: &EncryptionContext) -> Result<UnwrappedKey> {
        self.shared.sweep(&*self.clock);
        let make = || {
            let unwrapped = self.inner.unwrap_data_key(wrapped, context)?;
            let kept = unwrapped.duplicate();
            Ok((unwrapped, kept))
        };
        // Every byte counts: what differs in any was never shown to the token, and has to be.
        let entries = wrapped.iter().map(|one| one.to_bytes());
        let id = id(entries.chain([context.to_bytes()]));
        self.recovered.take_or_make(id, &*self.clock, |unwrapped| Taken::Some(unwrapped.duplicate()), make)
    }

    fn rewrap_data_key(
        &self,
        wrapped: &WrappedKeys,
        context: &EncryptionContext,
        to: &KeyName,
        origin: Origin,
    ) -> Result<WrappedKeys> {
        self.sweep();
        self.inner.rewrap_data_key(wrapped, context, to, origin)
    }
}

/// What a data key for messages is kept by.
fn shared_id(key: &KeyName, context: &EncryptionContext, length: DataKeyLength) -> Id {
    id([key.as_str().as_bytes(), &[u8::from(length == DataKeyLength::Bytes32)], &context.to_bytes()])
}

/// A SHA-256 of these parts, each with its length, so that no two lists of parts run together into one. The number of
/// parts follows from where the last one ends.
fn id(parts: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Id {
    let mut hash = Sha256::new();
    for part in parts {
        let part = part.as_ref();
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

impl<P> fmt::Debug for Cached<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cached").field("limits", &self.limits).field("stats", &self.stats()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_run_together() {
        let ids = [id(["ab", "c"]), id(["a", "bc"]), id(["abc", ""]), id(["abc"]), id(["", "abc"])];
        for (n, one) in ids.iter().enumerate() {
            assert!(ids[n + 1..].iter().all(|other| other != one), "{n}");
        }
        assert_eq!(id(["ab", "c"]), ids[0]);
    }

    #[test]
    fn a_shared_key_is_out_after_its_last_message_or_byte() {
        let data_key = DataKey::from_slice(&[7; 32]).unwrap();
        let wrapped = crate::WrappedKey::new(
            crate::WrapOccasion::Generation,
            crate::WrappingAlgorithm::AesKw,
            crate::KekId::from_bytes([0; 16]),
            [],
            [0; 72],
        );
        let mut shared = Shared { data_key, wrapped: wrapped.unwrap().into(), messages: 3, bytes: 10 };
        assert!(matches!(shared.take(11), Taken::Nothing));
        assert!(matches!(shared.take(10), Taken::Some(_)));
        assert!(matches!(shared.take(1), Taken::Nothing));
        assert!(matches!(shared.take(0), Taken::Some(_)));
        assert!(matches!(shared.take(0), Taken::Last(_)));
        assert!(matches!(shared.take(0), Taken::Nothing));
    }

    #[cfg(all(feature = "metrics", feature = "testkit"))]
    #[test]
    fn metrics_count_what_the_stats_count() {
        use crate::{AlgorithmChoice, KeyAdmin};
        use metrics_util::debugging::{DebugValue, DebuggingRecorder};
        let recorder = DebuggingRecorder::new();
        let limits = CacheLimits::new(std::time::Duration::from_secs(9), 3, 1).unwrap();
        let cached = Cached::new(crate::testkit::MemoryProvider::new(), limits);
        let key: KeyName = "secret-name".parse().unwrap();
        let context = EncryptionContext::from_pairs([("secret-pair", "secret-value")]).unwrap();
        cached.create_key(&key, AlgorithmChoice::Auto).unwrap();
        metrics::with_local_recorder(&recorder, || {
            let message = |context: &EncryptionContext| {
                cached.data_key_for_message(&key, context, DataKeyLength::Bytes32, 1).unwrap()
            };
            message(&EncryptionContext::new());
            message(&context); // one too many are kept
            let (_, wrapped) = message(&context);
            message(&context); // used up
            cached.unwrap_data_key(&wrapped, &context).unwrap();
            cached.unwrap_data_key(&wrapped, &context).unwrap();
            cached.clear();
        });
        let told: Vec<_> = recorder.snapshotter().snapshot().into_vec();
        assert!(!format!("{told:?}").contains("secret"), "{told:?}");
        let count = |name: &str, labels: [&str; 2]| {
            let is = |key: &metrics::Key| key.name() == name && key.labels().map(|label| label.value()).eq(labels);
            match told.iter().find(|(key, ..)| is(key.key())) {
                Some((.., DebugValue::Counter(count))) => *count,
                _ => 0,
            }
        };
        let asked = |operation, outcome| count("keyward_data_key_cache_total", [operation, outcome]);
        let evicted = |operation, reason| count("keyward_data_key_cache_evicted_total", [operation, reason]);
        assert_eq!([asked("generate", "hit"), asked("generate", "miss")], [2, 2]);
        assert_eq!([asked("unwrap", "hit"), asked("unwrap", "miss")], [1, 1]);
        assert_eq!(["age", "count", "used up", "cleared"].map(|reason| evicted("generate", reason)), [0, 1, 1, 0]);
        assert_eq!(["age", "count", "used up", "cleared"].map(|reason| evicted("unwrap", reason)), [0, 0, 0, 1]);
        let stats = cached.stats();
        assert_eq!((stats.generate_hits, stats.generate_misses, stats.evicted, stats.kept), (2, 2, 3, 0));
    }
}
