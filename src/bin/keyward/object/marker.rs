//! What a store was written with, in an object of the store's own. Two configurations that disagree would otherwise
//! list wrong sizes, refuse each other's objects, or leave wrapped keys where the other does not look for them.
//!
//! Nothing is ever set from it: whoever can write to the store could set it then. It is only compared, so that a
//! forged one makes a command refuse to work, and no more.

use super::table::Object;
use super::url::Target;
use keyward::{Error, ErrorKind};
use object_store::path::Path;
use object_store::{GetOptions, ObjectStore, PutMode, PutOptions};
use serde::{Deserialize, Serialize};

/// No longer one is read.
const MAX_LEN: u64 = 4096;

/// What has to stay the same for as long as a store lives.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct Marker {
    header_len: u32,
    detached_slots: bool,
    name: Option<String>,
}

impl Marker {
    pub(crate) fn of(table: &Object) -> Self {
        Self {
            header_len: table.header_len.unwrap_or(super::store::HEADER_LEN),
            detached_slots: table.detached_slots,
            name: table.name.clone(),
        }
    }

    /// Whether a store may be used like this. Before the first object is written, it is noted what with.
    pub(crate) async fn check(&self, inner: &dyn ObjectStore, at: &Target, writes: bool) -> anyhow::Result<()> {
        let failed = |error| super::fail::of(error, &at.url_of(&path()));
        if let Some(found) = self.read(inner, at).await? {
            return self.compare(&found, at);
        }
        if !writes {
            return Ok(());
        }
        let bytes = serde_json::to_vec(self)?;
        let put = async |mode| {
            let options = PutOptions { mode, ..PutOptions::default() };
            inner.put_opts(&path(), bytes.clone().into(), options).await
        };
        match put(PutMode::Create).await {
            Ok(_) => Ok(()),
            // Another was faster.
            Err(object_store::Error::AlreadyExists { .. }) => match self.read(inner, at).await? {
                Some(found) => self.compare(&found, at),
                None => Ok(()),
            },
            Err(object_store::Error::NotImplemented { .. } | object_store::Error::NotSupported { .. }) => {
                put(PutMode::Overwrite).await.map(drop).map_err(failed)
            }
            Err(error) => Err(failed(error)),
        }
    }

    async fn read(&self, inner: &dyn ObjectStore, at: &Target) -> anyhow::Result<Option<Self>> {
        let failed = |error| super::fail::of(error, &at.url_of(&path()));
        let answer = match inner.get_opts(&path(), GetOptions::default()).await {
            Ok(answer) => answer,
            // Where it is the bucket that is missing, what comes next says so.
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let unreadable = || {
            let message = format!("'{}' does not say what the store was written with", at.url_of(&path()));
            Error::new(ErrorKind::Io, message).with_hint("it was altered; remove it, and the next write makes it anew")
        };
        if answer.meta.size > MAX_LEN {
            return Err(unreadable().into());
        }
        let bytes = answer.bytes().await.map_err(failed)?;
        Ok(Some(serde_json::from_slice(&bytes).map_err(|_| unreadable())?))
    }

    fn compare(&self, found: &Self, at: &Target) -> anyhow::Result<()> {
        if self == found {
            return Ok(());
        }
        let mut lines = Vec::new();
        if self.header_len != found.header_len {
            lines.push(("header_len", found.header_len.to_string(), self.header_len.to_string()));
        }
        if self.detached_slots != found.detached_slots {
            lines.push(("detached_slots", found.detached_slots.to_string(), self.detached_slots.to_string()));
        }
        if self.name != found.name {
            let shown = |name: &Option<String>| name.as_ref().map_or("none".into(), |name| format!("{name:?}"));
            lines.push(("name", shown(&found.name), shown(&self.name)));
        }
        let told = lines.iter().map(|(what, is, said)| format!("{what} = {is}, and not {said}"));
        let told = told.collect::<Vec<_>>().join("; ");
        let store = at.url_of(&Path::default());
        Err(Error::new(ErrorKind::InvalidArgument, format!("the store '{store}' was written with {told}"))
            .with_hint(
                "set it like that in the table [object] of the configuration file; `keyward object --help` says how",
            )
            .into())
    }
}

fn path() -> Path {
    Path::from_iter([".keyward", "store"])
}
