//! The encrypting object store, around stores in memory and on a disk.

#![allow(clippy::single_range_in_vec_init, reason = "one range of several is asked for")]

mod bound;
mod customer;
mod detached;
mod faults;
mod fixture;
mod policy;
mod ranges;
#[path = "../rules/raw.rs"]
#[allow(dead_code, reason = "what other tests need of it")]
mod raw;
// The clients of object_store come with the command line.
#[cfg(feature = "cli")]
mod s3;
#[cfg(feature = "cli")]
#[path = "../common/s3_server.rs"]
mod s3_server;
mod spy;
mod suite;
mod trust;
mod watched;
mod writes;
