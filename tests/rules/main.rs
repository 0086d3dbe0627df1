//! Every rule of `docs/format.md`, each with the envelope that breaks it.
//!
//! The envelopes are put together byte by byte by [`raw`], which shares no code with the library, so
//! that each is whole and authentic but for the one rule that it breaks.

mod attackers;
mod compact;
mod content;
mod context;
mod core;
mod crash;
mod customer;
mod detached;
mod entries;
mod files;
mod fixture;
mod flips;
mod forms;
mod full_disk;
mod keyring;
mod locking;
mod lost;
mod opening;
mod parallel;
mod place;
mod properties;
mod ranges;
mod raw;
mod reencrypt;
mod rewrap;
mod slot_copies;
mod streams;
mod tags;

#[path = "../common/small_disk.rs"]
#[allow(dead_code, reason = "what other tests need of it")]
mod small_disk;
