//! `keyward decrypt`.

use crate::app::App;
use crate::args::ContextArgs;
use crate::customer;
use crate::files::{FileArgs, Input, Output};
use crate::progress::Progress;
use crate::range::{Range, read_range};
use clap::Args;
use keyward::{Decryptor, EncryptionContext, KeyName};
use std::path::PathBuf;

/// Decrypt a file or a stream
///
/// A file gets its name only after its last byte was verified. To a pipe, what is authentic is passed on at once:
/// act on a stream only after exit status 0, which says that it was not cut short.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keyward decrypt --context tenant=acme report.pdf.kw -o report.pdf
  keyward decrypt < records.tar.kw | tar t
  keyward decrypt --key mailbox letter.kw                      # RSA keys have to be named
  keyward decrypt --range 0-1023 disk.img.kw -o head.img       # the first 1024 bytes
  keyward decrypt --any-context found.kw -o found              # tells the context on stderr")]
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
    files: FileArgs,
}

impl Decrypt {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<()> {
        let context = self.context.to_context()?;
        let output = self.files.output()?;
        let input = self.files.input(app)?;
        if self.range.is_some() {
            input.seekable("--range")?;
        }
        if let Some(path) = &self.customer_key {
            let key = customer::read(path)?;
            self.open(app, context, Decryptor::with_customer_key(&key), &input, &output)
        } else {
            let provider = app.provider_for(&self.key, false)?;
            self.open(app, context, Decryptor::new(&provider), &input, &output)
        }
    }

    fn open(
        &self,
        app: &App,
        context: EncryptionContext,
        decryptor: Decryptor<'_>,
        input: &Input,
        output: &Output,
    ) -> anyhow::Result<()> {
        let decryptor = if self.any_context { decryptor.any_context() } else { decryptor.context(context) };
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
                let mut reader = decryptor.reader(input.reader()?)?;
                let mut sink = output.open()?;
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
        let pairs: Vec<_> = context.iter().map(|(key, value)| format!("{key}={value}")).collect();
        if pairs.is_empty() {
            app.note("the encryption context is empty");
        } else {
            app.note(&format!("the encryption context is {}", pairs.join(", ")));
        }
    }
}
