//! The audit log: what was asked of keys, by whom, and what came of it, in a chain of hashes whose head is
//! signed on the token.
//!
//! [`AuditLog`] writes it. Before an operation is done, its intent is on the disk: [`AuditLog::begin`]
//! returns when it is, and an error means that nothing may be done. What came of it is said to the
//! [`Pending`] that it returns. Operations that begin at the same time share one write and one sync, and the
//! processes of a host share the file.
//!
//! A log has a [name](LogName) and keepers: tokens that sign its heads and hold its anchors, each a signed head out of
//! reach of an attacker who writes the files. Opening the log checks first that it extends what its keepers have
//! seen, so that no honest signature covers a log that was replaced, cut or rewritten.
//!
//! [`Verify`] finds out whether a log is as it was written, with the token or with the exported public key
//! alone. [`history`] reads the operations back. The format and what it is worth are in `docs/audit.md`:
//! in short, a holder of the PIN can use the token without Keyward, and what came after the last anchor on the token
//! is not protected yet.

mod chain;
mod diagnose;
mod event;
mod extension;
mod file;
mod files;
mod guard;
mod hash;
mod head;
mod head_signer;
mod history;
mod keepers;
mod line;
mod lock;
mod log;
mod name;
mod options;
mod retire;
pub(crate) mod sealed;
mod tail;
mod verify;
mod verifying;
mod walk;
mod writer;

pub use diagnose::Diagnosis;
pub use event::{Event, EventKey, Outcome};
pub use hash::{Hash, Id};
pub use head::{Anchor, Link};
pub use history::{Filter, History, Record, RecordResult, history};
pub use line::{Ended, Entry, Line, LineKey};
pub use log::{AuditLog, Pending};
pub use name::LogName;
pub use options::AuditOptions;
pub use retire::{live_anchors, retire};
pub use verify::{Finding, Report, Verify};
pub use verifying::HeadKey;
