//! The encrypting object store, around stores in memory and on a disk.

mod bound;
mod customer;
mod fixture;
mod policy;
mod ranges;
mod spy;
mod suite;
mod watched;
mod writes;
