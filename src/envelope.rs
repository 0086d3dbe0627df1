//! Envelopes: data encrypted on the host under a fresh data key, which travels with the data,
//! wrapped by one or more master keys. The format is `docs/format.md`.
//!
//! `CORE ‖ SLOTS ‖ BODY`: CORE never changes and is bound into the body's key; SLOTS hold the
//! wrapped keys and can be rewritten without touching the body; BODY is a published standard.
//!
//! ```
//! # #[cfg(feature = "testkit")] {
//! use keyward::{AlgorithmChoice, Decryptor, Encryptor, KeyAdmin, KeyName};
//! // Tests use a provider in memory; programs use `keyward::hsm::HsmProvider`.
//! let provider = keyward::testkit::MemoryProvider::new();
//! let key: KeyName = "records".parse()?;
//! provider.create_key(&key, AlgorithmChoice::Auto)?;
//!
//! let sealed = Encryptor::new(&provider, &key).encrypt(b"hello")?;
//! assert_eq!(Decryptor::new(&provider).decrypt(&sealed)?, b"hello");
//! # }
//! # Ok::<(), keyward::Error>(())
//! ```

pub mod body;
mod content;
mod core;
mod encryptor;
mod feed;
mod file;
mod input;
mod inspect;
mod memory;
mod open;
mod opening;
#[cfg(feature = "object-store")]
pub(crate) mod parts;
mod pipeline;
mod range;
mod read_at;
mod reader;
mod reencrypt;
mod rewrap;
mod room;
mod slots;
mod verifier;
mod writer;

pub use content::Content;
pub use encryptor::Encryptor;
pub use input::InputFile;
pub use inspect::{InspectedEntry, Inspection, inspect};
pub use opening::{Opening, UnwrappedEntry};
pub use range::OpenEnvelope;
pub use read_at::{Positioned, ReadAt};
pub use reader::{DecryptReader, Decryptor};
#[cfg(feature = "object-store")]
pub(crate) use reencrypt::same_key;
pub use reencrypt::{Freshness, Recipients, Reencrypt, ReencryptOutcome};
pub use rewrap::{Rewrap, RewrapOutcome};
pub use slots::DetachedSlots;
pub use writer::EncryptWriter;

use crate::error::{Error, ErrorKind};

/// What a body's key derivation is bound to, before CORE.
const BODY_CONTEXT: &[u8] = b"keyward.envelope.v1\0";

/// Something in the structure of an envelope is not as the format says.
fn malformed(what: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::NotAnEnvelope, what)
}
