//! What contradicts itself in how a PIN is kept.

use super::Lint;
use crate::ceremony::plan::{Custody, PlannedToken, Role};
use crate::ceremony::shares::{MAX_SHARES, MIN_THRESHOLD};

impl Lint<'_> {
    pub(super) fn custody(&mut self, place: &str, token: &PlannedToken) {
        let place = format!("{place}.custody");
        if !token.initialize && Self::is_shared(&token.custody) {
            self.find(
                &place,
                "the PIN of a token that is not initialized cannot be split: 'typed_by' says who types it",
            );
        }
        match &token.custody {
            Custody::Typed { by } => {
                if self.plan.person(by).is_none() {
                    self.find(&place, format!("'{by}' is nobody that 'people' lists"));
                }
            }
            Custody::Shared { length, threshold, custodians, .. } => {
                let shares = custodians.len();
                if *threshold < MIN_THRESHOLD {
                    self.find(&place, "a threshold below 2 is no sharing: each custodian would have the PIN");
                }
                if usize::from(*threshold) > shares {
                    self.find(
                        &place,
                        format!("the threshold {threshold} is over the {shares} shares: none could open it"),
                    );
                }
                if shares > usize::from(MAX_SHARES) {
                    self.find(&place, format!("{shares} shares are too many: {MAX_SHARES} at most"));
                }
                if !(8..=32).contains(length) {
                    self.find(&place, "the PIN has 8 to 32 characters");
                }
                self.duplicates(&place, custodians);
                for custodian in custodians {
                    self.person(&place, custodian, Role::Custodian);
                }
            }
        }
    }
}
