//! How failures are told: one line of error, perhaps one of hint, and the exit status.

use crate::output::{one_line, say};
use keyward::ceremony::Verdict;
use keyward::{Error, ErrorKind};
use std::error::Error as StdError;
use std::io;

/// Wrong usage.
const USAGE: u8 = 2;

/// Not an envelope, or not authentic; nor is a log that is not as it was written.
pub(crate) const NOT_AUTHENTIC: u8 = 4;

/// A bundle that is intact, and that of a rehearsal.
const REHEARSAL: u8 = 7;
/// A bundle that is intact, with deviations from the plan that people accepted.
const DEVIATIONS: u8 = 8;

/// The exit status of a ceremony's verification: 0 only where everything was done as planned.
pub(crate) fn verdict_status(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Verified => 0,
        Verdict::Rehearsal => REHEARSAL,
        Verdict::Deviations => DEVIATIONS,
        _ => NOT_AUTHENTIC,
    }
}

/// Prints a failure and gives its exit status.
pub(crate) fn failure(error: &anyhow::Error) -> u8 {
    let status = status(error);
    if is_broken_pipe(error) {
        // The reader has what it wanted, as `head` has.
        return status;
    }
    say("error", &message(error));
    if let Some(hint) = hint(error) {
        say("hint", &hint);
    }
    status
}

/// The exit status of a failure.
pub(crate) fn status(error: &anyhow::Error) -> u8 {
    let Some(own) = error.chain().find_map(as_own) else { return 1 };
    match own.kind() {
        ErrorKind::InvalidArgument | ErrorKind::OriginUnverified | ErrorKind::RecipientsAmbiguous => USAGE,
        ErrorKind::PolicyDenied => 3,
        ErrorKind::NotAnEnvelope | ErrorKind::NotAuthentic | ErrorKind::ContextMismatch | ErrorKind::Tampered => {
            NOT_AUTHENTIC
        }
        ErrorKind::ModuleUnavailable | ErrorKind::TokenNotFound | ErrorKind::TokenUnavailable | ErrorKind::Timeout => 5,
        ErrorKind::PinRequired | ErrorKind::PinIncorrect | ErrorKind::PinLocked => 6,
        _ => 1,
    }
}

/// The library's error, also where it travelled inside an error of `std::io`.
pub(crate) fn as_own<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Error> {
    error.downcast_ref::<Error>().or_else(|| error.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref())
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let broken = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
    error.chain().filter_map(|cause| cause.downcast_ref()).any(broken)
}

/// The message and its causes, none of them twice.
pub(crate) fn message(error: &anyhow::Error) -> String {
    let mut message = String::new();
    for cause in error.chain() {
        let text = cause.to_string();
        // Return codes are in the message already; what the binding adds is their definition.
        let is_definition = text.starts_with("Function::");
        if message.is_empty() {
            message = text;
        } else if !message.contains(&text) && !is_definition {
            message = format!("{message}: {text}");
        }
    }
    message
}

/// What to do: the library's hint, or what this command line has a flag for.
pub(crate) fn hint(error: &anyhow::Error) -> Option<String> {
    let own = error.chain().find_map(as_own)?;
    match own.kind() {
        ErrorKind::OutputExists => Some(own.hint().unwrap_or("use --force to replace it").into()),
        ErrorKind::ContextMismatch => {
            Some("if that is the file you mean, give its context with --context KEY=VALUE".into())
        }
        ErrorKind::KeyNotFound => Some(own.hint().unwrap_or("`keyward key list` shows the keys of the token").into()),
        ErrorKind::OriginUnverified => {
            Some("if you know who wrote it, assert that with --danger-assert-origin; or name an RSA key".into())
        }
        ErrorKind::RecipientsAmbiguous => Some(
            own.hint()
                .unwrap_or(
                    "anyone who ever opened it can have added a key: name its keys with --key, or keep all with --keep-keys",
                )
                .into(),
        ),
        _ => own.hint().map(ToOwned::to_owned),
    }
}

/// Prints what `clap` says: help and version as they are, errors in the form of all others.
pub(crate) fn usage(error: &clap::Error) -> u8 {
    use clap::error::ErrorKind as Clap;
    if matches!(error.kind(), Clap::DisplayHelp | Clap::DisplayVersion | Clap::DisplayHelpOnMissingArgumentOrSubcommand)
    {
        let _ = error.print();
        return if error.use_stderr() { USAGE } else { 0 };
    }
    let text = error.render().to_string();
    let mut paragraphs = text.split("\n\n");
    let first = paragraphs.next().unwrap_or_default();
    let words = first.split_whitespace().collect::<Vec<_>>().join(" ");
    say("error", words.strip_prefix("error: ").unwrap_or(&words));

    let own = error.source().and_then(|source| source.downcast_ref::<Error>()).and_then(Error::hint);
    let rest: Vec<_> = paragraphs.collect();
    let tip = rest.iter().find_map(|paragraph| paragraph.trim().strip_prefix("tip: "));
    let more = rest.iter().find_map(|paragraph| paragraph.trim().strip_prefix("Usage: ")).map(|usage| {
        let command = usage.split_whitespace().take_while(|word| word.starts_with(|c: char| c.is_ascii_lowercase()));
        format!("`{} --help` says how", command.collect::<Vec<_>>().join(" "))
    });
    if let Some(hint) = own.or(tip).map(one_line).or(more) {
        say("hint", &hint);
    }
    USAGE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_follow_without_repetition() {
        let cause = io::Error::from(io::ErrorKind::NotFound);
        let error = Error::new(ErrorKind::Io, "cannot open 'x'").with_source(cause);
        let error = anyhow::Error::from(error).context("rewrapping");
        assert_eq!(message(&error), "rewrapping: cannot open 'x': entity not found");
        let twice = anyhow::Error::msg("a: b").context("c: a: b");
        assert_eq!(message(&twice), "c: a: b");
    }

    #[test]
    fn an_error_inside_std_io_keeps_its_status() {
        let inside = io::Error::from(Error::new(ErrorKind::NotAuthentic, "no"));
        assert_eq!(status(&anyhow::Error::from(inside).context("copying")), 4);
        assert_eq!(status(&anyhow::Error::msg("x")), 1);
    }
}
