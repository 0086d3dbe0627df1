//! One key on two tokens, made on the first and wrapped there for the second.
//!
//! The steps, each of which may be the last before the power fails:
//!
//! 1. on the source, the record of a pending key;
//! 2. an AES key as an object of one session, extractable, that may do nothing: it ends with the session;
//! 3. it is wrapped under the transport key's public half;
//! 4. it is made unextractable, copied to an object of the token, and destroyed;
//! 5. on the backup token, the record of a pending key, and the key unwrapped beside it, not extractable;
//! 6. each token opens what the other wrapped;
//! 7. the backup's record is finished, and then the source's.
//!
//! Until 7 nobody uses either key. A call that finds both goes on with 6; one that finds only one destroys it,
//! because the wrapped key is gone, and begins anew with the same id. No step leaves anything on a token that can
//! be extracted.

use super::super::HsmProvider;
use super::super::object::KeyClass;
use super::super::planned::{self, PlannedKey};
use super::super::restore::Canary;
use super::super::wrap::SessionObject;
use super::arrival::{self, Stage};
use super::refuse_same_token;
use super::transport::TransportKey;
use crate::error::{Error, ErrorKind, Result};
use crate::key::{KeyDescription, Provenance};
use crate::token::{Attribute, Mechanism, OaepHash, Session};
use subtle::ConstantTimeEq;

const PROVENANCE: Provenance = Provenance::TrustedWrap;

/// A key that is on two tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TrustedWrap {
    /// The key on the token that made it.
    pub source: KeyDescription,
    /// The key on the backup token.
    pub backup: KeyDescription,
    /// What the source wrapped and the backup has opened.
    pub canary: Canary,
}

/// Makes a key on the token of `source`, and the same on that of `backup`, or finds what an earlier call made and
/// finishes it. However often it is called and interrupted, there is one key on each token in the end.
///
/// `pinned` is the fingerprint of the transport key that people compared. The private half of that key is on the
/// backup token; the source wraps under no other.
///
/// ```no_run
/// # let (source, backup): (keyward::hsm::HsmProvider, keyward::hsm::HsmProvider) = unimplemented!();
/// use keyward::hsm::{PlannedKey, backup::{TransportKey, trusted_wrap}};
/// use keyward::{KekId, WrappingAlgorithm};
/// let transport = TransportKey::create(backup.token(), KekId::from_bytes([9; 16]))?;
/// let pinned = transport.public().fingerprint()?; // and have it compared
/// let plan = PlannedKey::new("records".parse()?, WrappingAlgorithm::AesGcm, KekId::from_bytes([7; 16]));
/// trusted_wrap(&source, &backup, &plan, &transport, &pinned)?;
/// transport.destroy()?;
/// # Ok::<(), keyward::Error>(())
/// ```
///
/// # Errors
/// `InvalidArgument` where the plan is for an RSA key, both tokens are one, or the transport key is that of another
/// token; `KeyAttributes` where its fingerprint is not the one that was pinned, or a token does not protect the key
/// as it was told to; `KeyExists` where a key of that name, version or id is in use on one of them; `Unsupported`
/// where one lacks RSA-OAEP for keys, the algorithm or records; `NotAuthentic` where the two keys turn out to be
/// different; and those of the tokens.
pub fn trusted_wrap(
    source: &HsmProvider,
    backup: &HsmProvider,
    plan: &PlannedKey,
    transport: &TransportKey,
    pinned: &str,
) -> Result<TrustedWrap> {
    check(source, backup, plan, transport, pinned)?;
    let stage = |hsm: &HsmProvider| hsm.change_key(&plan.name, |session| arrival::stage(session, plan, PROVENANCE));
    let stages = (stage(source)?, stage(backup)?);
    match stages {
        (Stage::Absent, Stage::Finished) => return Err(alone(plan, backup, source)),
        (Stage::Finished, Stage::Absent) => return Err(alone(plan, source, backup)),
        _ => {}
    }
    // On both, before anything is made on either.
    for hsm in [source, backup] {
        hsm.change_key(&plan.name, |session| planned::refuse_used_number(session, plan).map(drop))?;
    }
    if !matches!(stages, (Stage::Absent, _) | (_, Stage::Absent)) {
        match settle(source, backup, plan) {
            // Two attempts that were interrupted at different places. Nothing was wrapped under either key.
            Err(error) if error.kind() == ErrorKind::NotAuthentic && stages == (Stage::Pending, Stage::Pending) => {}
            answer => return answer,
        }
    }
    for hsm in [source, backup] {
        hsm.change_key(&plan.name, |session| arrival::discard(session, plan, PROVENANCE))?;
    }
    let (hash, wrapped) = source.change_key(&plan.name, |session| export(session, plan, transport))?;
    backup.change_key(&plan.name, |session| import(session, plan, transport, hash, &wrapped))?;
    settle(source, backup, plan)
}

fn check(
    source: &HsmProvider,
    backup: &HsmProvider,
    plan: &PlannedKey,
    transport: &TransportKey,
    pinned: &str,
) -> Result<()> {
    let invalid = |what: &str| Error::new(ErrorKind::InvalidArgument, what.to_owned());
    if plan.algorithm.is_rsa() {
        return Err(invalid("an RSA key is not wrapped for another token: make one on each"));
    }
    refuse_same_token(source, backup)?;
    if !transport.is_on(backup.token()) {
        return Err(invalid("the transport key is not one of the backup token"));
    }
    let fingerprint = transport.public().fingerprint()?;
    if !bool::from(fingerprint.as_bytes().ct_eq(pinned.as_bytes())) {
        return Err(Error::new(
            ErrorKind::KeyAttributes,
            format!("the transport key has the fingerprint {fingerprint}, which is not the one that was compared"),
        )
        .with_hint("nothing was wrapped under it; find out whose key it is"));
    }
    source.check_able(plan.algorithm)?;
    backup.check_able(plan.algorithm)
}

/// The steps 1 to 4.
fn export(session: &Session<'_>, plan: &PlannedKey, transport: &TransportKey) -> Result<(OaepHash, Vec<u8>)> {
    let mut exported = None;
    arrival::arrive(session, plan, PROVENANCE, || {
        // It lives as long as this session and is destroyed before it goes back. Where that fails the session is
        // closed. It carries the planned id, by which a sweep finds it.
        let mut template = super::super::template::new_key(KeyClass::Aes, &plan.label(), *plan.kek_id.as_bytes());
        template.retain(|one| !matches!(one, Attribute::Token(_) | Attribute::Extractable(_)));
        template.extend([Attribute::Token(false), Attribute::Extractable(true)]);
        let handle = session.generate_key(Mechanism::AesKeyGen, template)?;
        let passing = SessionObject { session, handle };
        exported = Some(wrap(session, &passing, transport)?);
        // From here on it cannot be wrapped again. Before it is copied, because Kryoptic does not let a copy differ in
        // that; the copy is looked at afterwards.
        session.set_attributes(passing.handle, vec![Attribute::Extractable(false)])?;
        session.copy_object(passing.handle, vec![Attribute::Token(true)])
    })?;
    exported.ok_or_else(|| Error::new(ErrorKind::Internal, "a key was copied and not wrapped"))
}

/// Wraps with the best hash that both tokens have.
fn wrap(
    session: &Session<'_>,
    passing: &SessionObject<'_, '_>,
    transport: &TransportKey,
) -> Result<(OaepHash, Vec<u8>)> {
    let public = transport.public();
    let under = public.on(session)?;
    let mut refused = None;
    for hash in public.hashes() {
        match session.wrap_key(Mechanism::RsaOaep(*hash), under.handle, passing.handle, public.modulus_len()) {
            Ok(wrapped) if wrapped.len() == public.modulus_len() => return Ok((*hash, wrapped)),
            Ok(_) => {
                let message = "the token returned an RSA-OAEP ciphertext of an impossible length; it is not used";
                return Err(Error::new(ErrorKind::TokenUnavailable, message));
            }
            Err(error) if error.kind() == ErrorKind::Unsupported => refused = Some(error),
            Err(error) => return Err(error),
        }
    }
    let message = "the two tokens have no hash for RSA-OAEP in common with which a key is wrapped";
    let error = Error::new(ErrorKind::Unsupported, message);
    Err(match refused {
        Some(cause) => error.with_source(cause),
        None => error,
    })
}

/// Step 5.
fn import(
    session: &Session<'_>,
    plan: &PlannedKey,
    transport: &TransportKey,
    hash: OaepHash,
    wrapped: &[u8],
) -> Result<()> {
    let private = transport.handle(session)?;
    let unwrap = || session.unwrap_token_key(Mechanism::RsaOaep(hash), private, wrapped, arrival::template(plan), 32);
    arrival::arrive(session, plan, PROVENANCE, unwrap).map(drop)
}

/// The steps 6 and 7. Where it fails before 7, both are pending still.
fn settle(source: &HsmProvider, backup: &HsmProvider, plan: &PlannedKey) -> Result<TrustedWrap> {
    let make = |hsm: &HsmProvider, to_open: Option<&Canary>| {
        hsm.change_key(&plan.name, |session| {
            let key = arrival::expect(session, plan, PROVENANCE)?;
            key.check_usable()?;
            arrival::enable(session, &key)?;
            to_open.map_or(Ok(()), |canary| canary.open(session, &key))?;
            Canary::make(session, &key)
        })
    };
    let of_source = make(source, None)?;
    let of_backup = make(backup, Some(&of_source))?;
    source.change_key(&plan.name, |session| of_backup.open(session, &arrival::expect(session, plan, PROVENANCE)?))?;
    let finish = |hsm: &HsmProvider, canary: &Canary| {
        hsm.change_key(&plan.name, |session| {
            let key = arrival::expect(session, plan, PROVENANCE)?;
            Ok(arrival::finish(session, plan, key, canary)?.description)
        })
    };
    // The source last: where it is finished, so is its backup.
    let backup = finish(backup, &of_backup)?;
    let source = finish(source, &of_source)?;
    Ok(TrustedWrap { source, backup, canary: of_source })
}

fn alone(plan: &PlannedKey, there: &HsmProvider, not_there: &HsmProvider) -> Error {
    let (there, not_there) = (there.token().info(), not_there.token().info());
    Error::new(
        ErrorKind::KeyExists,
        format!(
            "key '{}' is in use on token '{}' and not on token '{}', and it can leave neither",
            plan.label(),
            there.label,
            not_there.label
        ),
    )
    .with_hint("make a new key, and move what this one protects to it")
}
