//! Talking to a PKCS#11 token: modules, URIs, sessions, return codes, capabilities.
//!
//! This is the only place that knows `cryptoki`. What is above uses the few types and calls that
//! are passed on here.

mod fault;
mod module;
mod neighbours;
mod pin;
mod pool;
mod raw;
mod session;
mod uri;
#[cfg(all(test, feature = "testkit"))]
mod vectors;

pub use module::{Capabilities, Module, TokenInfo};
pub use pin::Pin;
pub use pool::{Token, TokenOptions};
pub use uri::TokenUri;

pub(crate) use cryptoki::mechanism::aead::GcmParams;
pub(crate) use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsOaepParams, PkcsOaepSource};
pub(crate) use cryptoki::mechanism::{Mechanism, MechanismType};
pub(crate) use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
pub(crate) use session::{Attributes, Session};
