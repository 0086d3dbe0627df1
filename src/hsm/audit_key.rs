//! The key that signs the heads of audit logs, and the anchors that are kept beside it.
//!
//! It is a private key object of its own, `keyward-audit`, that may sign and nothing else. A private
//! key on the curve P-256 does not show its public half, so that stands in a private data object of the
//! same label, and every signature is verified with it before it is handed out.

use super::template;
use crate::audit::HeadKey;
use crate::error::{Error, ErrorKind, Result};
use crate::key::{AnchorStore, Signer};
use crate::token::{
    Attribute, AttributeType, Attributes, KeyType, Mechanism, ObjectClass, ObjectHandle, Repeat, Session, Token,
};
use sha2::{Digest, Sha256};
use std::fmt;

const LABEL: &str = "keyward-audit";
/// What stands before the id of a log in the label of its anchor. With a blank, it is no key's name.
const ANCHOR: &str = "keyward audit anchor ";
const FIRST_LINE: &str = "keyward-audit-key 1";
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
/// let options = AuditOptions::default().signer(key.clone()).anchors(key);
/// let log = AuditLog::open("/var/log/keyward/audit.log".as_ref(), options)?;
/// # Ok::<(), keyward::Error>(())
/// ```
pub struct AuditKey {
    token: Token,
    id: [u8; 16],
    point: [u8; 65],
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
    /// `KeyExists` where there is one, `Unsupported` where the token has no ECDSA or keeps no data
    /// objects, `KeyAttributes` where it does not protect the key as it was told to, and those of the token.
    pub fn create(token: Token) -> Result<Self> {
        // Not repeated by itself: where the token goes away meanwhile it may be there or not.
        let id = token.run(Repeat::Never, make)?;
        Self::open(token).and_then(|key| if key.id == id { Ok(key) } else { Err(exists()) })
    }

    /// The key that is there.
    ///
    /// # Errors
    /// `KeyNotFound` where there is none, `DuplicateKey` where there are several, `KeyAttributes`
    /// where it is not protected as it must be, and those of the token.
    pub fn open(token: Token) -> Result<Self> {
        let (id, point) = token.run(Repeat::Once, |session| {
            let key = find_one(session)?;
            key.check()?;
            let point = point_of(session, &key.id)?;
            let id: [u8; 16] = key.id.as_slice().try_into().map_err(|_| not_ours("its id is not one of ours"))?;
            Ok((id, point.ok_or_else(|| not_ours("the record of its public half is missing"))?))
        })?;
        let public = HeadKey::from_point(point)
            .map_err(|error| not_ours("the record of its public half is not one").with_source(error))?;
        Ok(Self { token, id, point, public })
    }

    /// The public half, with which others verify a log without the token.
    #[must_use]
    pub fn public_key(&self) -> &HeadKey {
        &self.public
    }
}

impl Signer for AuditKey {
    fn public_point(&self) -> [u8; 65] {
        self.point
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64]> {
        let digest = Sha256::digest(message);
        let signature = self.token.run(Repeat::Once, |session| {
            // Looked up each time: heads are signed seldom, and a handle is good in its generation alone.
            let key = find_one(session)?;
            key.check()?;
            if key.id != self.id {
                return Err(not_ours("it is not the key that it was"));
            }
            session.sign(Mechanism::Ecdsa, key.handle, &digest)
        })?;
        // A record that names another public half, or a token that miscalculates, would go unnoticed until
        // somebody verifies the log.
        if !self.public.verifies(message, &signature) {
            return Err(not_ours("its signature does not verify with the public half in its record"));
        }
        signature.try_into().map_err(|_| not_ours("its signature is not 64 bytes long"))
    }
}

impl AnchorStore for AuditKey {
    fn anchors(&self) -> Result<Vec<String>> {
        self.token.run(Repeat::Once, |session| {
            let mut texts = Vec::new();
            for handle in session.find(&template::data(None))? {
                let Some(shown) = session.attributes(handle, &[AttributeType::Label, AttributeType::Value])? else {
                    continue;
                };
                let is_anchor = shown.bytes(Attribute::Label).is_some_and(|label| label.starts_with(ANCHOR.as_bytes()));
                let text = shown.bytes(Attribute::Value).and_then(|value| std::str::from_utf8(value).ok());
                texts.extend(text.filter(|_| is_anchor).map(ToOwned::to_owned));
            }
            Ok(texts)
        })
    }

    fn set_anchor(&self, name: &str, text: &str) -> Result<()> {
        let label = format!("{ANCHOR}{name}");
        self.token.run(Repeat::Never, |session| {
            let before = session.find(&template::data(Some(&label)))?;
            write(session, &label, text)?;
            for old in before {
                // The new one says more than the old, so both may be there.
                if let Err(error) = session.destroy_object(old) {
                    tracing::warn!(label, %error, "an old anchor stays on the token beside the new one");
                }
            }
            Ok(())
        })
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

/// Makes the key and its record. Where several do it at once, at most one succeeds.
fn make(session: &Session<'_>) -> Result<[u8; 16]> {
    for old in find_all(session)? {
        if point_of(session, &old.id)?.is_some() {
            return Err(exists());
        }
        // Not finished, and so never used: its public half is known to nobody.
        tracing::warn!("destroying an audit key that was never finished");
        session.destroy_object(old.handle)?;
    }
    let mut id = [0; 16];
    session.random(&mut id)?;
    let (public, private) = session.generate_key_pair(Mechanism::EcKeyPairGen, new_public_key(), new_key(id))?;
    let point = session.attributes(public, &[AttributeType::EcPoint]);
    session.destroy_session_object(public);
    let made = point.and_then(|shown| finish(session, id, private, shown.as_ref()));
    if made.is_err()
        && let Err(error) = session.destroy_object(private)
    {
        tracing::warn!(%error, "an audit key that was not finished could not be destroyed");
    }
    made.map(|()| id)
}

fn finish(session: &Session<'_>, id: [u8; 16], private: ObjectHandle, shown: Option<&Attributes>) -> Result<()> {
    let point = shown.and_then(|shown| shown.bytes(Attribute::EcPoint)).and_then(uncompressed);
    let point = point.ok_or_else(|| not_ours("the token does not show the public half that it made"))?;
    let all = find_all(session)?;
    let [mine] = all.as_slice() else {
        // Whoever sees another gives up, so that two never stay.
        return Err(Error::new(ErrorKind::KeyExists, "another process is making the audit key").with_hint("try again"));
    };
    // What the token made of the template is what counts.
    mine.check()?;
    let challenge: &[u8] = b"keyward.audit-key.v1\0";
    let signature = session.sign(Mechanism::Ecdsa, private, &Sha256::digest(challenge))?;
    if !HeadKey::from_point(point)?.verifies(challenge, &signature) {
        return Err(not_ours("its signature does not verify"));
    }
    write(session, LABEL, &format!("{FIRST_LINE}\nid {}\npoint {}\n", hex(&id), hex(&point)))
}

fn find_one(session: &Session<'_>) -> Result<Found> {
    let mut found = find_all(session)?.into_iter();
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one),
        (None, _) => {
            Err(Error::new(ErrorKind::KeyNotFound, "the token has no audit key")
                .with_hint("`keyward audit init` makes it"))
        }
        (Some(_), Some(_)) => {
            Err(Error::new(ErrorKind::DuplicateKey, format!("two keys on the token are labelled '{LABEL}'")))
        }
    }
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

/// The public half of the key with this id, from its record.
fn point_of(session: &Session<'_>, id: &[u8]) -> Result<Option<[u8; 65]>> {
    for handle in session.find(&template::data(Some(LABEL)))? {
        let Some(shown) = session.attributes(handle, &[AttributeType::Value])? else { continue };
        let text = shown.bytes(Attribute::Value).and_then(|value| std::str::from_utf8(value).ok());
        if let Some(point) = text.and_then(|text| parse_record(text, id)) {
            return Ok(Some(point));
        }
    }
    Ok(None)
}

fn parse_record(text: &str, id: &[u8]) -> Option<[u8; 65]> {
    let mut lines = text.strip_suffix('\n')?.split('\n');
    let is_its = lines.next()? == FIRST_LINE && lines.next()?.strip_prefix("id ")? == hex(id);
    let digits = lines.next()?.strip_prefix("point ")?;
    if !is_its || lines.next().is_some() || digits.len() != 130 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let mut point = [0; 65];
    for (index, byte) in point.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(point)
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

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_that_of_its_key_alone() {
        let point = [4; 65];
        let text = format!("{FIRST_LINE}\nid {}\npoint {}\n", hex(&[1; 16]), hex(&point));
        assert_eq!(parse_record(&text, &[1; 16]), Some(point));
        assert_eq!(parse_record(&text, &[2; 16]), None);
        for bad in [
            "",
            text.trim_end(),
            &text.replace("key 1", "key 2"),
            &format!("{text}more\n"),
            &text.replace("point 04", "point +4"),
        ] {
            assert_eq!(parse_record(bad, &[1; 16]), None, "{bad}");
        }
    }

    #[test]
    fn a_point_is_read_with_and_without_its_octet_string() {
        let point = [4; 65];
        assert_eq!(uncompressed(&point), Some(point));
        assert_eq!(uncompressed(&[&[4, 65][..], &point].concat()), Some(point));
        assert_eq!(uncompressed(&point[1..]), None);
    }
}
