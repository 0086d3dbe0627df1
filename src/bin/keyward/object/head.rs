//! `keyward object head`.

use super::fail;
use super::list::ObjectJson;
use super::sse::ReadArgs;
use super::store::{Stores, Use};
use super::url::Target;
use crate::app::App;
use crate::args::Format;
use crate::output::{print_fields, print_json, yes_no};
use clap::Args;
use keyward::object::Encryption;
use object_store::{Attribute, Attributes, Extensions, GetOptions, ObjectStore};
use serde::Serialize;
use std::collections::BTreeMap;

/// Show what an object says about itself; needs no token
///
/// None of it is verified: that takes the key. With --sse-c, that the key is the right one is found out first.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  keyward object head --json s3://bucket/reports/report.pdf | jq .encryption.context")]
pub(crate) struct Head {
    /// The object
    url: Target,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    open: ReadArgs,
}

impl Head {
    pub(crate) async fn run(&self, app: &App) -> anyhow::Result<u8> {
        let stores = Stores::without_keys(app);
        let place = &self.url;
        place.object()?;
        let mut extensions = Extensions::new();
        extensions.insert(self.open.open_with()?);
        let store = stores.open(place, Use::Read).await?;
        let options = GetOptions { head: true, extensions, ..GetOptions::default() };
        let failed = |error| fail::of(error, &place.to_string());
        let answer = store.get_opts(place.path(), options).await.map_err(failed)?;
        let encryption: &Encryption = answer
            .extensions
            .get()
            .ok_or_else(|| anyhow::anyhow!("the store does not say how the object is encrypted"))?;
        let object = ObjectJson::new(place, &answer.meta);
        let attributes = pairs(&answer.attributes);
        if self.format.json {
            print_json(&HeadJson { object, attributes, encryption: EncryptionJson::new(encryption) })?;
            return Ok(0);
        }
        let mut fields = vec![
            ("url", place.to_string()),
            ("size", answer.meta.size.to_string()),
            ("modified", answer.meta.last_modified.format("%Y-%m-%d %H:%M:%S UTC").to_string()),
            ("etag", answer.meta.e_tag.clone().unwrap_or_else(|| "-".into())),
            ("encryption", encryption.mode.to_string()),
            ("bucket key", yes_no(encryption.bucket_key)),
        ];
        fields.extend(encryption.context.iter().map(|(key, value)| ("context", format!("{key}={value}"))));
        fields.extend(encryption.keks.iter().map(|kek| ("KEK id", kek.to_string())));
        fields.extend(attributes.iter().map(|(name, value)| ("attribute", format!("{name}: {value}"))));
        print_fields(&fields)?;
        Ok(0)
    }
}

/// What was put with the object, and what S3 says of its encryption, under the names that S3 has for it.
fn pairs(attributes: &Attributes) -> BTreeMap<String, String> {
    let named = |name: &Attribute| match name {
        Attribute::CacheControl => "cache-control".to_owned(),
        Attribute::ContentDisposition => "content-disposition".to_owned(),
        Attribute::ContentEncoding => "content-encoding".to_owned(),
        Attribute::ContentLanguage => "content-language".to_owned(),
        Attribute::ContentType => "content-type".to_owned(),
        Attribute::StorageClass => "storage-class".to_owned(),
        Attribute::Metadata(name) => name.to_string(),
        other => format!("{other:?}"),
    };
    attributes.iter().map(|(name, value)| (named(name), value.to_string())).collect()
}

#[derive(Serialize)]
struct HeadJson<'a> {
    #[serde(flatten)]
    object: ObjectJson<'a>,
    attributes: BTreeMap<String, String>,
    encryption: EncryptionJson<'a>,
}

#[derive(Serialize)]
struct EncryptionJson<'a> {
    mode: &'static str,
    kek_ids: Vec<String>,
    bucket_key: bool,
    context: BTreeMap<&'a str, &'a str>,
}

impl<'a> EncryptionJson<'a> {
    fn new(encryption: &'a Encryption) -> Self {
        Self {
            mode: encryption.mode.name(),
            kek_ids: encryption.keks.iter().map(ToString::to_string).collect(),
            bucket_key: encryption.bucket_key,
            context: encryption.context.iter().collect(),
        }
    }
}
