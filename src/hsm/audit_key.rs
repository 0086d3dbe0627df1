//! The key that signs the heads of audit logs, and the anchors that are kept beside it.
//!
//! It is a private key object of its own, `keyward-audit`, that may sign and nothing else. A private
//! key on the curve P-256 does not show its public half, so that stands in a private data object of the
//! same label, its record, and every signature is verified with it before it is handed out. The record also has the
//! public halves of the keys that this one replaced, and of audit keys on other tokens.

mod anchors;
mod opening;
mod record;

pub use opening::OpeningAuditKey;

use super::template;
use crate::audit::HeadKey;
use crate::error::{Error, ErrorKind, Result};
use crate::key::{AnchorOrder, HeadKeeper, HeadSignature, KeeperRecords};
use crate::token::{
    Attribute, AttributeType, Attributes, KeyType, Mechanism, ObjectClass, ObjectHandle, Repeat, Session, Token,
};
use record::Record;
use sha2::{Digest, Sha256};
use std::fmt;

const LABEL: &str = "keyward-audit";
/// P-256 as `CKA_EC_PARAMS` has it: the DER encoding of 1.2.840.10045.3.1.7.
const P256: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// An attribute, the answer that it must give, and what is wrong otherwise.
type Requirement = (fn(bool) -> Attribute, AttributeType, bool, &'static str);

/// What every key is asked for whenever it is looked up, and the answer that it must give.
const REQUIRED: [Requirement; 6] = [
    (Attribute::Private, AttributeType::Private, true, "it is not private"),
    (Attribute::Sensitive, AttributeType::Sensitive, true, "it is not sensitive"),
    (Attribute::Extractable, AttributeType::Extractable, false, "it can be extracted"),
    (Attribute::AlwaysSensitive, AttributeType::AlwaysSensitive, true, "it was not always sensitive"),
    (Attribute::NeverExtractable, AttributeType::NeverExtractable, true, "it could be extracted once"),
    (Attribute::Sign, AttributeType::Sign, true, "it may not sign"),
];

/// The key on a token that signs the heads of audit logs: ECDSA on P-256. It keeps their anchors, too.
///
/// ```no_run
/// use keyward::audit::{AuditLog, AuditOptions};
/// use keyward::{hsm::AuditKey, token::Token};
/// use std::sync::Arc;
/// # let token: Token = unimplemented!();
/// let key = Arc::new(AuditKey::open(token)?);
/// let options = AuditOptions::default().keeper(key);
/// let log = AuditLog::open("/var/log/keyward/audit.log".as_ref(), options)?;
/// # Ok::<(), keyward::Error>(())
/// ```
pub struct AuditKey {
    token: Token,
    public: HeadKey,
}

/// A key as the token shows it.
struct Found {
    handle: ObjectHandle,
    id: Vec<u8>,
    problems: Vec<&'static str>,
}

impl AuditKey {
    /// Makes the key.
    ///
    /// # Errors
    /// `KeyExists` if there is one, `Unsupported` if the token has no ECDSA or keeps no data objects, `KeyAttributes` if
    /// the token does not protect the key as the template says, and those of the token.
    pub fn create(token: Token) -> Result<Self> {
        // Not repeated by itself: where the token goes away meanwhile it may be there or not.
        let point = token.run(Repeat::Never, make)?;
        Self::open_made(token, point)
    }

    /// Makes a key in the place of the one that is there. Heads that the former key signed still verify: its public half
    /// is recorded with the new key, and the key itself is destroyed.
    ///
    /// # Errors
    /// `KeyNotFound` if there is none, `KeyExists` if another process does the same, `LimitExceeded` if no more former
    /// keys can be recorded, and as [`create`](Self::create).
    pub fn rotate(token: Token) -> Result<Self> {
        let point = token.run(Repeat::Never, replace)?;
        Self::open_made(token, point)
    }

    fn open_made(token: Token, point: [u8; 65]) -> Result<Self> {
        Self::open(token).and_then(|key| if key.public.point() == point { Ok(key) } else { Err(exists()) })
    }

    /// Opens the key that is there.
    ///
    /// # Errors
    /// `KeyNotFound` if there is none, `DuplicateKey` if there are several, `KeyAttributes` if it is not protected as it
    /// must be, and those of the token.
    pub fn open(token: Token) -> Result<Self> {
        let record = token.run(Repeat::Once, |session| current(session).map(|(_, record)| record))?;
        let public = public_of(&record)?;
        Ok(Self { token, public })
    }

    /// Returns the public half of the key as it was opened, with which others verify a log without the token.
    #[must_use]
    pub fn public_key(&self) -> &HeadKey {
        &self.public
    }

    /// Records the public halves of audit keys on other tokens, so that heads and anchors that those have signed verify
    /// with this token alone.
    ///
    /// # Errors
    /// `LimitExceeded` if there are too many, and those of the token.
    pub fn trust(&self, others: &[HeadKey]) -> Result<()> {
        self.token.run(Repeat::Never, |session| {
            let (_, record) = current(session)?;
            let mut new = record.clone();
            for other in others.iter().map(HeadKey::point) {
                if other != new.point && !new.peers.contains(&other) && !new.former.contains(&other) {
                    new.peers.push(other);
                }
            }
            if new == record {
                return Ok(());
            }
            new.write(session)?;
            record.destroy(session)
        })
    }
}

impl HeadKeeper for AuditKey {
    fn read(&self, name: Option<&str>) -> Result<KeeperRecords> {
        self.token.run(Repeat::Once, |session| {
            let (_, record) = current(session)?;
            Ok(KeeperRecords { points: record.points(), anchors: anchors::texts(session, name)? })
        })
    }

    fn sign(&self, message: &[u8]) -> Result<HeadSignature> {
        let digest = Sha256::digest(message);
        // Looked up each time: heads are signed seldom, the key may have been replaced, and a handle is good in its
        // generation alone.
        let (record, signature) = self.token.run(Repeat::Once, |session| {
            let (key, record) = current(session)?;
            session.sign(Mechanism::Ecdsa, key.handle, &digest).map(|signature| (record, signature))
        })?;
        // A record that names another public half, or a token that miscalculates, would go unnoticed until the log is
        // verified.
        if !public_of(&record)?.verifies(message, &signature) {
            return Err(not_ours("its signature does not verify with the public half in its record"));
        }
        let signature = signature.try_into().map_err(|_| not_ours("its signature is not 64 bytes long"))?;
        Ok(HeadSignature { point: record.point, signature })
    }

    fn set_anchor(&self, name: &str, text: &str, order: &dyn Fn(&str) -> Result<AnchorOrder>) -> Result<()> {
        self.token.run(Repeat::Never, |session| anchors::set(session, name, text, order))
    }
}

impl fmt::Debug for AuditKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AuditKey({} on {:?})", self.public.id(), self.token)
    }
}

impl Found {
    fn check(&self) -> Result<()> {
        if self.problems.is_empty() {
            return Ok(());
        }
        Err(not_ours(&self.problems.join("; ")))
    }
}

/// Makes the key and its record, and returns its public half. Where several do it at once, at most one succeeds.
fn make(session: &Session<'_>) -> Result<[u8; 65]> {
    let records = record::all(session)?;
    for old in find_all(session)? {
        if records.iter().any(|record| record.id == old.id) {
            return Err(exists());
        }
        discard_unfinished(session, &old)?;
    }
    generate(session, None)
}

/// Makes a key in the place of the current one.
fn replace(session: &Session<'_>) -> Result<[u8; 65]> {
    let (old, old_record) = current(session)?;
    let records = record::all(session)?;
    for other in find_all(session)?.iter().filter(|other| other.id != old.id) {
        // Replaced and not destroyed yet, or never finished.
        match records.iter().find(|record| record.id == other.id) {
            Some(record) => {
                session.destroy_object(other.handle)?;
                record.destroy(session)?;
            }
            None => discard_unfinished(session, other)?,
        }
    }
    // With its record the new key is the current one.
    let point = generate(session, Some((&old, &old_record)))?;
    session.destroy_object(old.handle)?;
    old_record.destroy(session)?;
    Ok(point)
}

fn discard_unfinished(session: &Session<'_>, old: &Found) -> Result<()> {
    // Not finished, and so never used: its public half is not recorded.
    tracing::warn!("destroying an audit key that was never finished");
    session.destroy_object(old.handle)
}

fn generate(session: &Session<'_>, replaced: Option<(&Found, &Record)>) -> Result<[u8; 65]> {
    let mut id = [0; 16];
    session.random(&mut id)?;
    let (public, private) = session.generate_key_pair(Mechanism::EcKeyPairGen, new_public_key(), new_key(id))?;
    let point = session.attributes(public, &[AttributeType::EcPoint]);
    session.destroy_session_object(public);
    let made = point.and_then(|shown| finish(session, id, private, shown.as_ref(), replaced));
    if made.is_err()
        && let Err(error) = session.destroy_object(private)
    {
        tracing::warn!(%error, "an audit key that was not finished could not be destroyed");
    }
    made
}

fn finish(
    session: &Session<'_>,
    id: [u8; 16],
    private: ObjectHandle,
    shown: Option<&Attributes>,
    replaced: Option<(&Found, &Record)>,
) -> Result<[u8; 65]> {
    let point = shown.and_then(|shown| shown.bytes(Attribute::EcPoint)).and_then(uncompressed);
    let point = point.ok_or_else(|| not_ours("the token does not show the public half that it made"))?;
    let all = find_all(session)?;
    let is_expected = |key: &Found| key.id == id || replaced.is_some_and(|(old, _)| key.id == old.id);
    let mine = all.iter().find(|key| key.id == id);
    let (Some(mine), true, true) =
        (mine, all.iter().all(is_expected), all.len() == 1 + usize::from(replaced.is_some()))
    else {
        // Every process that sees another's key gives up, so that two never stay.
        return Err(Error::new(ErrorKind::KeyExists, "another process is making the audit key").with_hint("try again"));
    };
    // What the token made of the template is what counts.
    mine.check()?;
    let challenge: &[u8] = b"keyward.audit-key.v1\0";
    let signature = session.sign(Mechanism::Ecdsa, private, &Sha256::digest(challenge))?;
    if !HeadKey::from_point(point)?.verifies(challenge, &signature) {
        return Err(not_ours("its signature does not verify"));
    }
    Record::new(id, point, replaced.map(|(_, record)| record)).write(session)?;
    Ok(point)
}

/// The key that signs now, and its record.
fn current(session: &Session<'_>) -> Result<(Found, Record)> {
    let found = find_all(session)?;
    let records = record::all(session)?;
    let is_replaced = |one: &Record| records.iter().any(|other| other.former.contains(&one.point));
    let recorded = |key: &Found| records.iter().find(|record| record.id == key.id);
    let is_unfinished = found.len() == 1 && found.iter().all(|key| recorded(key).is_none());
    let mut live = found.into_iter().filter_map(|key| {
        let record = recorded(&key).filter(|record| !is_replaced(record))?.clone();
        Some((key, record))
    });
    match (live.next(), live.next()) {
        (Some((key, record)), None) => key.check().map(|()| (key, record)),
        (None, _) if is_unfinished => Err(not_ours("the record of its public half is missing")),
        (None, _) => {
            Err(Error::new(ErrorKind::KeyNotFound, "the token has no audit key")
                .with_hint("`keyward audit init` makes it"))
        }
        (Some(_), Some(_)) => {
            Err(Error::new(ErrorKind::DuplicateKey, format!("two keys on the token are labelled '{LABEL}'")))
        }
    }
}

fn public_of(record: &Record) -> Result<HeadKey> {
    HeadKey::from_point(record.point)
        .map_err(|error| not_ours("the record of its public half is not one").with_source(error))
}

fn find_all(session: &Session<'_>) -> Result<Vec<Found>> {
    let mut template = search();
    template.push(Attribute::Label(LABEL.as_bytes().to_vec()));
    let mut found = Vec::new();
    for handle in session.find(&template)? {
        let mut types = vec![AttributeType::Id];
        types.extend(REQUIRED.map(|(_, one, ..)| one));
        let Some(shown) = session.attributes(handle, &types)? else { continue };
        let wrong = REQUIRED.iter().filter(|(of, _, must, _)| shown.flag(*of) != Some(*must));
        let problems = wrong.map(|(.., problem)| *problem).collect();
        found.push(Found { handle, id: shown.bytes(Attribute::Id).unwrap_or_default().to_vec(), problems });
    }
    Ok(found)
}

/// `PRIVATE` is part of every search: without any login one can plant a public object on some tokens.
fn search() -> Vec<Attribute> {
    vec![
        Attribute::Class(ObjectClass::PRIVATE_KEY),
        Attribute::KeyType(KeyType::EC),
        Attribute::Token(true),
        Attribute::Private(true),
    ]
}

fn new_key(id: [u8; 16]) -> Vec<Attribute> {
    let mut template = search();
    template.extend([
        Attribute::Label(LABEL.as_bytes().to_vec()),
        Attribute::Id(id.to_vec()),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Sign(true),
        Attribute::Decrypt(false),
        Attribute::Unwrap(false),
        Attribute::Derive(false),
    ]);
    template
}

/// A session object: public keys on a token are never trusted, so none is left there.
fn new_public_key() -> Vec<Attribute> {
    vec![
        Attribute::Token(false),
        Attribute::Private(false),
        Attribute::EcParams(P256.to_vec()),
        Attribute::Verify(true),
        Attribute::Encrypt(false),
        Attribute::Wrap(false),
    ]
}

/// `CKA_EC_POINT` is a point in a DER octet string; some tokens leave out the string.
fn uncompressed(value: &[u8]) -> Option<[u8; 65]> {
    value.strip_prefix(&[0x04, 65]).unwrap_or(value).try_into().ok()
}

fn write(session: &Session<'_>, label: &str, text: &str) -> Result<()> {
    let mut template = template::data(Some(label));
    template.push(Attribute::Value(text.as_bytes().to_vec()));
    session.create_object(template).map(drop)
}

fn exists() -> Error {
    Error::new(ErrorKind::KeyExists, "the token has an audit key already")
}

fn not_ours(problem: &str) -> Error {
    Error::new(ErrorKind::KeyAttributes, format!("the audit key is refused: {problem}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_read_with_and_without_its_octet_string() {
        let point = [4; 65];
        assert_eq!(uncompressed(&point), Some(point));
        assert_eq!(uncompressed(&[&[4, 65][..], &point].concat()), Some(point));
        assert_eq!(uncompressed(&point[1..]), None);
    }
}
