//! Talking to a PKCS#11 token: modules, URIs, sessions, return codes, capabilities.
//!
//! This is the only place that knows `cryptoki`. What is above uses the few types and calls that
//! are passed on here.

mod attributes;
mod calls;
mod connect;
mod fault;
mod gate;
mod handle;
mod info;
mod initialize;
mod login;
mod mechanism;
mod module;
mod observe;
mod opened;
mod options;
mod outage;
mod pin;
mod pool;
mod process_login;
mod profile;
mod quirks;
mod raw;
mod recovery;
mod session;
mod softhsm;
mod uri;
#[cfg(all(test, feature = "testkit"))]
mod vectors;
mod workers;

pub use info::{Capabilities, TokenInfo};
pub use initialize::{Standing, TokenInit};
pub use module::Module;
pub use opened::Token;
pub use options::TokenOptions;
pub use pin::Pin;
pub use quirks::Quirks;
pub use softhsm::softhsm_directory;
pub use uri::TokenUri;

pub(crate) use attributes::Attributes;
pub(crate) use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
pub(crate) use fault::{Code, Trouble};
pub(crate) use mechanism::{Mechanism, OaepHash};
pub(crate) use opened::Repeat;
pub(crate) use session::Session;
