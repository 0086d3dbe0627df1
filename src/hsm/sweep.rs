//! What an interrupted backup may have left: copies of a key that can be extracted, or that live in a session.
//! They are found and destroyed, and it is shown that none is left.

use super::HsmProvider;
use crate::error::Result;
use crate::key::KekId;
use crate::token::{Attribute, AttributeType, Attributes, ObjectClass, ObjectHandle, Session};

/// A secret or private key as a sweep found it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "governed", derive(serde::Serialize))]
#[non_exhaustive]
pub struct KeyObject {
    /// Its label, as far as it is text.
    pub label: String,
    /// Its `CKA_ID`.
    pub id: Vec<u8>,
    /// Whether it is an object of the token; else of a session of this process.
    pub of_token: bool,
    /// Whether it can be extracted; none where the token does not tell.
    pub extractable: Option<bool>,
}

/// What a sweep did and found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sweep {
    /// Destroyed: objects of the planned ids that could be extracted or lived in a session.
    pub destroyed: Vec<KeyObject>,
    /// Every secret or private key that is there after it and is not said to be unextractable.
    pub extractable: Vec<KeyObject>,
}

impl Sweep {
    /// Whether every secret and private key that this process sees says that it cannot be extracted.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.extractable.is_empty()
    }
}

impl HsmProvider {
    /// Destroys what was left of these planned keys in a form that could leave the token, and looks through all
    /// keys of the token for any that can.
    ///
    /// Not while anybody of this process wraps under an AES-KW key: data keys pass through the token as
    /// extractable session objects, which would be found.
    ///
    /// # Errors
    /// Those of the token. What was destroyed before stays so.
    pub fn sweep(&self, planned: &[KekId]) -> Result<Sweep> {
        self.change_token(|session| {
            let mut destroyed = Vec::new();
            for (handle, object) in keys(session)? {
                let ours = planned.iter().any(|id| id.as_bytes().as_slice() == object.id);
                if ours && !(object.of_token && object.extractable == Some(false)) {
                    session.destroy_object(handle)?;
                    destroyed.push(object);
                }
            }
            // Looked at once more, and one by one: a search by CKA_EXTRACTABLE would believe a token that does
            // not know the attribute.
            let left = keys(session)?.into_iter().map(|(_, object)| object);
            let extractable = left.filter(|object| object.extractable != Some(false)).collect();
            Ok(Sweep { destroyed, extractable })
        })
    }
}

/// All secret and private keys: of the token and of sessions, private and public, of any type.
fn keys(session: &Session<'_>) -> Result<Vec<(ObjectHandle, KeyObject)>> {
    const READ: [AttributeType; 4] =
        [AttributeType::Label, AttributeType::Id, AttributeType::Token, AttributeType::Extractable];
    let mut keys = Vec::new();
    for class in [ObjectClass::SECRET_KEY, ObjectClass::PRIVATE_KEY] {
        for handle in session.find(&[Attribute::Class(class)])? {
            if let Some(shown) = session.attributes(handle, &READ)? {
                keys.push((handle, object(&shown)));
            }
        }
    }
    Ok(keys)
}

fn object(shown: &Attributes) -> KeyObject {
    KeyObject {
        label: String::from_utf8_lossy(shown.bytes(Attribute::Label).unwrap_or_default()).into_owned(),
        id: shown.bytes(Attribute::Id).unwrap_or_default().to_vec(),
        of_token: shown.flag(Attribute::Token).unwrap_or(true),
        extractable: shown.flag(Attribute::Extractable),
    }
}
