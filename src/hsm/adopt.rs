//! Taking over a key that another tool made.

use super::canary::prove;
use super::lookup;
use super::numbering::Numbers;
use super::object::{self, KeyClass, MasterKey, attributes_of, history_warnings};
use super::record::{Record, RecordLookup};
use super::template;
use crate::error::{Error, ErrorKind, Result};
use crate::key::{Adoption, KeyName, KeyVersion, Provenance, WrappingAlgorithm};
use crate::token::{Attribute, Attributes, ObjectHandle, Session};

/// Returns the name and version that a label says.
pub(super) fn parse_label(label: &str) -> Result<(KeyName, KeyVersion)> {
    object::parse_label(label.as_bytes()).ok_or_else(|| {
        Error::new(ErrorKind::InvalidArgument, format!("the label '{}' is no key name", label.escape_debug()))
            .with_hint("give the key a label of NAME or NAME:VERSION with its own tool; a name is 1 to 64 of: A-Z a-z 0-9 . _ / -")
    })
}

/// Adopts the one key of this label, which says this name and version: narrows its usage to one purpose, proves that it
/// works, and records that an operator vouched for it.
pub(super) fn adopt(session: &Session<'_>, label: &str, name: &KeyName, version: KeyVersion) -> Result<Adoption> {
    let (handle, class) = find(session, label)?;
    let shown = session.attributes(handle, &attributes_of(class))?.ok_or_else(|| not_found(label))?;
    let before = MasterKey::from_attributes(handle, class, &shown, RecordLookup::Absent).ok_or_else(|| {
        Error::new(
            ErrorKind::KeyAttributes,
            format!("key '{label}' has no CKA_ID, by which wrapped keys would name it"),
        )
        .with_hint("set one with the token's own tool; 16 random bytes are best")
    })?;
    if Record::find(session, before.description.kek_id, &format!("{name}:{version}"))?.is_some() {
        return Err(Error::new(ErrorKind::KeyExists, format!("key '{label}' is Keyward's already")));
    }
    refuse_unprotected(&shown, label)?;
    let numbers = Numbers::read(session, name)?;
    if numbers.is_spent(version, before.description.kek_id) {
        return Err(numbers.refusal(version));
    }
    let metadata = numbers.metadata(session, version)?;

    let mut warnings = history_warnings(&shown);
    let (algorithms, changes) = narrow(session, handle, class, &shown, &mut warnings)?;
    // Which hash an RSA key's token takes shows in use only: the first that works.
    let mut refused = None;
    for algorithm in algorithms {
        let mut record = Record::new(before.description.kek_id, *algorithm, Provenance::Adopted, metadata.clone());
        let now = session.attributes(handle, &attributes_of(class))?.ok_or_else(|| not_found(label))?;
        let key = MasterKey::from_attributes(handle, class, &now, RecordLookup::Found(record.clone()))
            .ok_or_else(|| not_found(label))?;
        key.check_usable()?;
        match prove(session, &key) {
            Ok(canary) => {
                record.canary = Some(canary);
                record.write(session, &key.description.label())?;
                let key = lookup::read(session, handle, class)?.ok_or_else(|| not_found(label))?;
                return Ok(Adoption::new(key.description, changes, warnings));
            }
            Err(error) => refused = Some(error),
        }
    }
    Err(refused.unwrap_or_else(|| not_found(label)))
}

/// The one private key object of this label.
fn find(session: &Session<'_>, label: &str) -> Result<(ObjectHandle, KeyClass)> {
    let mut found = Vec::new();
    for class in KeyClass::ALL {
        let mut template = template::search(class);
        template.push(Attribute::Label(label.as_bytes().to_vec()));
        found.extend(session.find(&template)?.into_iter().map(|handle| (handle, class)));
    }
    match found[..] {
        [one] => Ok(one),
        [] => Err(not_found(label)),
        _ => Err(Error::new(ErrorKind::DuplicateKey, format!("{} keys have the label '{label}'", found.len()))
            .with_hint("give each a label of its own with the token's own tool")),
    }
}

/// An operator can vouch for where a key came from, not for a key that can be read today.
fn refuse_unprotected(shown: &Attributes, label: &str) -> Result<()> {
    let open = match (shown.flag(Attribute::Sensitive), shown.flag(Attribute::Extractable)) {
        (Some(true), Some(false)) => return Ok(()),
        (Some(true), _) => "CKA_EXTRACTABLE is not false",
        _ => "CKA_SENSITIVE is not true",
    };
    Err(Error::new(ErrorKind::KeyAttributes, format!("key '{label}' is not adopted: {open}"))
        .with_hint("a key whose value can leave the token is no master key; make one with `keyward key create`"))
}

/// Takes away what a key of one purpose has no use for, and tells for which algorithms it may serve.
fn narrow(
    session: &Session<'_>,
    handle: ObjectHandle,
    class: KeyClass,
    shown: &Attributes,
    warnings: &mut Vec<String>,
) -> Result<(&'static [WrappingAlgorithm], Vec<String>)> {
    type Flag = (fn(bool) -> Attribute, &'static str);
    const CRYPT: [Flag; 2] = [(Attribute::Encrypt, "CKA_ENCRYPT"), (Attribute::Decrypt, "CKA_DECRYPT")];
    const WRAP: [Flag; 2] = [(Attribute::Wrap, "CKA_WRAP"), (Attribute::Unwrap, "CKA_UNWRAP")];
    let flag = |of: fn(bool) -> Attribute| shown.flag(of).unwrap_or(false);

    let can = |[one, other]: [Flag; 2]| flag(one.0) && flag(other.0);
    if class == KeyClass::Aes && !can(CRYPT) && !can(WRAP) {
        let message = "the key may neither encrypt and decrypt nor wrap and unwrap";
        return Err(
            Error::new(ErrorKind::KeyAttributes, message).with_hint("allow it one of the two with its own tool")
        );
    }
    let (algorithms, mut surplus): (&[WrappingAlgorithm], Vec<Flag>) = match class {
        KeyClass::Rsa => (&[WrappingAlgorithm::RsaOaep, WrappingAlgorithm::RsaOaepSha1], vec![WRAP[1]]),
        KeyClass::Aes if can(CRYPT) => (&[WrappingAlgorithm::AesGcm], WRAP.to_vec()),
        KeyClass::Aes => (&[WrappingAlgorithm::AesKw], CRYPT.to_vec()),
    };
    surplus.extend([(Attribute::Sign as fn(bool) -> Attribute, "CKA_SIGN"), (Attribute::Derive, "CKA_DERIVE")]);
    let mut changes = Vec::new();
    for (of, name) in surplus.into_iter().filter(|(of, _)| flag(*of)) {
        match session.set_attributes(handle, vec![of(false)]) {
            Ok(()) => changes.push(format!("{name} was true and is false now")),
            Err(error) => warnings.push(format!("{name} is true and the token keeps it so: {error}")),
        }
    }
    Ok((algorithms, changes))
}

fn not_found(label: &str) -> Error {
    Error::new(
        ErrorKind::KeyNotFound,
        format!("no private AES or RSA key on the token has the label '{}'", label.escape_debug()),
    )
}
