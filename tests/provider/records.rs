//! Records beside keys, written past the provider.

use cryptoki::object::{Attribute, ObjectClass};
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
