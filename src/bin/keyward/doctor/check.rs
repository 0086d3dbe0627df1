//! One thing that the doctor looked at, and what came out.

use crate::output::print_line;
use serde::Serialize;

/// What was looked at.
#[derive(Debug, Serialize)]
pub(super) struct Check {
    /// The same in every version, for scripts.
    pub(super) name: &'static str,
    pub(super) status: Status,
    pub(super) text: String,
    /// What to do, where there is something to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) remedy: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    Ok,
    Warning,
    Failure,
}

impl Status {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failure => "FAILURE",
        }
    }
}

impl Check {
    pub(super) fn ok(name: &'static str, text: impl Into<String>) -> Self {
        Self { name, status: Status::Ok, text: text.into(), remedy: None }
    }

    pub(super) fn warning(name: &'static str, text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name, status: Status::Warning, text: text.into(), remedy: Some(remedy.into()) }
    }

    pub(super) fn failure(name: &'static str, text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name, status: Status::Failure, text: text.into(), remedy: Some(remedy.into()) }
    }

    pub(super) fn print(&self) -> anyhow::Result<()> {
        print_line(&format!("  {:7}  {:13}  {}", self.status.word(), self.name, self.text))?;
        if let Some(remedy) = &self.remedy {
            print_line(&format!("  {:7}  {:13}  {remedy}", "", "to do:"))?;
        }
        Ok(())
    }
}
