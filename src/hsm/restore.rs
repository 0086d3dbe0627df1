//! Canaries that are kept: what a key wrapped once, to be opened later, or on the token that has its backup.

use super::object::MasterKey;
use super::{HsmProvider, canary, wrap};
use crate::error::{Error, ErrorKind, Result};
use crate::key::{DataKey, DataKeyLength, KekId, KeyRef, KeyState, WrapOccasion, WrappedKey};
use crate::token::{Repeat, Session};
use sha2::{Digest, Sha256};
use std::fmt::{self, Write as _};
use std::str::FromStr;
use subtle::ConstantTimeEq;

/// A data key that protects nothing, wrapped by a master key, and the hash of its value. Whichever token opens
/// it to a value of that hash holds the same master key.
///
/// It is no secret. Its text form is one line of hexadecimal digits: the hash, a colon, the wrapped key.
#[derive(Clone, PartialEq, Eq)]
pub struct Canary {
    wrapped: WrappedKey,
    digest: [u8; 32],
}

impl Canary {
    /// The key that made it.
    #[must_use]
    pub fn kek_id(&self) -> KekId {
        self.wrapped.kek_id()
    }

    /// Wraps a new one, which the key must unwrap at once.
    pub(super) fn make(session: &Session<'_>, key: &MasterKey) -> Result<Self> {
        let context = canary::context()?;
        let (data_key, wrapped) = wrap::generate(session, key, DataKeyLength::Bytes32, &context)?;
        let canary = Self { wrapped, digest: digest(&data_key) };
        canary.open(session, key)?;
        Ok(canary)
    }

    pub(super) fn open(&self, session: &Session<'_>, key: &MasterKey) -> Result<()> {
        if self.wrapped.kek_id() != key.description.kek_id || self.wrapped.algorithm() != key.description.algorithm {
            return Err(Error::not_authentic());
        }
        self.check(&wrap::unwrap(session, key, &self.wrapped, &canary::context()?)?)
    }

    /// The hash of its data key.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    pub(super) fn wrapped(&self) -> &WrappedKey {
        &self.wrapped
    }

    fn check(&self, data_key: &DataKey) -> Result<()> {
        match bool::from(digest(data_key).ct_eq(&self.digest)) {
            true => Ok(()),
            false => Err(Error::not_authentic()),
        }
    }
}

impl HsmProvider {
    /// Makes a canary with the key of this id, which must be active.
    ///
    /// ```no_run
    /// # let (before, after): (keyward::hsm::HsmProvider, keyward::hsm::HsmProvider) = unimplemented!();
    /// # let id = keyward::KekId::from_bytes([7; 16]);
    /// let kept = before.make_canary(id)?.to_string();
    /// // Later, on the token with the backup:
    /// after.open_canary(&kept.parse()?)?;
    /// # Ok::<(), keyward::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`KeyProvider`](crate::KeyProvider).
    pub fn make_canary(&self, id: KekId) -> Result<Canary> {
        self.with_active(id, Canary::make)
    }

    fn with_active<T>(&self, id: KekId, work: impl Fn(&Session<'_>, &MasterKey) -> Result<T>) -> Result<T> {
        self.looking_twice(|session| {
            let key = self.cache.by_kek_id(session, id)?;
            self.check_named(&key.description.name)?;
            self.check_usable(&key)?;
            self.count_wrap(&key)?;
            match key.description.state {
                KeyState::Active => work(session, &key),
                _ => Err(key.wrong_state("protect")),
            }
        })
    }

    /// Wraps the data key of a canary, which this token opens, under a key of another token as well: as what is
    /// protected with siblings is wrapped to both.
    ///
    /// # Errors
    /// As [`open_canary`](Self::open_canary), and as [`make_canary`](Self::make_canary) on the other token.
    pub fn canary_for(&self, canary: &Canary, sibling: &Self, id: KekId) -> Result<Canary> {
        let unwrapped = self.unwrap_one(&canary.wrapped, &canary::context()?)?;
        canary.check(&unwrapped.data_key)?;
        sibling.with_active(id, |session, key| {
            let wrapped = wrap::wrap(session, key, &unwrapped.data_key, &canary::context()?, WrapOccasion::Later)?;
            let canary = Canary { wrapped, digest: canary.digest };
            canary.open(session, key)?;
            Ok(canary)
        })
    }

    /// Opens a canary. That it succeeds proves that this token has the key that made it.
    ///
    /// # Errors
    /// `NotAuthentic` where the key of that id is another; `KeyNotFound` where there is none; and as
    /// [`KeyProvider::unwrap_data_key`](crate::KeyProvider::unwrap_data_key).
    pub fn open_canary(&self, canary: &Canary) -> Result<()> {
        canary.check(&self.unwrap_one(&canary.wrapped, &canary::context()?)?.data_key)
    }

    /// Opens the canary that a key wrapped when it was made and that lies in its record. `false` where there
    /// is none: another tool made the key.
    ///
    /// # Errors
    /// `KeyAttributes` where it does not open: the key is not the one that it was; `KeyNotFound`; and those of the
    /// token.
    pub fn open_recorded_canary(&self, id: KekId) -> Result<bool> {
        self.token.run(Repeat::Once, |session| {
            let key = super::lookup::by_kek_id(session, id)?;
            if !matches!(key.description.state, KeyState::Active | KeyState::Retired) {
                return Err(Error::key_not_found(KeyRef::Kek(id)).with_message(format!(
                    "key '{}' is {} and opens nothing",
                    key.description.label(),
                    key.description.state
                )));
            }
            canary::verify(session, &key)?;
            Ok(key.canary().is_some())
        })
    }
}

fn digest(data_key: &DataKey) -> [u8; 32] {
    Sha256::new().chain_update(b"keyward.canary.v1\0").chain_update(data_key.expose_secret()).finalize().into()
}

impl fmt::Display for Canary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.digest.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_char(':')?;
        self.wrapped.to_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Canary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Canary(of {})", self.kek_id())
    }
}

impl FromStr for Canary {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parse = || -> Option<Self> {
            let (digest, wrapped) = text.split_once(':')?;
            let digest = super::record::from_hex(digest)?.try_into().ok()?;
            Some(Self { digest, wrapped: WrappedKey::parse(&super::record::from_hex(wrapped)?).ok()? })
        };
        parse().ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidArgument,
                "not a canary: 64 hexadecimal digits, a colon, and a wrapped key in more of them",
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::WrappingAlgorithm;

    #[test]
    fn a_canary_comes_back_from_its_text() {
        let wrapped = WrappedKey::new(
            WrapOccasion::Later,
            WrappingAlgorithm::AesKw,
            KekId::from_bytes([3; 16]),
            vec![],
            vec![5; 72],
        )
        .unwrap();
        let canary = Canary { wrapped, digest: [9; 32] };
        let text = canary.to_string();
        assert_eq!(text.parse::<Canary>().unwrap(), canary);
        for bad in ["", ":", &text[1..], &text[..text.len() - 1], &text.replace(':', ""), &format!("{text}00")] {
            assert_eq!(bad.parse::<Canary>().unwrap_err().kind(), ErrorKind::InvalidArgument, "{bad}");
        }
    }
}
