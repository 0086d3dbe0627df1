//! A provider that keeps policies and an audit log around another.

// A method that is added to the traits does not compile until it is governed as well.
#![deny(clippy::missing_trait_methods)]

mod admin;
mod asked;
mod limit;
mod repair;

use crate::audit::{AuditLog, EventKey};
use crate::error::{Error, Result};
use crate::key::{
    DataKey, DataKeyLength, EncryptionContext, KeyDescription, KeyName, KeyProvider, KeyRef, Operation, Origin,
    Principal, UnwrappedKey, WrappedKeys, WrappingAlgorithm,
};
use crate::policy::{Policies, Resource};
use asked::Asked;
use limit::WrapLimit;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

/// Does for a principal what policies allow, and records what was asked and what came of it.
///
/// It stands around everything else, so that what a cache answers is decided and recorded too:
/// `Governed(Cached(Failover(HsmProvider)))`. Without policies everything is allowed; without a log nothing is
/// recorded.
///
/// # What is decided, and when
///
/// Before anything is asked of a key. Where the policies depend on nothing but a key's name, no token is asked at
/// all before a refusal; else the key is looked up first, which reads its attributes and uses no key. A wrapped key
/// names its master key by id, so recovering looks that up in any case, and goes on with those entries alone whose
/// keys the principal may use. What comes back is looked at as well: where the key was rotated meanwhile, and the
/// policies depend on more than its name, they are asked about the version that was used.
///
/// # What is recorded
///
/// Each operation before it is done, and on the disk by then; where that fails the operation is not done (`Io`).
/// What is refused is recorded too. The audit log also counts the AES-GCM wraps of this host under each key version,
/// and wrapping beyond the host's share is refused (`LimitExceeded`): see [`hosts`](Self::hosts). What
/// [`Cached`](crate::provider::Cached) answers from memory counts as well, because it is counted before anybody knows
/// who will answer: the count is never too low.
///
/// # What it is worth
///
/// Whoever holds the PIN can call the token without this provider, and the name of the principal is the word of the
/// program that is linked with it.
///
/// # Errors
/// `PolicyDenied` with the deciding policy and what to ask for; `Io` where the log cannot be written; `LimitExceeded`;
/// and those of the provider inside.
///
/// ```
/// use keyward::audit::{AuditLog, AuditOptions};
/// use keyward::key::Principal;
/// use keyward::policy::Policies;
/// use keyward::provider::Governed;
/// use keyward::{AlgorithmChoice, Encryptor, ErrorKind, KeyAdmin, KeyName};
/// # let provider = keyward::testkit::MemoryProvider::new();
/// # let dir = tempfile::tempdir().unwrap();
/// # let path = dir.path().join("audit.log");
/// let key: KeyName = "payments".parse()?;
/// provider.create_key(&key, AlgorithmChoice::Auto)?;
/// let policies = Policies::parse(
///     "shop.cedar",
///     r#"permit(principal == Keyward::User::"shop", action == Keyward::Action::"GenerateDataKey", resource);"#,
/// )?;
/// let log = AuditLog::open(&path, AuditOptions::default())?;
///
/// let governed = Governed::new(provider, Principal::new("shop")?).policies(policies).log(log);
/// Encryptor::new(&governed, &key).encrypt(b"hello")?;
///
/// let mallory = governed.as_principal(Principal::new("mallory")?);
/// let refused = Encryptor::new(&mallory, &key).encrypt(b"hello").unwrap_err();
/// assert_eq!(refused.kind(), ErrorKind::PolicyDenied);
/// # Ok::<(), keyward::Error>(())
/// ```
pub struct Governed<P> {
    inner: P,
    principal: Principal,
    policies: Option<Arc<Policies>>,
    log: Option<AuditLog>,
    limit: Arc<WrapLimit>,
}

impl<P> Governed<P> {
    /// `inner`, for this principal; without policies or a log so far.
    #[must_use]
    pub fn new(inner: P, principal: Principal) -> Self {
        Self { inner, principal, policies: None, log: None, limit: Arc::default() }
    }

    /// Denies what these policies do not allow.
    #[must_use]
    pub fn policies(mut self, policies: Policies) -> Self {
        self.policies = Some(Arc::new(policies));
        self
    }

    /// Records in this log.
    #[must_use]
    pub fn log(mut self, log: AuditLog) -> Self {
        self.log = Some(log);
        self
    }

    /// Sets how many hosts wrap under the same keys: 1 by default. Each may wrap seven eighths of its share of the 2^32
    /// times that AES-GCM allows for one key version with random IVs (NIST SP 800-38D, section 8.3), by the count in the
    /// audit log; the rest is room for wraps that an attacker hides by cutting the log off after its last anchor. A
    /// warning comes at half of it, and a refusal beyond.
    #[must_use]
    pub fn hosts(mut self, hosts: NonZeroU32) -> Self {
        self.limit = Arc::new(WrapLimit::share_of(hosts));
        self
    }

    /// The same limit as a number, never more than seven eighths of 2^32.
    #[must_use]
    pub fn max_gcm_wraps(mut self, max: u64) -> Self {
        self.limit = Arc::new(WrapLimit::new(max));
        self
    }

    /// The same provider, for another principal: under the same policies, in the same log.
    #[must_use]
    pub fn as_principal(&self, principal: Principal) -> Governed<&P> {
        Governed {
            inner: &self.inner,
            principal,
            policies: self.policies.clone(),
            log: self.log.clone(),
            limit: Arc::clone(&self.limit),
        }
    }

    /// For whom it acts.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.principal
    }
}

impl<P: KeyProvider> Governed<P> {
    /// Decides about something that is asked of a key past [`KeyProvider`] and [`KeyAdmin`](crate::KeyAdmin), and
    /// records it: for tools that do more than these two. It may be done when this returns `Ok`, and not otherwise.
    ///
    /// # Errors
    /// As for every operation.
    pub fn admit(&self, operation: Operation, key: &KeyName) -> Result<()> {
        let asked = Asked::of(operation);
        let decided = || match self.decide(asked, Resource::Named(key))? {
            true => Ok(()),
            false => self.decide(asked, Resource::Key(&self.inner.describe_key(KeyRef::Name(key))?)).map(drop),
        };
        decided().map_err(|error| self.refused(asked, [key.into()], error))?;
        self.recorded(asked, vec![key.into()], &[], || Ok(()), |()| Vec::new())
    }
}

/// The key that something is to be protected with: what is known of it before.
struct Target {
    /// Its current version, and those of siblings on other tokens; none where nobody needs to know.
    keys: Vec<KeyDescription>,
    /// Whether the policies had to be asked about each of them.
    by_version: bool,
}

impl Target {
    fn event_keys(&self, name: &KeyName) -> Vec<EventKey> {
        match self.keys.is_empty() {
            true => vec![name.into()],
            false => self.keys.iter().map(EventKey::from).collect(),
        }
    }

    /// The keys that something was wrapped under, with what is known of them.
    fn used(&self, wrapped: &WrappedKeys) -> Vec<EventKey> {
        let known = |id| self.keys.iter().find(|key| key.kek_id == id).map(EventKey::from);
        wrapped.iter().map(|one| known(one.kek_id()).unwrap_or_else(|| one.kek_id().into())).collect()
    }
}

impl<P: KeyProvider> Governed<P> {
    /// Decides about the key that is to protect, and looks it up where policies or the log must know more.
    fn target(&self, asked: Asked<'_>, name: &KeyName) -> Result<Target> {
        let by_version = !self.decide(asked, Resource::Named(name))?;
        let mut keys = Vec::new();
        if by_version || self.log.is_some() {
            let current = self.inner.describe_key(KeyRef::Name(name))?;
            let also = current.also.clone();
            keys.push(current);
            for id in also {
                match self.inner.describe_key(KeyRef::Kek(id)) {
                    Ok(sibling) => keys.push(sibling),
                    // It went down just now and will not protect; or it is back in time, and is looked at after.
                    Err(error) if error.kind().is_unavailable() => {}
                    Err(error) => return Err(error),
                }
            }
        }
        if by_version {
            for key in &keys {
                self.decide(asked, Resource::Key(key))?;
            }
        }
        Ok(Target { keys, by_version })
    }

    /// Looks at what was protected: a version that was not decided about, because the key was rotated meanwhile,
    /// is decided about now.
    fn check_protected(&self, asked: Asked<'_>, target: &Target, wrapped: &WrappedKeys) -> Result<()> {
        if !target.by_version {
            return Ok(());
        }
        let decided = |id| target.keys.iter().any(|key| key.kek_id == id);
        for one in wrapped.iter().filter(|one| !decided(one.kek_id())) {
            self.decide(asked, Resource::Key(&self.inner.describe_key(KeyRef::Kek(one.kek_id()))?))?;
        }
        Ok(())
    }

    fn protecting<T>(
        &self,
        asked: Asked<'_>,
        name: &KeyName,
        work: impl FnOnce() -> Result<T>,
        wrapped: fn(&T) -> &WrappedKeys,
    ) -> Result<T> {
        let target = self.target(asked, name).map_err(|error| self.refused(asked, [name.into()], error))?;
        let work = || {
            let answer = work()?;
            self.check_protected(asked, &target, wrapped(&answer))?;
            Ok(answer)
        };
        let about = |answer: &T| target.used(wrapped(answer));
        self.recorded(asked, target.event_keys(name), &gcm_keys(&target.keys), work, about)
    }

    /// Those of `wrapped` whose keys the principal may recover with, and the keys.
    fn openable(&self, asked: Asked<'_>, wrapped: &WrappedKeys) -> Result<(WrappedKeys, Vec<KeyDescription>)> {
        let (mut entries, mut keys) = (Vec::new(), Vec::new());
        let (mut denied, mut kept) = (None, None);
        for one in wrapped.iter().filter(|one| one.algorithm() != WrappingAlgorithm::CustomerKey) {
            match self.inner.describe_key(KeyRef::Kek(one.kek_id())) {
                Ok(key) => match self.decide(asked, Resource::Key(&key)) {
                    Ok(_) => {
                        entries.push(one.clone());
                        keys.push(key);
                    }
                    Err(error) => denied = denied.or(Some(error)),
                },
                // The key of another token, or nobody's: there is nothing to decide about.
                Err(error) => super::members::keep(&mut kept, error),
            }
        }
        if entries.is_empty() {
            return Err(denied.or(kept).unwrap_or_else(Error::not_authentic));
        }
        Ok((WrappedKeys::new(entries)?, keys))
    }

    /// Whether nothing is kept around the provider: then nothing need be known.
    fn is_bare(&self) -> bool {
        self.policies.is_none() && self.log.is_none()
    }
}

impl<P: KeyProvider> KeyProvider for Governed<P> {
    fn describe_key(&self, key: KeyRef<'_>) -> Result<KeyDescription> {
        let asked = Asked::of(Operation::DescribeKey);
        let event_key = match key {
            KeyRef::Name(name) => EventKey::from(name),
            KeyRef::Kek(id) => EventKey::from(id),
        };
        let described = || {
            let decided = match key {
                KeyRef::Name(name) => self.decide(asked, Resource::Named(name))?,
                KeyRef::Kek(_) => false,
            };
            let description = self.inner.describe_key(key)?;
            if !decided {
                self.decide(asked, Resource::Key(&description))?;
            }
            Ok(description)
        };
        let description = described().map_err(|error| self.refused(asked, [event_key], error))?;
        // No key was used. It is handed out when that is on record.
        let event_keys = vec![EventKey::from(&description)];
        self.recorded(asked, event_keys, &[], || Ok(description), |_| Vec::new())
    }

    fn generate_data_key(
        &self,
        key: &KeyName,
        context: &EncryptionContext,
        length: DataKeyLength,
    ) -> Result<(DataKey, WrappedKeys)> {
        let asked = Asked::of(Operation::GenerateDataKey).context(context);
        let work = || self.inner.generate_data_key(key, context, length);
        self.protecting(asked, key, work, |(_, wrapped)| wrapped)
    }

    fn data_key_for_message(
        &self,
        key: &KeyName,
        context: &EncryptionContext,
        length: DataKeyLength,
        message_len: u64,
    ) -> Result<(DataKey, WrappedKeys)> {
        let asked = Asked::of(Operation::GenerateDataKey).context(context);
        let work = || self.inner.data_key_for_message(key, context, length, message_len);
        self.protecting(asked, key, work, |(_, wrapped)| wrapped)
    }

    fn wrap_data_key(&self, key: &KeyName, context: &EncryptionContext, data_key: &DataKey) -> Result<WrappedKeys> {
        let asked = Asked::of(Operation::Wrap).context(context);
        self.protecting(asked, key, || self.inner.wrap_data_key(key, context, data_key), |wrapped| wrapped)
    }

    fn unwrap_data_key(&self, wrapped: &WrappedKeys, context: &EncryptionContext) -> Result<UnwrappedKey> {
        if self.is_bare() {
            return self.inner.unwrap_data_key(wrapped, context);
        }
        let asked = Asked::of(Operation::Unwrap).context(context);
        let (entries, keys) =
            self.openable(asked, wrapped).map_err(|error| self.refused(asked, ids(wrapped), error))?;
        let event_keys = keys.iter().map(EventKey::from).collect();
        self.recorded(asked, event_keys, &[], || self.inner.unwrap_data_key(&entries, context), |_| Vec::new())
    }

    fn rewrap_data_key(
        &self,
        wrapped: &WrappedKeys,
        context: &EncryptionContext,
        to: &KeyName,
        origin: Origin,
    ) -> Result<WrappedKeys> {
        if self.is_bare() {
            return self.inner.rewrap_data_key(wrapped, context, to, origin);
        }
        let asked = Asked::of(Operation::Rewrap).context(context);
        let decided = self.target(asked, to).and_then(|target| Ok((target, self.openable(asked, wrapped)?)));
        let (target, (entries, sources)) = decided.map_err(|error| {
            let keys = ids(wrapped).into_iter().chain([to.into()]);
            self.refused(asked, keys, error)
        })?;
        let work = || {
            let moved = self.inner.rewrap_data_key(&entries, context, to, origin)?;
            let new = moved.iter().filter(|one| !wrapped.iter().any(|there| there == *one)).cloned().collect();
            let new = WrappedKeys::new(new)?;
            self.check_protected(asked, &target, &new)?;
            // Entries that the principal may not open stay as they are, behind the others.
            let kept = wrapped.iter().filter(|one| !entries.iter().any(|entry| entry == *one)).cloned();
            Ok((WrappedKeys::new(moved.into_vec().into_iter().chain(kept).collect())?, new))
        };
        let from = || sources.iter().map(EventKey::from);
        let keys = from().chain(target.event_keys(to)).collect();
        let about = |(_, new): &(WrappedKeys, WrappedKeys)| from().chain(target.used(new)).collect();
        self.recorded(asked, keys, &gcm_keys(&target.keys), work, about).map(|(moved, _)| moved)
    }
}

/// The master keys of wrapped keys.
fn ids(wrapped: &WrappedKeys) -> Vec<EventKey> {
    wrapped.iter().map(|one| one.kek_id().into()).collect()
}

/// Those under which wraps are counted.
fn gcm_keys(keys: &[KeyDescription]) -> Vec<&KeyDescription> {
    keys.iter().filter(|key| key.algorithm == WrappingAlgorithm::AesGcm).collect()
}

impl<P> fmt::Debug for Governed<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Governed")
            .field("principal", &self.principal)
            .field("policies", &self.policies)
            .field("log", &self.log)
            .finish_non_exhaustive()
    }
}
