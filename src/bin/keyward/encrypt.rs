//! `keyward encrypt`.

use crate::app::{App, Provider, Wants};
use crate::args::ContextArgs;
use crate::cache::CacheArgs;
use crate::files::{FileArgs, Input, Output, Task, cannot};
use crate::headers::is_envelope;
use crate::many::{Did, Lines, Naming, Run, Skip, Unit, already, has_suffix, lasting};
use crate::progress::Progress;
use crate::{customer, key};
use clap::Args;
use keyward::key::PublicKeyProvider;
use keyward::provider::managed_key;
use keyward::{EncryptionContext, Encryptor, KeyName, KeyProvider};
use std::path::PathBuf;

/// Encrypt files or a stream
///
/// One file goes to OUT or standard output. Several, or with -r whole directories, go beside their originals with .kw
/// after their names, or below --output-dir. Run again, it goes on with what is not done yet.
///
/// The data key is wrapped by each --key on the token and for each --recipient; any one of them opens the file.
/// Without any, the managed default key of the token is used, which is made on first use.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keyward encrypt --key payments --context tenant=acme report.pdf -o report.pdf.kw
  keyward encrypt --key payments,escrow report.pdf -o report.pdf.kw
  tar c records | keyward encrypt --key payments > records.tar.kw
  keyward encrypt --key payments a.pdf b.pdf                              # to a.pdf.kw and b.pdf.kw
  keyward encrypt --key payments -r records --output-dir /backup          # to /backup/records/…
  keyward encrypt --recipient mailbox.pub letter.txt -o letter.kw         # needs no token
  keyward encrypt --customer-key my.key letter.txt -o letter.kw           # needs no token

The context must be given again, byte for byte, to decrypt. Of several files, those are done already whose output has
their time or a later one, the length that belongs to them, these keys and this context. A file called .kw that is an
envelope already is left alone.")]
pub(crate) struct Encrypt {
    /// A master key on the token; repeatable
    #[arg(long, short, value_name = "NAME", value_delimiter = ',')]
    key: Vec<KeyName>,
    /// A public key file, as `keyward key public` prints it; repeatable
    #[arg(long, short = 'R', value_name = "PUBFILE")]
    recipient: Vec<PathBuf>,
    /// A file with a key of your own: 32 random bytes, as they are, in hexadecimal or in base64
    #[arg(long, value_name = "FILE", conflicts_with_all = ["key", "recipient"])]
    customer_key: Option<PathBuf>,
    #[command(flatten)]
    context: ContextArgs,
    /// For small records: with as little beside the content as the format allows
    #[arg(long)]
    compact: bool,
    #[command(flatten)]
    cache: CacheArgs,
    #[command(flatten)]
    files: FileArgs,
}

impl Encrypt {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<u8> {
        let context = self.context.to_context()?;
        let task = self.files.task(app, Naming::Encrypted)?;
        if let Some(path) = &self.customer_key {
            let key = customer::read(path)?;
            return self.seal(app, &Encryptor::with_customer_key(&key), &[], context, task);
        }
        let recipients = self.recipient.iter().map(|path| key::read_public(path).map(PublicKeyProvider::new));
        let recipients = recipients.collect::<anyhow::Result<Vec<_>>>()?;
        let (hsm, names) = self.token_keys(app)?;

        let on_token = names.iter().filter_map(|name| Some((hsm.as_ref()? as &dyn KeyProvider, name.clone())));
        let pinned = recipients.iter().map(|one| (one as &dyn KeyProvider, one.key_name().clone()));
        let keys: Vec<_> = on_token.chain(pinned).collect();
        let ((provider, name), others) = keys.split_first().ok_or_else(|| anyhow::anyhow!("no key to encrypt with"))?;
        let encryptor = others
            .iter()
            .fold(Encryptor::new(*provider, name), |encryptor, (provider, name)| encryptor.also(*provider, name));
        self.seal(app, &encryptor, &keys, context, task)
    }

    fn seal(
        &self,
        app: &App,
        encryptor: &Encryptor<'_>,
        keys: &already::Keys<'_>,
        context: EncryptionContext,
        task: Task,
    ) -> anyhow::Result<u8> {
        let mut encryptor = encryptor.clone().context(context.clone());
        if self.compact {
            encryptor = encryptor.compact();
        }
        let plan = match task {
            Task::One(input, output) => return seal_one(app, encryptor, &input, &output).map(|()| 0),
            Task::Many(plan) => plan,
        };
        let run = Run { app, args: &self.files.many, unit: Unit::Bytes, lines: Lines::Nowhere, lasting };
        let summary = run.work(plan, |job, tell| {
            let (path, input) = (job.input.path(), job.open()?);
            if has_suffix(&path) && is_envelope(input.file()).map_err(|error| cannot("read", &path, error))? {
                return Ok(Did::Skipped(Skip::Envelope));
            }
            let Some(begun) = already::begin_encrypted(job, &input, self.files.force, keys, &context)? else {
                return Ok(Did::Already(String::new()));
            };
            let file = begun.create()?;
            let file = self.cache.encryptor(&encryptor, job.len).progress(tell).encrypt_to(input, file)?;
            Ok(Did::Wrote(begun.date(file)?, String::new()))
        })?;
        summary.tell(app, self.files.many.json)
    }

    fn provider(&self, app: &App) -> keyward::Result<Provider> {
        app.provider_for(Wants { cache: self.cache, ..Wants::default() })
    }

    /// The keys on the token, and its provider where there are any.
    fn token_keys(&self, app: &App) -> anyhow::Result<(Option<Provider>, Vec<KeyName>)> {
        if !self.key.is_empty() {
            for name in &self.key {
                app.check_allowed(name)?;
            }
            let mut names: Vec<KeyName> = Vec::new();
            for name in &self.key {
                if !names.contains(name) {
                    names.push(name.clone());
                }
            }
            return Ok((Some(self.provider(app)?), names));
        }
        if !self.recipient.is_empty() {
            return Ok((None, Vec::new()));
        }
        let name = KeyName::managed_default();
        app.check_allowed(&name).map_err(|error| {
            error.with_hint(format!("name a key with --key, or add \"{name}\" to the file's list of keys"))
        })?;
        let hsm = self.provider(app)?;
        let key = managed_key(&*hsm, "default")?;
        if let Some(made) = &key.made {
            app.note(&format!("made the managed default key {} ({})", made.label(), made.algorithm));
        }
        Ok((Some(hsm), vec![key.name]))
    }
}

fn seal_one(app: &App, encryptor: Encryptor<'_>, input: &Input, output: &Output) -> anyhow::Result<()> {
    if let (Input::File(from), Output::File(to, replace)) = (input, output) {
        let progress = Progress::over(app, from);
        let tell = |done| progress.set(done);
        encryptor.progress(&tell).encrypt_file(from, to, *replace)?;
        return Ok(());
    }
    let reader = input.reader()?;
    let sink = output.open(reader.creation_mode()?.unwrap_or(0o666))?;
    Ok(encryptor.writer(sink)?.finish_from(reader)?.finish()?)
}
