//! The command line from outside: what it prints, how it exits, what it leaves behind.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod bench;
mod keys;
mod refusals;
mod round_trips;
mod tokens;
