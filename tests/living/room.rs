//! People who do as they are asked.

use keyward::Result;
use keyward::ceremony::{CheckValueOf, Consent, Handout, Name, News, Room, Ruling, Step, Trouble, Wanted};
use keyward::hsm::backup::check_value;
use zeroize::Zeroizing;

/// The user PIN of every token of the test kit.
pub(crate) const PIN: &str = "test-user-pin";

pub(crate) struct Obliging;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Room for Obliging {
    fn confirm(&mut self, _: &Step, _: usize, _: usize) -> Result<Consent> {
        Ok(Consent::Given)
    }

    fn tell(&mut self, _: &News<'_>) {}

    fn decide(&mut self, trouble: &Trouble<'_>) -> Result<Ruling> {
        panic!("nothing is to be decided: {trouble:?}")
    }

    fn secret(&mut self, wanted: &Wanted<'_>) -> Result<Option<Zeroizing<String>>> {
        Ok(Some(Zeroizing::new(match wanted {
            Wanted::UserPin { .. } => PIN.to_owned(),
            Wanted::Component { index, .. } => hex(&[*index; 32]),
            other => panic!("nobody knows {other:?}"),
        })))
    }

    fn hand_out(&mut self, handout: &Handout<'_>) -> Result<()> {
        panic!("no PIN is shared: {handout:?}")
    }

    fn check_value(&mut self, of: &CheckValueOf<'_>) -> Result<Option<String>> {
        Ok(Some(hex(&check_value(&match of {
            CheckValueOf::Component { index, .. } => [*index; 32],
            _ => [1 ^ 2; 32],
        }))))
    }

    fn trusts(&mut self, _: &Name, _: &Name, _: &str) -> Result<bool> {
        Ok(true)
    }
}
