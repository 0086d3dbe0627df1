//! The way to a store.

use super::marker::Marker;
use super::url::Target;
use super::{fail, table};
use crate::app::{App, Provider};
use keyward::KeyProvider;
use keyward::object::EncryptedStore;
use object_store::{ObjectStore, ObjectStoreScheme};
use std::sync::{Arc, LazyLock};

/// That of a store whose configuration says nothing, as the library has it.
pub(crate) const HEADER_LEN: u32 = 4096;

/// What is done with a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    Read,
    Write,
}

/// The token and the settings that all stores of a command line share.
pub(crate) struct Stores<'a> {
    app: &'a App,
    provider: Option<Arc<Provider>>,
}

impl<'a> Stores<'a> {
    /// Without a token: nothing of what is done needs a master key.
    pub(crate) fn without_keys(app: &'a App) -> Self {
        Self { app, provider: None }
    }

    /// With the token that is named, and what governs it.
    pub(crate) fn new(app: &'a App) -> anyhow::Result<Self> {
        Ok(Self { app, provider: Some(Arc::new(app.provider()?)) })
    }

    pub(crate) fn app(&self) -> &App {
        self.app
    }

    /// The table `[object]`, or what counts without one.
    pub(crate) fn table(&self) -> &table::Object {
        table_of(self.app)
    }

    /// The store of a target.
    pub(crate) async fn open(&self, target: &Target, used: Use) -> anyhow::Result<EncryptedStore> {
        let table = self.table();
        let options = environment(target.scheme());
        let inner = object_store::parse_url_opts(target.url(), options);
        let inner: Arc<dyn ObjectStore> = Arc::from(inner.map_err(|error| fail::of(error, &target.to_string()))?.0);
        Marker::of(table).check(&*inner, target, used == Use::Write).await?;
        let mut builder = EncryptedStore::builder(inner)
            // What `head` says of it is in its own words, and a copy does not carry it.
            .encryption_attributes(false)
            .header_len(table.header_len.unwrap_or(HEADER_LEN))
            .require(table.require.iter().copied())
            .require_keys(table.require_keys.iter().cloned())
            .bucket_keys(table.limits()?);
        if table.detached_slots {
            builder = builder.detached_slots();
        }
        if let Some(name) = &table.name {
            builder = builder.name(name);
        }
        if let Some(provider) = &self.provider {
            let provider: Arc<Provider> = Arc::clone(provider);
            let used: Arc<dyn KeyProvider> = provider.clone();
            builder = builder.provider(used).managed_key(provider, table.managed_key.as_deref().unwrap_or(MANAGED));
        }
        Ok(builder.build()?)
    }
}

/// What follows `keyward/` in the name of the key of `AES256`.
pub(crate) const MANAGED: &str = "s3";

/// The table `[object]`, or what counts without one.
pub(crate) fn table_of(app: &App) -> &table::Object {
    static NONE: LazyLock<table::Object> = LazyLock::new(table::Object::default);
    app.config().object.as_ref().unwrap_or(&NONE)
}

/// The variables that are for a store of this kind. Those of others could be for it by their short names.
fn environment(scheme: &ObjectStoreScheme) -> Vec<(String, String)> {
    let prefix = match scheme {
        ObjectStoreScheme::AmazonS3 => "AWS_",
        ObjectStoreScheme::GoogleCloudStorage => "GOOGLE_",
        ObjectStoreScheme::MicrosoftAzure => "AZURE_",
        _ => return Vec::new(),
    };
    let text = |text: std::ffi::OsString| text.into_string().ok();
    let mut found: Vec<_> = std::env::vars_os()
        .filter_map(|(name, value)| Some((text(name)?, text(value)?)))
        .filter(|(name, value)| name.starts_with(prefix) && !value.is_empty())
        .collect();
    // As the builder of `object_store` has it; the last counts.
    found.sort();
    // Those two that the builders know by names of others.
    let more = match scheme {
        ObjectStoreScheme::GoogleCloudStorage => Some(("SERVICE_ACCOUNT", "google_service_account")),
        ObjectStoreScheme::MicrosoftAzure => Some(("IDENTITY_ENDPOINT", "azure_msi_endpoint")),
        _ => None,
    };
    if let Some((name, key)) = more
        && let Ok(value) = std::env::var(name)
    {
        found.insert(0, (key.into(), value));
    }
    found
}
