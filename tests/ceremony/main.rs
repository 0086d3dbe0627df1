//! Key ceremonies without a token.

mod altered;
mod complete;
mod fixture;
mod frozen;
mod full_disk;
mod interrupted;
mod linted;
mod parsers;
mod planned;
mod seen;
mod shared;
#[path = "../common/small_disk.rs"]
mod small_disk;
