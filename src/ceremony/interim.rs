//! What witnesses signed at pauses, held against the transcript that goes on.

use super::bundle::Bundle;
use super::name::Name;
use super::plan::{Finding, Plan};
use super::statement::InterimStatement;
use super::transcript::Transcript;
use crate::error::{Error, ErrorKind, Result};

/// Returns what is wrong with the interim signatures in a bundle: a transcript that was rewritten before its last
/// pause has another line where one of them says what stood there.
pub(super) fn check(bundle: &Bundle, files: &[String], plan: &Plan, transcript: &Transcript) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files {
        let Some((witness, entries)) = parse(file) else { continue };
        let wrong = match plan.witnesses().find(|(name, _)| name.as_str() == witness) {
            None => Some("the plan names no such witness".to_owned()),
            Some((_, key)) => match InterimStatement::at(transcript, entries) {
                None => Some(format!("the witness {witness} has signed {entries} entries, and the last are gone")),
                Some(statement) => {
                    let signature = bundle.file(file).map(|bytes| String::from_utf8(bytes).unwrap_or_default());
                    let verified = signature.and_then(|text| key.verify(statement.to_string().as_bytes(), &text));
                    verified.err().map(|error| {
                        format!("it is not the witness's signature of the first {entries} entries: {error}")
                    })
                }
            },
        };
        findings.extend(wrong.map(|message| Finding { place: file.clone(), message }));
    }
    findings
}

/// Refuses to go on with a transcript that is not the one of which witnesses signed the beginning.
pub(super) fn check_resumed(bundle: &Bundle, plan: &Plan, transcript: &Transcript) -> Result<()> {
    match check(bundle, &bundle.files()?, plan, transcript).into_iter().next() {
        None => Ok(()),
        Some(Finding { place, message }) => {
            Err(Error::new(ErrorKind::NotAuthentic, format!("cannot go on with this transcript: {place}: {message}"))
                .with_hint("compare the bundle with the copies and the words of the witnesses"))
        }
    }
}

/// The name of the file with a witness's signature of that number of entries.
pub(super) fn file_name(witness: &Name, entries: u64) -> String {
    format!("signatures/{witness}@{entries}.minisig")
}

/// The witness and the number of entries in the name of an interim signature.
pub(super) fn parse(file: &str) -> Option<(&str, u64)> {
    let (witness, entries) = file.strip_prefix("signatures/")?.strip_suffix(".minisig")?.split_once('@')?;
    Some((witness, entries.parse().ok()?))
}
