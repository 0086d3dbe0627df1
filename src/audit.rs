//! The audit log: what was asked of keys, by whom, and what came of it, in a chain of hashes whose head is
//! signed on the token.
