//! Failures of stores, in the words of this program.

use keyward::{Error, ErrorKind};
use object_store::Error as Failed;
use std::error::Error as StdError;

/// The failure of a request for what is at this URL.
pub(crate) fn of(error: Failed, at: &str) -> anyhow::Error {
    let error = match own(error) {
        Ok(own) => {
            let own = match (own.kind(), own.hint()) {
                (ErrorKind::NotAuthentic, None) => own.with_hint(
                    "wrong key, changed, or not what was written under this name: an object that another program copied or moved does not open",
                ),
                (ErrorKind::RecipientsAmbiguous, None) => own.with_hint(
                    "anyone who ever opened it can have added a key: name that of the copy with --sse aws:kms --sse-kms-key-id NAME",
                ),
                (ErrorKind::InvalidArgument, _) if own.to_string().contains("a customer's own key") => {
                    own.with_hint("name the file that holds it: --sse-c AES256 --sse-c-key FILE")
                }
                _ => own,
            };
            return anyhow::Error::from(own).context(format!("'{at}'"));
        }
        Err(error) => error,
    };
    let text = plain(&error);
    let told = |message: String| Error::new(ErrorKind::Io, message);
    let failed = match &error {
        _ if text.contains("NoSuchBucket") => told(format!("there is no bucket of '{at}'")),
        Failed::NotFound { .. } => told(format!("there is no object '{at}'")),
        Failed::PermissionDenied { .. } | Failed::Unauthenticated { .. } => {
            told(format!("the store does not let this user at '{at}': {text}"))
                .with_hint("who that is, is in AWS_ACCESS_KEY_ID, GOOGLE_APPLICATION_CREDENTIALS, AZURE_STORAGE_ACCOUNT_NAME and the like")
        }
        Failed::Precondition { .. } | Failed::AlreadyExists { .. } => {
            told(format!("'{at}' was changed by another at the same moment: {text}"))
        }
        Failed::NotSupported { .. } | Failed::NotImplemented { .. } => told(format!("'{at}': {text}")),
        _ if NO_LOGIN.iter().any(|sign| text.contains(sign)) => {
            told(format!("nothing says how to log in to the store of '{at}': {text}")).with_hint(
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, GOOGLE_APPLICATION_CREDENTIALS, or AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
            )
        }
        _ if text.contains("URL scheme is not allowed") => told(format!("'{at}': the store is named by http, without TLS"))
            .with_hint("set AWS_ALLOW_HTTP=true where that is meant; what is sent is encrypted, but anybody can change it"),
        _ => told(format!("'{at}': {text}")),
    };
    failed.into()
}

/// What clients say that were told nothing: of machines in a cloud they ask the cloud itself.
const NO_LOGIN: [&str; 4] =
    ["169.254.169.254", "metadata.google.internal", "Missing AccessKeyId", "Missing SecretAccessKey"];

/// The error of Keyward inside, where it was Keyward that refused.
fn own(error: Failed) -> Result<Error, Failed> {
    if keyward::object::keyward_error(&error).is_none() {
        return Err(error);
    }
    match error {
        Failed::Generic { source, .. }
        | Failed::NotFound { source, .. }
        | Failed::NotSupported { source }
        | Failed::AlreadyExists { source, .. }
        | Failed::Precondition { source, .. }
        | Failed::NotModified { source, .. }
        | Failed::PermissionDenied { source, .. }
        | Failed::Unauthenticated { source, .. } => match source.downcast::<Error>() {
            Ok(own) => Ok(*own),
            Err(source) => Err(Failed::Generic { store: "keyward", source }),
        },
        other => Err(other),
    }
}

/// What a store said, on one line: not the whole answer, which may be a page of XML.
fn plain(error: &Failed) -> String {
    let mut text = error.to_string();
    // Where it could not be asked at all, only the innermost cause says why.
    let mut cause = error.source();
    while let Some(inner) = cause {
        let more = inner.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = inner.source();
    }
    let element = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        Some(rest.split_once("</")?.0.to_owned())
    };
    let said = [element("Code"), element("Message")].into_iter().flatten().collect::<Vec<_>>().join(": ");
    let before = text.split('<').next().unwrap_or_default();
    let before = before
        .split_once(" error: ")
        .filter(|(start, _)| start.starts_with("Generic"))
        .map_or(before, |(_, rest)| rest);
    let words: Vec<_> = before.split_whitespace().collect();
    let before = words.join(" ").trim_end_matches([':', ' ']).to_owned();
    if said.is_empty() { before } else { format!("{before}: {said}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{message, status};

    #[test]
    fn what_keyward_refused_keeps_its_status() {
        let source = Box::new(Error::new(ErrorKind::PolicyDenied, "no"));
        let error = of(Failed::PermissionDenied { path: "a".into(), source }, "s3://b/a");
        assert_eq!((message(&error).as_str(), status(&error)), ("'s3://b/a': no", 3));
        let source = Box::new(Error::new(ErrorKind::NotAuthentic, "altered"));
        let error = of(Failed::Generic { store: "keyward", source }, "s3://b/a");
        assert_eq!(status(&error), 4);
        assert!(crate::report::hint(&error).is_some_and(|hint| hint.starts_with("wrong key, ")));
    }

    #[test]
    fn the_answer_of_a_store_is_one_line() {
        let source = "Error performing PUT http://x/b/a in 3ms - Server returned non-2xx status code: 503 Service Unavailable: <?xml version=\"1.0\"?>\n<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>";
        let error = of(Failed::Generic { store: "S3", source: source.into() }, "s3://b/a");
        assert_eq!(
            message(&error),
            "'s3://b/a': Error performing PUT http://x/b/a in 3ms - Server returned non-2xx status code: 503 Service Unavailable: SlowDown: Reduce your request rate."
        );
        let error = of(Failed::NotFound { path: "a".into(), source: "<Code>NoSuchKey</Code>".into() }, "s3://b/a");
        assert_eq!((message(&error).as_str(), status(&error)), ("there is no object 's3://b/a'", 1));
    }
}
