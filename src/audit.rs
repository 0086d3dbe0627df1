//! The audit log: what was asked of keys, by whom, and what came of it, in a chain of hashes whose head is
//! signed on the token.

mod chain;
mod diagnose;
mod event;
mod file;
mod files;
mod hash;
mod head;
mod history;
mod line;
mod log;
mod notary;
mod options;
mod verify;
mod verifying;
mod walk;
mod writer;

pub use diagnose::Diagnosis;
pub use event::{Event, EventKey, Outcome};
pub use hash::{Hash, Id};
pub use head::Anchor;
pub use history::{Filter, History, Record, RecordResult, history};
pub use line::{Ended, Entry, Line, LineKey};
pub use log::{AuditLog, Pending};
pub use options::AuditOptions;
pub use verify::{Finding, Report, Verify};
pub use verifying::HeadKey;
