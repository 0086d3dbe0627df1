//! Ceremonies that are run, on real tokens of SoftHSM, with people who do as a script says. Run under `softhsm/with`.

mod killed;
mod kinds;
mod plans;
mod room;
#[path = "../common/small_disk.rs"]
mod small_disk;
mod troubles;
mod whole;
