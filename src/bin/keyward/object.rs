//! `keyward object`: objects in stores that hold nothing but ciphertext.

mod copy;
mod each;
mod fail;
mod get;
mod head;
mod list;
mod marker;
mod meter;
mod put;
mod remove;
mod rewrap;
mod sse;
mod store;
pub(crate) mod table;
pub(crate) mod upload;
mod url;
mod usage;

use crate::app::App;
use anyhow::Context;
use clap::Subcommand;

/// Objects in S3, Google Cloud Storage or Azure, encrypted before they get there
///
/// A store is named by a URL: s3://BUCKET/KEY, gs://BUCKET/KEY or az://CONTAINER/KEY. What it holds are envelopes;
/// without the key, the store's keeper too sees names, sizes and times only. `keyward encrypt -r` is for directories.
///
/// Where the store is and how to log in to it comes from the variables that the tools of each cloud know:
/// AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL and all else that begins with AWS_,
/// GOOGLE_ or AZURE_.
#[derive(Debug, Subcommand)]
#[command(after_help = AFTER)]
pub(crate) enum ObjectCommand {
    Put(put::Put),
    Get(get::Get),
    Ls(list::List),
    Cp(copy::Copy),
    Rm(remove::Remove),
    Head(head::Head),
    Rewrap(rewrap::Rewrap),
    Usage(usage::Usage),
}

const AFTER: &str = "Examples:
  keyward object put report.pdf s3://bucket/reports/ --sse aws:kms --sse-kms-key-id payments
  keyward object get s3://bucket/reports/report.pdf report.pdf
  keyward object ls -r s3://bucket/reports/

Configuration file, in the table [object], every line of it optional:
  sse = \"aws:kms\"              # where the command line says nothing; or \"AES256\"
  sse_kms_key_id = \"payments\"
  bucket_key_enabled = true      # one data key for many objects
  require = [\"aws:kms\"]        # the only modes that are written; also \"AES256\", \"customer\"
  require_keys = [\"payments\"]  # the only master keys that are named for them
  managed_key = \"s3\"           # AES256 is under keyward/s3, which is made on first use
  bucket_key_seconds = 300       # how long a data key serves several objects, at most,
  bucket_key_objects = 32768     # and how many
A store that was written with others of these is refused:
  header_len = 4096              # bytes before each object, 512 to 65536
  detached_slots = true          # wrapped keys in objects of their own, for rewrap
  name = \"archive\"             # bound to each object: those of other stores do not open";

impl ObjectCommand {
    /// Runs one command, and gives its exit status.
    pub(crate) fn run(self, app: &App) -> anyhow::Result<u8> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(std::thread::available_parallelism().map_or(2, |cores| cores.get().clamp(2, 8)))
            .enable_all()
            .build()
            .context("cannot start the threads that talk to the store")?;
        let answer = runtime.block_on(async {
            match self {
                Self::Put(put) => put.run(app).await,
                Self::Get(get) => get.run(app).await,
                Self::Ls(list) => list.run(app).await,
                Self::Cp(copy) => copy.run(app).await,
                Self::Rm(remove) => remove.run(app).await,
                Self::Head(head) => head.run(app).await,
                Self::Rewrap(rewrap) => rewrap.run(app).await,
                Self::Usage(usage) => usage.run(app).await,
            }
        });
        // Not by waiting for a thread that reads from a pipe where nothing comes.
        runtime.shutdown_background();
        answer
    }
}
