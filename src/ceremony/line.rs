//! One line of a transcript: its place in the chain is as those of the audit log have it.

use super::entry::Entry;
use crate::audit::sealed::{self, Content};

/// A line of a transcript.
pub type Line = sealed::Line<Entry>;

/// The longest line, in bytes.
pub(super) const MAX_LEN: usize = 1 << 20;

impl Content for Entry {
    const DOMAIN: &'static [u8] = b"keyward.ceremony.v1\0";
    const MAX_LEN: usize = MAX_LEN;
}
