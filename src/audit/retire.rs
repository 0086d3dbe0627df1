//! The end of a log that its files do not show, and after which a successor with its name may begin.

use super::head::{Anchor, AnchorState};
use super::keepers::{Compare, Keepers};
use super::name::LogName;
use crate::error::{Error, ErrorKind, Result};
use crate::key::{AnchorOrder, HeadKeeper};
use std::sync::Arc;

/// Returns the anchors of the logs with this name that its keepers signed, the highest last: what [`retire`] ends.
///
/// # Errors
/// `TokenUnavailable` if a keeper does not answer, and those of the keepers.
pub fn live_anchors(name: &LogName, keepers: &[Arc<dyn HeadKeeper>]) -> Result<Vec<Anchor>> {
    let trust = all(keepers).read(name)?.filter(|trust| trust.is_complete);
    let Some(trust) = trust else {
        let message = format!("cannot retire the audit log '{name}': a token that keeps it does not answer");
        return Err(Error::new(ErrorKind::TokenUnavailable, message)
            .with_hint("all tokens must be there: an anchor that stays on one would refuse the successor"));
    };
    Ok(trust.anchors.into_iter().filter(|anchor| !anchor.is_retired()).collect())
}

/// Retires the log with the highest anchor of this name: a signed anchor says so on every token, in the place of all
/// others of the name. The next log of the name begins with that anchor in its first line; the files of the old one must
/// be moved away before.
///
/// # Errors
/// `InvalidArgument` if no token has an anchor of that name, `TokenUnavailable` if a keeper does not answer, and those of
/// the keepers.
pub fn retire(name: &LogName, keepers: &[Arc<dyn HeadKeeper>]) -> Result<Anchor> {
    let Some(last) = live_anchors(name, keepers)?.pop() else {
        let message = format!("cannot retire the audit log '{name}': no token has an anchor of it");
        return Err(Error::new(ErrorKind::InvalidArgument, message));
    };
    let keepers = all(keepers);
    let (key, signature) = keepers.sign(&last.head.message(AnchorState::Retired))?;
    let retired = Anchor::new(last.head, AnchorState::Retired, key, signature);
    let own = retired.to_text();
    let compare: Compare =
        Arc::new(move |_, other| Ok(if other == own { AnchorOrder::Same } else { AnchorOrder::Lower }));
    keepers.set_anchor(&retired, &compare)?;
    Ok(retired)
}

fn all(keepers: &[Arc<dyn HeadKeeper>]) -> Keepers {
    let mut all = Keepers::default();
    keepers.iter().for_each(|keeper| all.add(Arc::clone(keeper)));
    all
}
