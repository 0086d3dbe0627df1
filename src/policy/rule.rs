//! One policy, as messages and logs speak of it.

use std::fmt;
use std::sync::Arc;

/// One policy of a file: what it is called and where it stands. Cheap to clone.
///
/// `Display` gives `policy 'NAME'`, or file and line where it has no `@id`.
#[derive(Clone, PartialEq, Eq)]
pub struct Rule(Arc<Inner>);

#[derive(PartialEq, Eq)]
struct Inner {
    number: usize,
    id: Option<String>,
    forbids: bool,
    file: Arc<str>,
    line: usize,
}

impl Rule {
    pub(super) fn new(number: usize, id: Option<&str>, forbids: bool, file: &Arc<str>, line: usize) -> Self {
        Self(Arc::new(Inner { number, id: id.map(ToOwned::to_owned), forbids, file: Arc::clone(file), line }))
    }

    /// Its place among all, counted from 0.
    pub(super) fn number(&self) -> usize {
        self.0.number
    }

    /// What its `@id("…")` says, where it has one.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.0.id.as_deref()
    }

    /// Whether it forbids rather than permits.
    #[must_use]
    pub fn forbids(&self) -> bool {
        self.0.forbids
    }

    /// The file that it stands in.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.0.file
    }

    /// The line that it begins on, counted from 1.
    #[must_use]
    pub fn line(&self) -> usize {
        self.0.line
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.id() {
            Some(id) => write!(f, "policy '{}'", id.escape_debug()),
            None => write!(f, "the policy on line {} of '{}'", self.line(), self.file().escape_debug()),
        }
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rule({self})")
    }
}
