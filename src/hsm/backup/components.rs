//! A key that people bring in parts. Whoever misses one part knows nothing of the key: it is their XOR.

use super::super::HsmProvider;
use super::super::object::MasterKey;
use super::super::planned::{self, PlannedKey};
use super::super::restore::Canary;
use super::super::wrap::SessionObject;
use super::super::{lookup, object::KeyClass, template};
use super::arrival;
use super::transport::{self, TransportPublicKey};
use crate::error::{Error, ErrorKind, Result};
use crate::key::{KeyDescription, KeyState, Provenance};
use crate::token::{Attribute, Mechanism, ObjectHandle, Session};
use aes_gcm::aes::Aes256;
use aes_gcm::aes::cipher::{BlockCipherEncrypt, KeyInit};
use std::fmt;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

const PROVENANCE: Provenance = Provenance::Components;

/// One part of an AES-256 key, whose check value was compared. Wiped when dropped.
pub struct Component(Zeroizing<[u8; 32]>);

impl Component {
    /// The component of this value, where its check value is this one: what was typed is what was written down.
    ///
    /// # Errors
    /// `InvalidArgument` where the check value is another.
    pub fn new(value: Zeroizing<[u8; 32]>, check: [u8; 3]) -> Result<Self> {
        match bool::from(check_value(&value).ct_eq(&check)) {
            true => Ok(Self(value)),
            false => Err(Error::new(
                ErrorKind::InvalidArgument,
                "the component's check value is not the one that goes with it",
            )
            .with_hint("it was mistyped, or is another component; nothing was imported")),
        }
    }
}

impl fmt::Debug for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Component(redacted)")
    }
}

/// The check value of an AES-256 key or of a component of one: the first three bytes of a block of zeros
/// encrypted with it (PKCS#11 3.1, section 4.10.2).
///
/// ```
/// use keyward::hsm::backup::check_value;
/// assert_eq!(check_value(&[0; 32]), [0xdc, 0x95, 0xc0]);
/// ```
#[must_use]
pub fn check_value(key: &[u8; 32]) -> [u8; 3] {
    let mut block = aes_gcm::aes::Block::default();
    Aes256::new(key.into()).encrypt_block(&mut block);
    let check = [block[0], block[1], block[2]];
    block.as_mut_slice().zeroize();
    check
}

/// Puts components together and imports their XOR as a key that cannot be extracted, or finds the one that an
/// earlier call imported, which must be of the same value. `check` is the check value of the whole.
///
/// The host puts them together in its memory, which is wiped, and hands the whole to the token wrapped under a
/// public key that the token makes for that; where the token lacks RSA-OAEP for keys, as it is. The token says
/// afterwards that the key is not local and was not always sensitive, and the record that it was put together.
///
/// ```no_run
/// # let hsm: keyward::hsm::HsmProvider = unimplemented!();
/// # let (one, other) = unimplemented!();
/// use keyward::hsm::{PlannedKey, backup::import_components};
/// use keyward::{KekId, WrappingAlgorithm};
/// let plan = PlannedKey::new("records".parse()?, WrappingAlgorithm::AesGcm, KekId::from_bytes([7; 16]));
/// import_components(&hsm, &plan, &[one, other], [0xaa, 0xbb, 0xcc])?;
/// # Ok::<(), keyward::Error>(())
/// ```
///
/// # Errors
/// `InvalidArgument` where the plan is for an RSA key, there are fewer than two components, two are equal, or the
/// check value of the whole is another; `KeyExists` where a key of that name, version or id is in use, or is of
/// another value; `KeyAttributes` where the token does not protect the key as it was told to; `Unsupported` where
/// it lacks the algorithm or keeps no records; and those of the token.
pub fn import_components(
    hsm: &HsmProvider,
    plan: &PlannedKey,
    components: &[Component],
    check: [u8; 3],
) -> Result<KeyDescription> {
    if plan.algorithm.is_rsa() {
        return Err(invalid("components make an AES key, not an RSA key"));
    }
    let value = combine(components)?;
    if !bool::from(check_value(&value).ct_eq(&check)) {
        return Err(invalid("the check value of the key that the components make is another")
            .with_hint("a component is missing, or one of another key; nothing was imported"));
    }
    hsm.check_able(plan.algorithm)?;
    hsm.change_key(&plan.name, |session| {
        match planned::find(session, plan, PROVENANCE)? {
            Some(there) if !there.is_pending() => {
                there.check_usable()?;
                is_of(session, plan, &there, &value)?;
                planned::tidy(session, plan)?;
                return Ok(there.description);
            }
            // It may be of another value, and nobody has used it.
            Some(_) => arrival::discard(session, plan, PROVENANCE)?,
            None => {}
        }
        let key = arrival::arrive(session, plan, PROVENANCE, || pass(session, plan, &value, arrival::template(plan)))?;
        arrival::enable(session, &key)?;
        let canary = Canary::make(session, &key)?;
        Ok(arrival::finish(session, plan, key, &canary)?.description)
    })
}

/// The XOR of the components.
fn combine(components: &[Component]) -> Result<Zeroizing<[u8; 32]>> {
    if components.len() < 2 {
        return Err(invalid("a key is put together from two components or more"));
    }
    for (index, one) in components.iter().enumerate() {
        // Two that are equal cancel each other out, and the others alone would make the key.
        if components[..index].iter().any(|other| one.0.ct_eq(&*other.0).into()) {
            return Err(invalid("two components are the same"));
        }
    }
    let mut value = Zeroizing::new([0; 32]);
    for component in components {
        value.iter_mut().zip(component.0.iter()).for_each(|(sum, part)| *sum ^= part);
    }
    match bool::from(value.ct_eq(&[0; 32])) {
        true => Err(invalid("the components make a key of zeros")),
        false => Ok(value),
    }
}

/// Hands a value to the token, wrapped under a pair that ends with the session.
fn pass(
    session: &Session<'_>,
    plan: &PlannedKey,
    value: &[u8; 32],
    mut as_what: Vec<Attribute>,
) -> Result<ObjectHandle> {
    let of_token = as_what.contains(&Attribute::Token(true));
    let wrapped = || -> Result<_> {
        let handle = transport::generate(session, plan.kek_id, false)?;
        let private = SessionObject { session, handle };
        let public = TransportPublicKey::of(session, private.handle)?;
        Ok((private, public))
    };
    match wrapped() {
        Ok((private, public)) => {
            let hash = public.hashes()[0];
            let (wrapped, mechanism) = (public.wrap(value, hash)?, Mechanism::RsaOaep(hash));
            match of_token {
                true => session.unwrap_token_key(mechanism, private.handle, &wrapped, as_what, 32),
                false => session.unwrap_session_key(mechanism, private.handle, &wrapped, as_what, 32),
            }
        }
        Err(error) if error.kind() == ErrorKind::Unsupported => {
            as_what.push(Attribute::Value(value.to_vec()));
            match of_token {
                true => session.create_secret_object(as_what),
                false => session.create_session_object(as_what),
            }
        }
        Err(error) => Err(error),
    }
}

/// Whether the key that is there has this value: one in this session that has it opens what the other wrapped.
fn is_of(session: &Session<'_>, plan: &PlannedKey, there: &MasterKey, value: &[u8; 32]) -> Result<()> {
    let mut template = arrival::template(plan);
    template.retain(|one| {
        !matches!(
            one,
            Attribute::Token(_)
                | Attribute::Encrypt(_)
                | Attribute::Decrypt(_)
                | Attribute::Wrap(_)
                | Attribute::Unwrap(_)
        )
    });
    template.push(Attribute::Token(false));
    template.extend(template::usage(plan.algorithm, KeyState::Active));
    let handle = pass(session, plan, value, template)?;
    let same = SessionObject { session, handle };
    let gone = || Error::new(ErrorKind::TokenUnavailable, "the token does not show the key that it was just given");
    let same = lookup::read(session, same.handle, KeyClass::Aes)?.ok_or_else(gone)?;
    match Canary::make(session, &same)?.open(session, there) {
        Err(error) if error.kind() == ErrorKind::NotAuthentic => {
            let message =
                format!("key '{}' exists already, and is not the one that these components make", plan.label());
            Err(Error::new(ErrorKind::KeyExists, message))
        }
        answer => answer,
    }
}

fn invalid(message: &'static str) -> Error {
    Error::new(ErrorKind::InvalidArgument, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component(byte: u8) -> Component {
        let value = Zeroizing::new([byte; 32]);
        let check = check_value(&value);
        Component::new(value, check).unwrap()
    }

    #[test]
    fn check_values_are_those_of_the_standard() {
        // From: printf '\0%.0s' {1..16} | openssl enc -aes-256-ecb -nopad -K KEY
        assert_eq!(check_value(&[0; 32]), [0xdc, 0x95, 0xc0]);
        assert_eq!(check_value(&[1; 32]), [0x72, 0x98, 0xca]);
    }

    #[test]
    fn a_component_that_was_mistyped_is_refused() {
        let mut check = check_value(&[1; 32]);
        Component::new(Zeroizing::new([1; 32]), check).unwrap();
        check[2] ^= 1;
        let error = Component::new(Zeroizing::new([1; 32]), check).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    }

    #[test]
    fn a_key_is_the_xor_of_all_components() {
        assert_eq!(*combine(&[component(1), component(2), component(4)]).unwrap(), [7; 32]);
        for bad in [
            &[][..],
            &[component(1)],
            &[component(1), component(2), component(1)],
            &[component(1), component(2), component(3)],
        ] {
            assert_eq!(combine(bad).unwrap_err().kind(), ErrorKind::InvalidArgument, "{bad:?}");
        }
    }
}
