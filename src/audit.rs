//! The audit log: what was asked of keys, by whom, and what came of it, in a chain of hashes whose head is
//! signed on the token.

mod chain;
mod event;
mod file;
mod files;
mod hash;
mod head;
mod line;
mod log;
mod notary;
mod options;
mod verifying;
mod writer;

pub use event::{Event, EventKey, Outcome};
pub use hash::{Hash, Id};
pub use head::Anchor;
pub use line::{Ended, Entry, Line, LineKey};
pub use log::{AuditLog, Pending};
pub use options::AuditOptions;
pub use verifying::HeadKey;
