//! Bundles of ceremonies that were held, compared with the tokens as they are now. Run under `softhsm/with`.

mod changed;
mod command;
mod fixture;
mod forged;
mod prove;
#[path = "../provider/raw.rs"]
#[allow(dead_code, reason = "the tests of the provider use it all")]
mod raw;
mod room;
mod whole;
