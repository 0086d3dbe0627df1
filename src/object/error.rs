//! From errors of Keyward to errors of `object_store`.

use crate::error::{Error, ErrorKind};
use object_store::path::Path;

/// What `object_store` errors of this store are called.
pub(super) const STORE: &str = "keyward";

/// The error of `object_store` that says the same. Where no variant does, it is `Generic`; the error of Keyward is its
/// source in any case.
pub(super) fn of(error: Error, location: &Path) -> object_store::Error {
    let source = Box::new(error);
    match source.kind() {
        ErrorKind::PolicyDenied => object_store::Error::PermissionDenied { path: location.to_string(), source },
        ErrorKind::Unsupported => object_store::Error::NotSupported { source },
        _ => object_store::Error::Generic { store: STORE, source },
    }
}

pub(super) fn at(location: &Path) -> impl Fn(Error) -> object_store::Error + '_ {
    move |error| of(error, location)
}

/// The inner store gave less than it said there was.
pub(super) fn cut_short() -> object_store::Error {
    let source = std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "the object ended before its end");
    object_store::Error::Generic { store: STORE, source: Box::new(source) }
}

pub(super) fn not_supported(why: &'static str) -> object_store::Error {
    object_store::Error::NotSupported { source: why.into() }
}

pub(super) fn not_found(location: &Path) -> object_store::Error {
    object_store::Error::NotFound { path: location.to_string(), source: "the name belongs to the store itself".into() }
}
