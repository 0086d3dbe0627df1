//! Records beside keys, written past the provider.

use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;

/// Writes a record, as Keyward would write it beside the key of this label.
pub(crate) fn write(session: &Session, label: &str, text: &str) {
    session
        .create_object(&[
            Attribute::Class(ObjectClass::DATA),
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Application(b"keyward".to_vec()),
            Attribute::Label(label.as_bytes().to_vec()),
            Attribute::Value(text.as_bytes().to_vec()),
        ])
        .unwrap();
}

/// The record of a key that was never finished, made long ago.
pub(crate) fn pending(id: [u8; 16]) -> String {
    let kek_id = keyward::KekId::from_bytes(id);
    format!(
        "keyward-key-record 2\nkek-id {kek_id}\nalgorithm aes-gcm\nusage encrypt-decrypt\nprovenance generated\n\
         created 1\nuid {kek_id}\npurpose envelope\nhighest-version 1\ngate enabled\n"
    )
}

/// Keyward's data objects, each with its label and its text.
pub(crate) fn all(session: &Session) -> Vec<(ObjectHandle, String, String)> {
    let objects = super::raw::objects(session, &[Attribute::Class(ObjectClass::DATA)]);
    let text = |handle, of| match &session.get_attributes(handle, &[of]).unwrap()[..] {
        [Attribute::Label(bytes) | Attribute::Value(bytes)] => String::from_utf8(bytes.clone()).unwrap(),
        other => panic!("{other:?}"),
    };
    let read = |handle| (handle, text(handle, AttributeType::Label), text(handle, AttributeType::Value));
    let mut all: Vec<_> = objects.into_iter().map(read).collect();
    all.sort_by(|one, other| one.1.cmp(&other.1));
    all
}

/// The value of a field in a record or tombstone.
pub(crate) fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
}

/// Writes the record or tombstone of this label once more, changed.
pub(crate) fn rewrite(session: &Session, label: &str, change: impl Fn(&str) -> String) {
    let before: Vec<_> = all(session).into_iter().filter(|(_, own, _)| own == label).collect();
    write(session, label, &change(&before[0].2));
    before.into_iter().for_each(|(old, ..)| session.destroy_object(old).unwrap());
}
