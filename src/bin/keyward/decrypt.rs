//! `keyward decrypt`.

use crate::app::{App, Wants};
use crate::args::ContextArgs;
use crate::cache::CacheArgs;
use crate::customer;
use crate::files::{FileArgs, Input, Output, PRIVATE_MODE, Task};
use crate::inspect::inspect_file;
use crate::many::{Did, Lines, Naming, Plan, Run, Unit, already};
use crate::progress::Progress;
use crate::range::{Range, read_range};
use clap::Args;
use keyward::{Decryptor, EncryptionContext, Error, ErrorKind, KeyName};
use std::path::PathBuf;

/// Decrypt files or a stream
///
/// One file goes to OUT or standard output. Several, or with -r whole directories, go beside the encrypted ones without
/// .kw at the end of their names, or below --output-dir. Run again, it goes on with what is not done yet.
///
/// A file gets its name only after its last byte was verified. To a pipe, what is authentic is passed on at once:
/// act on a stream only after exit status 0, which says that it was not cut short.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keyward decrypt --context tenant=acme report.pdf.kw -o report.pdf
  keyward decrypt < records.tar.kw | tar t
  keyward decrypt --key mailbox letter.kw                      # RSA keys have to be named
  keyward decrypt --range 0-1023 disk.img.kw -o head.img       # the first 1024 bytes
  keyward decrypt --any-context found.kw -o found              # tells the context on stderr
  keyward decrypt -r /backup/records --output-dir restored     # to restored/records/…

Of several files, those are done already whose output has their time or a later one and the length of their content.")]
pub(crate) struct Decrypt {
    /// Only this master key may open the file; needed for RSA keys; repeatable
    #[arg(long, short, value_name = "NAME", value_delimiter = ',')]
    key: Vec<KeyName>,
    /// A file with a key of your own: 32 random bytes, as they are, in hexadecimal or in base64
    #[arg(long, value_name = "FILE", conflicts_with = "key")]
    customer_key: Option<PathBuf>,
    #[command(flatten)]
    context: ContextArgs,
    /// Accept whatever context the file has, and tell it on stderr
    #[arg(long, conflicts_with = "pairs")]
    any_context: bool,
    /// Only these bytes of the content, counted from 0, both included; LAST may be left out
    #[arg(long, value_name = "FIRST-LAST")]
    range: Option<Range>,
    #[command(flatten)]
    cache: CacheArgs,
    #[command(flatten)]
    files: FileArgs,
}

impl Decrypt {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<u8> {
        let context = self.context.to_context()?;
        let task = self.files.task(app, Naming::Decrypted)?;
        match &task {
            Task::One(input, _) if self.range.is_some() => drop(input.seekable("--range")?),
            Task::Many(_) if self.range.is_some() => {
                return Err(Error::new(ErrorKind::InvalidArgument, "--range is for a single file").into());
            }
            _ => {}
        }
        if let Some(path) = &self.customer_key {
            let key = customer::read(path)?;
            self.open(app, context, Decryptor::with_customer_key(&key), task)
        } else {
            let provider = app.provider_for(Wants { keys: &self.key, cache: self.cache })?;
            self.open(app, context, Decryptor::new(&provider), task)
        }
    }

    fn open(&self, app: &App, context: EncryptionContext, decryptor: Decryptor<'_>, task: Task) -> anyhow::Result<u8> {
        let decryptor = if self.any_context { decryptor.any_context() } else { decryptor.context(context) };
        match task {
            Task::One(input, output) => self.open_one(app, decryptor, &input, &output).map(|()| 0),
            Task::Many(plan) => self.open_many(app, &decryptor, plan),
        }
    }

    fn open_many(&self, app: &App, decryptor: &Decryptor<'_>, plan: Plan) -> anyhow::Result<u8> {
        let lines = if self.any_context && !app.quiet() { Lines::Notes } else { Lines::Nowhere };
        let run = Run { app, args: &self.files.many, unit: Unit::Bytes, lines, lasting: |_| false };
        let summary = run.work(plan, |job, tell| {
            let input = job.open()?;
            let Some(begun) = already::begin_decrypted(job, &input, self.files.force)? else {
                return Ok(Did::Already(String::new()));
            };
            let file = begun.create()?;
            let mut decryptor = decryptor.clone().progress(tell);
            let mut told = String::new();
            if self.any_context {
                // What the file shows is what is then expected of it, so it is authenticated.
                let context = inspect_file(input.file())?.context;
                told = shown(&context);
                decryptor = decryptor.context(context);
            }
            let file = decryptor.decrypt_to(input, file)?;
            Ok(Did::Wrote(begun.date(file)?, told))
        })?;
        summary.tell(app, self.files.many.json)
    }

    fn open_one(&self, app: &App, decryptor: Decryptor<'_>, input: &Input, output: &Output) -> anyhow::Result<()> {
        if let Some(range) = self.range {
            let context = read_range(&decryptor, range, input, output)?;
            self.tell(app, &context);
            return Ok(());
        }
        match (input, output) {
            // Only a reader tells the context that was authenticated.
            (Input::File(from), Output::File(to, replace)) if !self.any_context => {
                let progress = Progress::over(app, from);
                let tell = |done| progress.set(done);
                decryptor.progress(&tell).decrypt_file(from, to, *replace)?;
            }
            _ => {
                let source = input.reader()?;
                let mode = source.creation_mode()?.unwrap_or(PRIVATE_MODE);
                let mut reader = decryptor.reader(source)?;
                let mut sink = output.open(mode)?;
                reader.write_all_to(&mut sink)?;
                sink.finish()?;
                self.tell(app, reader.context());
            }
        }
        Ok(())
    }

    fn tell(&self, app: &App, context: &EncryptionContext) {
        if !self.any_context {
            return;
        }
        app.note(&shown(context));
    }
}

fn shown(context: &EncryptionContext) -> String {
    let pairs: Vec<_> = context.iter().map(|(key, value)| format!("{key}={value}")).collect();
    match pairs.is_empty() {
        true => "the encryption context is empty".into(),
        false => format!("the encryption context is {}", pairs.join(", ")),
    }
}
