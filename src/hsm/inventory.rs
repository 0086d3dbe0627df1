//! What is on a token, in numbers, to be held against what a plan expects.

use super::record::data_objects;
use super::tombstone::Tombstone;
use super::{HsmProvider, backup, lookup};
use crate::error::Result;
use crate::token::{Attribute, ObjectClass, Repeat, Session};

/// How many objects of each class a token has, and how many of Keyward's own kinds. One object counts once
/// in the first and may count in the second.
///
/// Who is logged in sees private objects and public ones. Those that only the security officer sees, where a
/// token has such, are not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "governed", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Inventory {
    /// Secret keys.
    pub secret_keys: usize,
    /// Private keys.
    pub private_keys: usize,
    /// Public keys.
    pub public_keys: usize,
    /// Certificates.
    pub certificates: usize,
    /// Data objects.
    pub data_objects: usize,
    /// Objects of any other class.
    pub others: usize,
    /// Objects of this process's sessions, which end with them. They are in no other number.
    pub session_objects: usize,
    /// Versions of master keys that are finished, whoever made them.
    pub keys: usize,
    /// Versions of master keys that are not finished.
    pub pending_keys: usize,
    /// Records of keys.
    pub records: usize,
    /// What remains of destroyed keys.
    pub tombstones: usize,
    /// Keys that sign audit logs.
    pub audit_keys: usize,
    /// Keys under which others are wrapped on their way to this token.
    pub transport_keys: usize,
}

impl HsmProvider {
    /// Counts what is on the token.
    ///
    /// # Errors
    /// As [`KeyAdmin::list_keys`](crate::KeyAdmin::list_keys).
    pub fn inventory(&self) -> Result<Inventory> {
        self.token.run(Repeat::Once, count)
    }
}

fn count(session: &Session<'_>) -> Result<Inventory> {
    let of_token = |more: Vec<Attribute>| {
        let template: Vec<_> = std::iter::once(Attribute::Token(true)).chain(more).collect();
        session.find(&template).map(|found| found.len())
    };
    let of_class = |class| of_token(vec![Attribute::Class(class)]);
    let private_key = |label: &str| {
        of_token(vec![Attribute::Class(ObjectClass::PRIVATE_KEY), Attribute::Label(label.as_bytes().to_vec())])
    };
    let keys = lookup::all(session)?;
    let objects = data_objects(session, None)?;
    let pending = keys.iter().filter(|key| key.is_pending()).count();
    let mut inventory = Inventory {
        secret_keys: of_class(ObjectClass::SECRET_KEY)?,
        private_keys: of_class(ObjectClass::PRIVATE_KEY)?,
        public_keys: of_class(ObjectClass::PUBLIC_KEY)?,
        certificates: of_class(ObjectClass::CERTIFICATE)?,
        data_objects: of_class(ObjectClass::DATA)?,
        others: 0,
        session_objects: session.find(&[Attribute::Token(false)])?.len(),
        keys: keys.len() - pending,
        pending_keys: pending,
        records: objects.iter().filter(|object| object.record().is_some()).count(),
        tombstones: objects.iter().filter(|object| Tombstone::read(object).is_some()).count(),
        audit_keys: private_key("keyward-audit")?,
        transport_keys: private_key(backup::TRANSPORT_LABEL)?,
    };
    let Inventory { secret_keys, private_keys, public_keys, certificates, data_objects, .. } = inventory;
    let known = secret_keys + private_keys + public_keys + certificates + data_objects;
    inventory.others = of_token(vec![])?.saturating_sub(known);
    Ok(inventory)
}
