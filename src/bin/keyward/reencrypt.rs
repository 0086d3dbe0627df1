//! `keyward reencrypt`: files with a new data key and a new body.

use crate::app::{App, Keys};
use crate::cache::CacheArgs;
use crate::many::{Did, Skip, Unit};
use crate::progress::Progress;
use crate::rewrap::{Sources, alone, is_no_envelope};
use clap::Args;
use jiff::Timestamp;
use keyward::durable::{AtomicFile, Replace};
use keyward::envelope::{Freshness, Recipients, Reencrypt as Reencryptor};
use keyward::{Decryptor, Encryptor, Error, ErrorKind, KeyName};
use std::path::Path;
use std::time::SystemTime;

/// Give files a new data key and a new body
///
/// For files whose old key is no longer trusted. The context is carried over. Each file is replaced once its new body
/// is whole. Without --key a file stays under its one key; a file that has entries under several is refused, because
/// anyone who ever opened it can have added one.
///
/// Of several files, and with -r, those are done already whose data key was made under the current version of their
/// key, as the token confirms: no older version has ever opened them. So rotate the key first, and a run that was cut
/// short can be run again. Files that were rewrapped are not among them.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keyward reencrypt --key payments report.pdf.kw
  keyward key rotate payments && keyward reencrypt --key payments -r /srv/files
  keyward reencrypt -r /srv/files --before 2026-05-01T12:00:00Z        # whatever their keys
  keyward reencrypt --keep-keys shared.pdf.kw                          # several keys, all trusted")]
pub(crate) struct Reencrypt {
    /// A master key to encrypt with; the file's own if none is named; repeatable
    #[arg(long, short, value_name = "NAME", value_delimiter = ',')]
    key: Vec<KeyName>,
    /// Encrypt under the keys of all entries of a file: you trust everyone who ever opened it
    #[arg(long, conflicts_with = "key")]
    keep_keys: bool,
    /// Of several files, those whose data key was made under a key version from before this time, and no others
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
        let decryptor = match expected {
            Some(context) => Decryptor::new(&provider).context(context),
            None => Decryptor::new(&provider).any_context(),
        };
        let mut reencrypt = Reencryptor::new(decryptor, self.recipients(&*provider));
        if self.sources.danger_assert_origin {
            reencrypt = reencrypt.danger_assert_origin();
        }
        let Some(plan) = plan else {
            return alone(app, single.unwrap_or(Path::new("")), |path| {
                let progress = Progress::over(app, path);
                let report = |done| progress.set(done);
                reencrypt.progress(&report).file(path)?;
                Ok("reencrypted".into())
            });
        };
        let freshness = match self.before {
            None => Freshness::CurrentVersion,
            Some(time) => Freshness::VersionCreatedSince(system_time(time)),
        };
        let fresh = match freshness {
            Freshness::CurrentVersion => "under the current version from the start",
            Freshness::VersionCreatedSince(_) => "under a key version that was not made before that time",
        };
        let reencrypt = reencrypt.unless(freshness);
        let summary = self.sources.run(app, Unit::Bytes).work(plan, |job, report| {
            if is_no_envelope(job)? {
                return Ok(Did::Skipped(Skip::NoEnvelope));
            }
            let input = job.open()?;
            let version = input.version();
            let target = || Ok(AtomicFile::create_at(&job.location()?, Replace::Yes, 0o600)?.expecting(version));
            Ok(match reencrypt.clone().progress(report).to_target(input, target)? {
                Some(file) => Did::Wrote(file, "reencrypted".into()),
                None => Did::Already(fresh.into()),
            })
        })?;
        summary.tell(app, self.sources.many.json)
    }

    fn recipients<'a>(&self, provider: &'a dyn Keys) -> Recipients<'a> {
        match self.key.split_first() {
            Some((first, others)) => {
                let encryptor = Encryptor::new(provider, first);
                Recipients::Named(others.iter().fold(encryptor, |encryptor, name| encryptor.also(provider, name)))
            }
            None if self.keep_keys => Recipients::KeepKeys(provider),
            None => Recipients::SameKey(provider),
        }
    }
}

/// Converts a time; one before 1970 is before all key versions.
fn system_time(time: Timestamp) -> SystemTime {
    let since = time.duration_since(Timestamp::UNIX_EPOCH);
    match since.is_negative() {
        true => SystemTime::UNIX_EPOCH,
        false => SystemTime::UNIX_EPOCH + since.unsigned_abs(),
    }
}
