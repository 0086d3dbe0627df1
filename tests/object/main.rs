//! The encrypting object store, around stores in memory and on a disk.

mod fixture;
mod suite;
