//! The versions of a ceremony's format.
//!
//! A bundle has to verify for as long as its keys are used, so what a format asks of a bundle never changes: which rules
//! its plan keeps, which steps follow from it, which facts they need, and how its report is worded. Whatever is to be
//! different is a new format, which the plan names and the transcript repeats. A ceremony is held in the newest; of the
//! others bundles are verified, and a run that was left goes on. The bundles in `tests/ceremony/frozen` hold this down.
//!
//! | format | what is new |
//! |---|---|
//! | 1 | |
//! | 2 | no invisible characters in a plan; a witness who does nothing else; the libraries of the program are recorded; ids of keys depend on the token's generator; shares may go to paper or files |

use crate::error::{Error, ErrorKind, Result};

/// The format of new plans.
pub(super) const CURRENT: u32 = 2;

pub(super) fn is_known(format: u32) -> bool {
    (1..=CURRENT).contains(&format)
}

/// Refuses to begin a ceremony by the rules of the past.
pub(super) fn check_current(format: u32) -> Result<()> {
    if format == CURRENT {
        return Ok(());
    }
    let message = format!("the plan is of format {format}, and a new ceremony needs format {CURRENT}");
    Err(Error::new(ErrorKind::InvalidArgument, message))
}
