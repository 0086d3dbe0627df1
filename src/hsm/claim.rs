//! Claims: how one host destroys a key that another one is making and seems to have given up, although that may be alive.
//!
//! PKCS#11 has no operation that destroys an object only if nothing changed, so a look at the key does not suffice: its
//! maker may finish it right after. So both write before they look:
//!
//! - Who takes a key for abandoned writes a claim on it, and then looks whether its record is finished. Only if it is not,
//!   the key is destroyed. If it is, the claim is withdrawn.
//! - The maker finishes the record, and then looks for claims. It reports the key only when there are none.
//!
//! Of the two at least one sees what the other wrote, however slow either is. Until then the key is not used: one with a
//! claim counts as pending. A claim lies beside the record, with the same label, so that each look at the record finds it:
//!
//! ```text
//! keyward-key-claim 1
//! kek-id 000102030405060708090a0b0c0d0e0f
//! ```
//!
//! A claim whose writer died stays, and so does the key: [`Leftover::Claim`](super::Leftover::Claim).

use super::object::MasterKey;
use super::record::{Fields, Record, Unreadable, destroy_object, from_hex, write_object};
use super::{create, lookup};
use crate::error::{Error, ErrorKind, Result};
use crate::key::KekId;
use crate::token::Session;
use std::thread;
use std::time::{Duration, Instant};

pub(super) const KIND: &str = "keyward-key-claim";
const VERSION: u32 = 1;
/// Between two looks at the token.
const PAUSE: Duration = Duration::from_millis(20);

/// What became clear about a key that seemed to be abandoned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Abandoned {
    Destroyed,
    /// Its maker finished it, or gave it up by itself. It was left alone.
    NotAbandoned,
}

fn to_text(kek_id: KekId) -> String {
    format!("{KIND} {VERSION}\nkek-id {kek_id}\n")
}

/// Returns the key that a claim is on.
pub(super) fn parse(text: &[u8]) -> Result<KekId, Unreadable> {
    let kek_id = Fields::parse(KIND, VERSION, text)?.take("kek-id");
    let bytes = kek_id.and_then(|text| from_hex(&text)).and_then(|bytes| bytes.try_into().ok());
    bytes.map(KekId::from_bytes).ok_or(Unreadable::Damaged)
}

/// Destroys a pending key that its maker gave up, and its records.
///
/// # Errors
/// Those of the token, and `LimitExceeded` if it has no room for a claim. A claim may stay then, and the key with it.
pub(super) fn destroy_abandoned(session: &Session<'_>, key: &MasterKey) -> Result<Abandoned> {
    let (label, kek_id) = (key.description.label(), key.description.kek_id);
    let claim = write_object(session, &label, to_text(kek_id))?;
    match Record::is_pending(session, kek_id, &label) {
        Ok(true) => create::discard(session, key, &label).map(|()| Abandoned::Destroyed),
        other => {
            destroy_object(session, claim)?;
            other.map(|_| Abandoned::NotAbandoned)
        }
    }
}

/// Waits until no claim is on a key whose record was just finished, and returns the key: its maker may report it.
pub(super) fn survive(session: &Session<'_>, mine: &MasterKey, label: &str) -> Result<MasterKey> {
    let kek_id = mine.description.kek_id;
    let deadline = Instant::now() + create::PATIENCE;
    loop {
        match lookup::read(session, mine.handle, mine.class)?.filter(|key| key.description.kek_id == kek_id) {
            Some(key) if !key.is_pending() => return Ok(key),
            Some(_) if Instant::now() < deadline => thread::sleep(PAUSE),
            Some(_) => {
                let message = format!("key '{label}' is not used: another host has claimed it and died");
                return Err(Error::new(ErrorKind::TokenUnavailable, message)
                    .with_hint("`keyward doctor --repair` removes the claim"));
            }
            None => {
                // Its record must not pass for that of a version which was used.
                match lookup::by_kek_id(session, kek_id) {
                    Err(error) if error.kind() == ErrorKind::KeyNotFound => Record::destroy(session, kek_id, label)?,
                    _ => {}
                }
                let message = format!("the new key '{label}' is gone: another host took it for abandoned");
                return Err(Error::new(ErrorKind::TokenUnavailable, message).with_hint("try again"));
            }
        }
    }
}
