//! The encrypting object store, around stores in memory and on a disk.

#![allow(clippy::single_range_in_vec_init, reason = "one range of several is asked for")]

mod bound;
mod customer;
mod detached;
mod faults;
mod fixture;
mod policy;
mod ranges;
mod spy;
mod suite;
mod watched;
mod writes;
