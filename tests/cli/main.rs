//! The command line from outside: what it prints, how it exits, what it leaves behind.
#![cfg(unix)]

mod asked;
mod audit;
mod audit_evidence;
mod bench;
mod ceremony;
mod ceremony_room;
mod doctor;
#[path = "../common/faulty_proxy.rs"]
mod faulty_proxy;
#[path = "../common/forged_chain.rs"]
mod forged_chain;
mod governed;
mod hostile_tree;
mod interrupted;
mod keys;
mod life;
mod many;
mod object;
mod policy;
mod refusals;
mod round_trips;
#[path = "../common/s3_server.rs"]
mod s3_server;
mod several;
mod softhsm;
mod tokens;
mod trust;
