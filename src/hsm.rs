//! Named, versioned master keys on a token, and the provider that wraps data keys under them.
//!
//! A master key version is one private token object: `CKA_LABEL` is `NAME:VERSION`, `CKA_ID` is 16
//! random bytes. The token is the only source of truth: names, versions and states are its objects
//! and attributes, so any number of hosts share one HSM and nothing can disagree with it.

mod absence;
mod admin;
mod adopt;
#[cfg(feature = "governed")]
mod audit_key;
pub mod backup;
mod canary;
mod claim;
mod create;
mod destroy;
mod inventory;
mod leftovers;
mod lookup;
mod numbering;
mod object;
mod objects;
mod planned;
mod readback;
mod record;
mod restore;
mod rotate;
mod sweep;
mod template;
mod tombstone;
mod wrap;
mod wraps;

use crate::error::{Error, ErrorKind, Result};
use crate::key::{
    DataKey, DataKeyLength, EncryptionContext, KekId, KeyDescription, KeyName, KeyProvider, KeyRef, KeyState, Origin,
    Provenance, UnwrappedKey, WrapOccasion, WrappedKey, WrappedKeys, WrappingAlgorithm, first_that_opens, rewrap,
};
use crate::token::{Code, Repeat, Session, Token};
pub use absence::{Absence, Search};
pub use inventory::Inventory;
pub use leftovers::{Leftover, Repair};
use lookup::Cache;
use object::MasterKey;
pub use objects::TokenObject;
pub use planned::PlannedKey;
pub use readback::{AttributeClaim, CheckValue, Claim, KeyReport};
#[cfg(feature = "ceremony")]
pub(crate) use record::from_hex;
pub use restore::Canary;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
pub use sweep::{KeyObject, Sweep};
#[cfg(feature = "ceremony")]
pub(crate) use tombstone::LABEL as TOMBSTONE_LABEL;
use wraps::WrapCounter;

#[cfg(feature = "governed")]
pub use audit_key::{AuditKey, OpeningAuditKey};

/// The key provider of a token.
///
/// It uses the master keys that the caller configured: every symmetric one of the token, or those
/// named with [`only`](Self::only). RSA keys are used for recovery only when named, because anyone
/// who has the public half can make a whole valid file.
///
/// ```no_run
/// use keyward::{DataKeyLength, EncryptionContext, KeyName, KeyProvider, hsm::HsmProvider, token::Token};
/// let uri = "pkcs11:token=demo?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/run/pin";
/// let hsm = HsmProvider::new(Token::open(&uri.parse()?)?);
/// let key: KeyName = "records".parse()?;
/// let context = EncryptionContext::from_pairs([("table", "customers")])?;
/// let (data_key, wrapped) = hsm.generate_data_key(&key, &context, DataKeyLength::Bytes32)?;
/// let again = hsm.unwrap_data_key(&wrapped, &context)?;
/// assert_eq!(data_key.expose_secret(), again.expose_secret());
/// # Ok::<(), keyward::Error>(())
/// ```
#[derive(Debug)]
pub struct HsmProvider {
    token: Token,
    /// The keys that may be used; none: every symmetric one.
    only: Option<Vec<KeyName>>,
    /// Of keys that were outside a token once: how those came that may be used.
    accepted: Vec<Provenance>,
    gcm_wraps: WrapCounter,
    cache: Cache,
    refusals: Refusals,
}

impl HsmProvider {
    /// A provider that may use every symmetric master key of `token`.
    #[must_use]
    pub fn new(token: Token) -> Self {
        Self {
            token,
            only: None,
            accepted: Vec::new(),
            gcm_wraps: WrapCounter::default(),
            cache: Cache::default(),
            refusals: Refusals::default(),
        }
    }

    /// Limits the provider to these keys. RSA keys among them are used for recovery as well.
    #[must_use]
    pub fn only(mut self, names: impl IntoIterator<Item = KeyName>) -> Self {
        self.only = Some(names.into_iter().collect());
        self
    }

    /// Uses keys that came so, too. Without it a key is refused that was outside a token once, whatever its
    /// token says of it now: one that was wrapped for another token ([`Provenance::TrustedWrap`]) or put
    /// together from components ([`Provenance::Components`]). Others need no acceptance.
    #[must_use]
    pub fn accept(mut self, provenances: impl IntoIterator<Item = Provenance>) -> Self {
        self.accepted.extend(provenances);
        self
    }

    /// The share of this provider in the 2^32 AES-GCM wraps that one key version allows over all
    /// hosts (NIST SP 800-38D, section 8.3); wrapping beyond it is refused.
    #[must_use]
    pub fn max_gcm_wraps(mut self, max: u64) -> Self {
        self.gcm_wraps.max = max.min(WrapCounter::MAX);
        self
    }

    /// The token.
    #[must_use]
    pub fn token(&self) -> &Token {
        &self.token
    }

    /// Refuses a key that is not what a protected master key must be, or came in a way that was not accepted.
    fn check_usable(&self, key: &MasterKey) -> Result<()> {
        key.check_usable()?;
        match self.refused_provenance(&key.description) {
            None => Ok(()),
            Some(problem) => {
                let message = format!("key '{}' is refused: {problem}", key.description.label());
                Err(Error::new(ErrorKind::KeyAttributes, message).with_hint(format!(
                    "where you know of it, name its provenance in the configuration: accept = [\"{}\"]",
                    key.description.provenance
                )))
            }
        }
    }

    /// What is wrong with how a key came, where it is not accepted.
    fn refused_provenance(&self, key: &KeyDescription) -> Option<String> {
        let refused = key.provenance.must_be_accepted() && !self.accepted.contains(&key.provenance);
        refused.then(|| format!("its provenance is {}, which is not accepted", key.provenance))
    }

    /// A description with what this provider has against the key.
    fn judged(&self, mut key: KeyDescription) -> KeyDescription {
        key.problems.extend(self.refused_provenance(&key));
        key
    }

    fn check_named(&self, name: &KeyName) -> Result<()> {
        match &self.only {
            Some(names) if !names.contains(name) => Err(Error::key_not_found(KeyRef::Name(name))),
            _ => Ok(()),
        }
    }

    /// Does `work` with the current version of a key that may protect.
    fn protecting<T>(&self, name: &KeyName, work: impl Fn(&Session<'_>, &MasterKey) -> Result<T>) -> Result<T> {
        self.check_named(name)?;
        self.looking_twice(|session| {
            let key = self.cache.current(session, name)?;
            self.check_usable(&key)?;
            match key.description.state {
                KeyState::Active => work(session, &key),
                _ => Err(key.wrong_state("protect")),
            }
        })
    }

    /// Does `work` with the version that wrapped a key.
    fn recovering<T>(&self, id: KekId, work: impl Fn(&Session<'_>, &MasterKey) -> Result<T>) -> Result<T> {
        self.looking_twice(|session| {
            let key = self.cache.by_kek_id(session, id)?;
            self.check_trusted(&key)?;
            self.check_usable(&key)?;
            match key.description.state {
                KeyState::Active | KeyState::Retired => work(session, &key),
                _ => Err(key.wrong_state("recover")),
            }
        })
    }

    /// Where the token refuses a handle or its permission, another host may have rotated, disabled
    /// or destroyed the key: once more, with what a new search finds.
    fn looking_twice<T>(&self, attempt: impl Fn(&Session<'_>) -> Result<T>) -> Result<T> {
        match self.token.run(Repeat::Once, &attempt) {
            Err(error) if is_stale(&error) => {
                self.cache.clear();
                self.token.run(Repeat::Once, attempt)
            }
            answer => answer,
        }
    }

    /// Trust is the pair of token and KEK id, limited to the keys that the caller named; RSA keys
    /// only when named (`docs/format.md`, "Which KEKs are trusted").
    fn check_trusted(&self, key: &MasterKey) -> Result<()> {
        let KeyDescription { name, algorithm, .. } = &key.description;
        self.check_named(name)?;
        if algorithm.is_rsa() && self.only.is_none() {
            return Err(Error::new(
                ErrorKind::KeyNotFound,
                format!("'{name}' is an RSA key, whose public half lets anyone write; it is used only when named"),
            )
            .with_hint(format!(
                "where you trust the origin, name the key with --key {name}, or --from-key {name} to rewrap"
            )));
        }
        Ok(())
    }

    fn unwrap_one(&self, wrapped: &WrappedKey, context: &EncryptionContext) -> Result<UnwrappedKey> {
        if wrapped.algorithm() == WrappingAlgorithm::CustomerKey {
            return Err(Error::not_authentic());
        }
        let attempt = || {
            self.recovering(wrapped.kek_id(), |session, key| {
                // Checked before any token call with the bytes: a key serves its one algorithm.
                if wrapped.algorithm() != key.description.algorithm {
                    return Err(Error::not_authentic());
                }
                match wrap::unwrap(session, key, wrapped, context) {
                    Err(_) if let Some(code) = session.doubted_code() => Ok(Err(code)),
                    answer => {
                        let description = self.judged(key.description.clone());
                        answer.map(|data_key| Ok(UnwrappedKey::new(data_key, wrapped.clone(), description)))
                    }
                }
            })
        };
        let code = match attempt()? {
            Ok(unwrapped) => return Ok(unwrapped),
            Err(code) => code,
        };
        // The token gave a code that it may give when it fails itself. So it is asked what is known: to
        // recover what is good, and with which code it refuses what is not.
        let usual = self.recovering(wrapped.kek_id(), |session, key| {
            canary::verify(session, key)?;
            self.refusals.of(session, key)
        })?;
        let says_so = |code| usual.is_none_or(|usual| usual == Some(code));
        attempt()?.map_err(|again| match says_so(code) && says_so(again) {
            true => Error::not_authentic(),
            false => Error::new(ErrorKind::TokenUnavailable, "the token fails now and then; unwrapping failed twice"),
        })
    }

    fn count_wrap(&self, key: &MasterKey) -> Result<()> {
        match key.description.algorithm {
            WrappingAlgorithm::AesGcm => self.gcm_wraps.count(key.description.kek_id),
            _ => Ok(()),
        }
    }
}

/// Whether a new search may help: the object is gone, or may no longer do what it was found to do.
fn is_stale(error: &Error) -> bool {
    use std::error::Error as _;
    // Our own findings have no cause; the token's refusals have.
    matches!(error.kind(), ErrorKind::KeyNotFound | ErrorKind::KeyState) && error.source().is_some()
}

impl KeyProvider for HsmProvider {
    fn describe_key(&self, key: KeyRef<'_>) -> Result<KeyDescription> {
        if let KeyRef::Name(name) = key {
            self.check_named(name)?;
        }
        let found = self.token.run(Repeat::Once, |session| match key {
            KeyRef::Name(name) => self.cache.current(session, name),
            KeyRef::Kek(id) => self.cache.by_kek_id(session, id),
        })?;
        self.check_named(&found.description.name)?;
        Ok(self.judged(found.description.clone()))
    }

    fn generate_data_key(
        &self,
        key: &KeyName,
        context: &EncryptionContext,
        length: DataKeyLength,
    ) -> Result<(DataKey, WrappedKeys)> {
        self.protecting(key, |session, master| {
            self.count_wrap(master)?;
            let (data_key, wrapped) = wrap::generate(session, master, length, context)?;
            Ok((data_key, wrapped.into()))
        })
    }

    fn data_key_for_message(
        &self,
        key: &KeyName,
        context: &EncryptionContext,
        length: DataKeyLength,
        _: u64,
    ) -> Result<(DataKey, WrappedKeys)> {
        self.generate_data_key(key, context, length)
    }

    fn wrap_data_key(&self, key: &KeyName, context: &EncryptionContext, data_key: &DataKey) -> Result<WrappedKeys> {
        self.protecting(key, |session, master| {
            self.count_wrap(master)?;
            Ok(wrap::wrap(session, master, data_key, context, WrapOccasion::Later)?.into())
        })
    }

    fn unwrap_data_key(&self, wrapped: &WrappedKeys, context: &EncryptionContext) -> Result<UnwrappedKey> {
        first_that_opens(wrapped, |one| self.unwrap_one(one, context))
    }

    fn rewrap_data_key(
        &self,
        wrapped: &WrappedKeys,
        context: &EncryptionContext,
        to: &KeyName,
        origin: Origin,
    ) -> Result<WrappedKeys> {
        let unwrap = |these: &WrappedKeys| self.unwrap_data_key(these, context);
        rewrap(wrapped, origin, unwrap, |data_key| self.wrap_data_key(to, context, data_key))
    }
}

/// The codes with which the token refuses what was not wrapped, by algorithm, as far as they are known.
#[derive(Debug, Default)]
struct Refusals(Mutex<HashMap<WrappingAlgorithm, Option<Code>>>);

impl Refusals {
    fn of(&self, session: &Session<'_>, key: &MasterKey) -> Result<Option<Option<Code>>> {
        let algorithm = key.description.algorithm;
        let known = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(code) = known().get(&algorithm) {
            return Ok(Some(*code));
        }
        let code = canary::refusal(session, key)?;
        if let Some(code) = code {
            known().insert(algorithm, code);
        }
        Ok(code)
    }
}

type FoundKey = Arc<MasterKey>;
