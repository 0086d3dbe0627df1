//! All objects of a token, each with what tells it apart.

use super::HsmProvider;
use crate::error::Result;
use crate::token::{Attribute, AttributeType, ObjectClass, Repeat};

/// An object of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenObject {
    /// `secret-key`, `private-key`, `public-key`, `certificate`, `data` or `other`.
    pub class: &'static str,
    /// Its label, as far as it is text.
    pub label: String,
    /// Its `CKA_ID`; empty where it has none.
    pub id: Vec<u8>,
    /// Whether it is a secret or private key of which the token does not say that it cannot be extracted.
    pub extractable: bool,
}

const CLASSES: [(ObjectClass, &str); 5] = [
    (ObjectClass::SECRET_KEY, "secret-key"),
    (ObjectClass::PRIVATE_KEY, "private-key"),
    (ObjectClass::PUBLIC_KEY, "public-key"),
    (ObjectClass::CERTIFICATE, "certificate"),
    (ObjectClass::DATA, "data"),
];

impl HsmProvider {
    /// All objects of the token that a user sees, whoever made them, ordered by class, label and id. Objects of sessions
    /// are not among them.
    ///
    /// # Errors
    /// Those of the token.
    pub fn objects(&self) -> Result<Vec<TokenObject>> {
        const READ: [AttributeType; 4] =
            [AttributeType::Class, AttributeType::Label, AttributeType::Id, AttributeType::Extractable];
        self.token.run(Repeat::Once, |session| {
            let mut objects = Vec::new();
            for handle in session.find(&[Attribute::Token(true)])? {
                // One that is gone meanwhile is none.
                let Some(shown) = session.attributes(handle, &READ)? else { continue };
                let of_class = |(class, _): &&(ObjectClass, _)| {
                    matches!(shown.get(AttributeType::Class), Some(Attribute::Class(own)) if own == class)
                };
                let class = CLASSES.iter().find(of_class).map_or("other", |(_, name)| name);
                let is_key = matches!(class, "secret-key" | "private-key");
                objects.push(TokenObject {
                    class,
                    label: String::from_utf8_lossy(shown.bytes(Attribute::Label).unwrap_or_default()).into_owned(),
                    id: shown.bytes(Attribute::Id).unwrap_or_default().to_vec(),
                    extractable: is_key && shown.flag(Attribute::Extractable) != Some(false),
                });
            }
            objects.sort_by(|one, other| (one.class, &one.label, &one.id).cmp(&(other.class, &other.label, &other.id)));
            Ok(objects)
        })
    }
}
