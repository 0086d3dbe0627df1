//! `keyward reencrypt`: files with a new data key and a new body.

use crate::app::{App, Keys};
use crate::cache::CacheArgs;
use crate::files::cannot;
use crate::inspect::inspect_file;
use crate::many::{Did, Job, Skip, Unit};
use crate::progress::Progress;
use crate::rewrap::{Sources, alone, is_no_envelope};
use clap::Args;
use jiff::Timestamp;
use keyward::durable::{AtomicFile, Replace};
use keyward::envelope::{InspectedEntry, Inspection, reencrypt_file, reencrypt_to};
use keyward::{Decryptor, EncryptionContext, Encryptor, Error, ErrorKind, KekId, KeyName, KeyRef};
use std::path::Path;

/// Give files a new data key and a new body
///
/// For files whose old key is no longer trusted. The context is carried over. Each file is replaced once its new
/// body is whole.
///
/// Of several files, and with -r, those are done already that were encrypted under the current version of their key
/// from the start: no older version has ever opened them. So rotate the key first, and a run that was cut short can be
/// run again. Files that were rewrapped are not among them.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keyward reencrypt --key payments report.pdf.kw
  keyward key rotate payments && keyward reencrypt --key payments -r /srv/files
  keyward reencrypt -r /srv/files --before 2026-05-01T12:00:00Z        # whatever their keys")]
pub(crate) struct Reencrypt {
    /// A master key to encrypt with, the file's own, all of them, where none is named; repeatable
    #[arg(long, short, value_name = "NAME", value_delimiter = ',')]
    key: Vec<KeyName>,
    /// Of several files, those last changed before this time and no others, whatever their keys
    #[arg(long, value_name = "TIME")]
    before: Option<Timestamp>,
    #[command(flatten)]
    cache: CacheArgs,
    #[command(flatten)]
    sources: Sources,
}

impl Reencrypt {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<u8> {
        let expected = self.sources.expected()?;
        let single = self.sources.single();
        if self.before.is_some() && single.is_some() {
            return Err(Error::new(ErrorKind::InvalidArgument, "--before is for several files, or -r").into());
        }
        let plan = if single.is_none() { Some(self.sources.plan()?) } else { None };
        let provider = self.sources.provider(app, &self.key, self.cache)?;
        let Some(plan) = plan else {
            return alone(app, single.unwrap_or(Path::new("")), |path| {
                let progress = Progress::over(app, path);
                let tell = |done| progress.set(done);
                let new = New::of(&self, &*provider, expected.as_ref(), inspect_file(path)?)?;
                let decryptor = Decryptor::new(&provider).context(new.context.clone()).progress(&tell);
                reencrypt_file(&decryptor, &new.encryptor(&*provider)?, path, path, Replace::Yes)?;
                Ok("reencrypted".into())
            });
        };
        let summary = self.sources.run(app, Unit::Bytes).work(plan, |job, tell| {
            if is_no_envelope(job)? {
                return Ok(Did::Skipped(Skip::NoEnvelope));
            }
            let found = inspect_file(&job.input)?;
            if self.before.is_some() && !self.is_before(job)? {
                return Ok(Did::Already("not changed before that time".into()));
            }
            let generation = found.generation;
            let ids = ids(&found);
            let new = New::of(&self, &*provider, expected.as_ref(), found)?;
            if self.before.is_none() && generation == Some(1) && is_current(&*provider, &new.names, ids.as_deref())? {
                return Ok(Did::Already("under the current version from the start".into()));
            }
            let decryptor = Decryptor::new(&provider).context(new.context.clone());
            let encryptor = new.encryptor(&*provider)?.progress(tell);
            let target = AtomicFile::create(&job.output, Replace::Yes)?;
            Ok(Did::Wrote(reencrypt_to(&decryptor, &encryptor, &job.input, target)?, "reencrypted".into()))
        })?;
        summary.tell(app, self.sources.many.json)
    }

    fn is_before(&self, job: &Job) -> anyhow::Result<bool> {
        let modified = job.input.metadata().and_then(|meta| meta.modified());
        let modified = modified.map_err(|error| cannot("read", &job.input, error))?;
        Ok(self.before.is_none_or(|before| Timestamp::try_from(modified).is_ok_and(|modified| modified < before)))
    }
}

/// What a file will be.
struct New {
    names: Vec<KeyName>,
    context: EncryptionContext,
}

impl New {
    fn of(
        args: &Reencrypt,
        provider: &dyn Keys,
        expected: Option<&EncryptionContext>,
        found: Inspection,
    ) -> keyward::Result<Self> {
        let names = if args.key.is_empty() { own_keys(provider, &found)? } else { args.key.clone() };
        if !args.sources.danger_assert_origin {
            check_origin(provider, &found, &names)?;
        }
        // What the file shows is what the decryptor then expects, so it is authenticated.
        Ok(Self { names, context: expected.cloned().unwrap_or(found.context) })
    }

    fn encryptor<'a>(&self, provider: &'a dyn Keys) -> anyhow::Result<Encryptor<'a>> {
        let (first, others) = self.names.split_first().ok_or_else(|| anyhow::anyhow!("no key to encrypt with"))?;
        let encryptor = Encryptor::new(provider, first).context(self.context.clone());
        Ok(others.iter().fold(encryptor, |encryptor, name| encryptor.also(provider, name)))
    }
}

/// The keys of a file, where all can be told.
fn ids(found: &Inspection) -> Option<Vec<KekId>> {
    let id = |entry: &InspectedEntry| match entry {
        InspectedEntry::Known(key) => Some(key.kek_id()),
        InspectedEntry::Unknown { .. } => None,
    };
    found.entries.iter().map(id).collect()
}

/// Whether a file is under the current versions of these keys, all of them and nothing else.
fn is_current(provider: &dyn Keys, names: &[KeyName], ids: Option<&[KekId]>) -> keyward::Result<bool> {
    let Some(ids) = ids else { return Ok(false) };
    let mut allowed = Vec::new();
    for name in names {
        let current = provider.describe_key(KeyRef::Name(name))?;
        let these: Vec<_> = current.also.into_iter().chain([current.kek_id]).collect();
        if !these.iter().any(|id| ids.contains(id)) {
            return Ok(false);
        }
        allowed.extend(these);
    }
    Ok(ids.iter().all(|id| allowed.contains(id)))
}

/// The names of all keys of the file. Whoever could open it with one of them still can: a key that is not known here
/// cannot be kept, and is not dropped in silence either.
fn own_keys(provider: &dyn Keys, found: &Inspection) -> keyward::Result<Vec<KeyName>> {
    let unknown = |what: String| {
        Error::new(ErrorKind::KeyNotFound, format!("{what} is not known here, and could not open the new file"))
            .with_hint("name the keys of the new file with --key")
    };
    let mut names = Vec::new();
    for entry in &found.entries {
        let name = match entry {
            InspectedEntry::Known(key) => match provider.describe_key(KeyRef::Kek(key.kek_id())) {
                Ok(described) => described.name,
                Err(error) if error.kind() == ErrorKind::KeyNotFound => {
                    return Err(unknown(format!("the key with KEK id {}", key.kek_id())));
                }
                Err(error) => return Err(error),
            },
            InspectedEntry::Unknown { .. } => return Err(unknown("one of its keys".into())),
        };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

/// What an RSA key opens may have been written by anybody. Under an AES key it would look as if a
/// holder of that had written it.
fn check_origin(provider: &dyn Keys, found: &Inspection, to: &[KeyName]) -> keyward::Result<()> {
    let by_rsa = found.entries.iter().any(|entry| match entry {
        InspectedEntry::Known(key) => {
            key.algorithm().is_rsa() && provider.describe_key(KeyRef::Kek(key.kek_id())).is_ok()
        }
        InspectedEntry::Unknown { .. } => false,
    });
    if !by_rsa {
        return Ok(());
    }
    for name in to {
        if !provider.describe_key(KeyRef::Name(name))?.algorithm.is_rsa() {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                format!(
                    "an RSA key opens this file, which says nothing about its writer; it is not moved under '{name}'"
                ),
            )
            .with_hint("where you know who wrote it, add --danger-assert-origin"));
        }
    }
    Ok(())
}
