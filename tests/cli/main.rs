//! The command line from outside: what it prints, how it exits, what it leaves behind.
#![cfg(unix)]

mod audit;
mod bench;
mod doctor;
mod governed;
mod interrupted;
mod keys;
mod life;
mod many;
mod policy;
mod refusals;
mod round_trips;
mod several;
mod tokens;
