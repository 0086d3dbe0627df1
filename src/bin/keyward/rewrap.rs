//! `keyward rewrap` and `keyward reencrypt`: files under another master key, or another version.

use crate::app::{App, Keys, Provider};
use crate::args::ContextArgs;
use crate::inspect::inspect_file;
use crate::output::print_line;
use crate::progress::Progress;
use crate::report;
use clap::Args;
use keyward::durable::Replace;
use keyward::envelope::{InspectedEntry, Inspection, Rewrap as Rewrapper, RewrapOutcome, reencrypt_file};
use keyward::{Decryptor, EncryptionContext, Encryptor, Error, ErrorKind, KeyName, KeyRef};
use std::path::{Path, PathBuf};

/// Which files, and which keys open them.
#[derive(Debug, Args)]
struct Sources {
    /// Only this master key may open the files; needed for RSA keys; repeatable
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    from_key: Vec<KeyName>,
    #[command(flatten)]
    context: ContextArgs,
    /// Accept whatever context a file has; so it is where no --context is given
    #[arg(long, conflicts_with = "pairs")]
    any_context: bool,
    /// Vouch for who wrote files that an RSA key opens, and move them under an AES key
    #[arg(long)]
    danger_assert_origin: bool,
    /// The files
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

impl Sources {
    /// The provider, which may use `targets` as well.
    fn provider(&self, app: &App, targets: &[KeyName]) -> keyward::Result<Provider> {
        let names = match self.from_key.as_slice() {
            [] => Vec::new(),
            from => from.iter().chain(targets).cloned().collect(),
        };
        for name in targets {
            app.check_allowed(name)?;
        }
        app.provider_for(&names, self.danger_assert_origin)
    }

    /// The context that the caller expects, where it expects one.
    fn expected(&self) -> keyward::Result<Option<EncryptionContext>> {
        self.context.is_given().then(|| self.context.to_context()).transpose()
    }

    /// Works on all files, also after one failed, and gives the highest exit status.
    fn each(&self, work: impl Fn(&Path) -> anyhow::Result<String>) -> anyhow::Result<u8> {
        let mut worst = 0;
        for path in &self.files {
            match work(path) {
                Ok(told) => print_line(&format!("{}: {told}", path.display()))?,
                Err(error) => {
                    let name = path.display().to_string();
                    let named = error.to_string().contains(&format!("'{name}'"));
                    let error = if named { error } else { error.context(name) };
                    worst = worst.max(report::failure(&error));
                }
            }
        }
        Ok(worst)
    }
}

/// Move files to the current version of a master key, without touching their bodies
///
/// It takes the same time for small files and large ones, and shows nobody the plaintext. Files are changed in
/// place; at every instant they can be opened. Whoever kept the old file can still open that with the old key:
/// reencrypt is for keys that are no longer trusted.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keyward key rotate payments && keyward rewrap --key payments *.kw
  keyward rewrap --key archive --context tenant=acme report.pdf.kw
  keyward rewrap --from-key mailbox --key payments --danger-assert-origin letter.kw")]
pub(crate) struct Rewrap {
    /// The master key to move to; the current version of the file's own where none is named
    #[arg(long, short, value_name = "NAME")]
    key: Option<KeyName>,
    /// Write a copy and rename it, instead of changing the file in place
    #[arg(long)]
    copy: bool,
    #[command(flatten)]
    sources: Sources,
}

impl Rewrap {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<u8> {
        let expected = self.sources.expected()?;
        let provider = self.sources.provider(app, self.key.as_slice())?;
        self.sources.each(|path| {
            let mut rewrap = Rewrapper::new(&provider).copy(self.copy);
            rewrap = match &expected {
                Some(context) => rewrap.context(context.clone()),
                None => rewrap.any_context(),
            };
            if let Some(name) = &self.key {
                rewrap = rewrap.to(name);
            }
            Ok(match rewrap.file(path)? {
                RewrapOutcome::Unchanged => "up to date".into(),
                RewrapOutcome::Rewrapped { generation, .. } => format!("rewrapped, generation {generation}"),
            })
        })
    }
}

/// Give files a new data key and a new body
///
/// For files whose old key is no longer trusted. The context is carried over. Each file is replaced once its new
/// body is whole.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  keyward reencrypt --key payments report.pdf.kw")]
pub(crate) struct Reencrypt {
    /// A master key to encrypt with, the file's own where none is named; repeatable
    #[arg(long, short, value_name = "NAME", value_delimiter = ',')]
    key: Vec<KeyName>,
    #[command(flatten)]
    sources: Sources,
}

impl Reencrypt {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<u8> {
        let expected = self.sources.expected()?;
        let provider = self.sources.provider(app, &self.key)?;
        self.sources.each(|path| {
            let found = inspect_file(path)?;
            let names = if self.key.is_empty() { vec![own_key(&provider, &found)?] } else { self.key.clone() };
            if !self.sources.danger_assert_origin {
                check_origin(&provider, &found, &names)?;
            }
            // What the file shows is what the decryptor then expects, so it is authenticated.
            let context = expected.clone().unwrap_or(found.context);
            let (first, others) = names.split_first().ok_or_else(|| anyhow::anyhow!("no key to encrypt with"))?;
            let encryptor = Encryptor::new(&provider, first).context(context.clone());
            let encryptor = others.iter().fold(encryptor, |encryptor, name| encryptor.also(&provider, name));
            let progress = Progress::over(app, path);
            let tell = |done| progress.set(done);
            let decryptor = Decryptor::new(&provider).context(context).progress(&tell);
            reencrypt_file(&decryptor, &encryptor, path, path, Replace::Yes)?;
            Ok("reencrypted".into())
        })
    }
}

/// The name of the first key of the file that is on the token.
fn own_key(provider: &dyn Keys, found: &Inspection) -> keyward::Result<KeyName> {
    let mut failure = None;
    for entry in &found.entries {
        let InspectedEntry::Known(key) = entry else { continue };
        match provider.describe_key(KeyRef::Kek(key.kek_id())) {
            Ok(description) => return Ok(description.name),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    Err(failure.unwrap_or_else(|| Error::new(ErrorKind::KeyNotFound, "no key of this file can be told")))
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
