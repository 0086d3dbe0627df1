//! A key provider of one's own around another: every data key belongs to a tenant, whoever asks for it and whatever
//! they forget. Run: `softhsm/with cargo run --features testkit --example tenants`.

use keyward::key::KeyDescription;
use keyward::testkit::SoftToken;
use keyward::{
    AlgorithmChoice, DataKey, DataKeyLength, Decryptor, EncryptionContext, Encryptor, ErrorKind, KeyAdmin, KeyName,
    KeyProvider, KeyRef, Result, WrappedKeys,
};

/// Binds each data key to the tenant, beside the context that the caller gives.
struct ForTenant<P> {
    inner: P,
    tenant: String,
}

impl<P> ForTenant<P> {
    fn new(inner: P, tenant: &str) -> Self {
        Self { inner, tenant: tenant.to_owned() }
    }

    /// Fails where the caller names a tenant too.
    fn bind(&self, context: &EncryptionContext) -> Result<EncryptionContext> {
        let mut bound = context.clone();
        bound.insert("tenant", &self.tenant)?;
        Ok(bound)
    }
}

// No method has a body of its own in the trait: what is added there does not compile until it is bound here as well.
impl<P: KeyProvider> KeyProvider for ForTenant<P> {
    fn describe_key(&self, key: KeyRef<'_>) -> Result<KeyDescription> {
        self.inner.describe_key(key)
    }

    fn generate_data_key(
        &self,
        key: &KeyName,
        context: &EncryptionContext,
        length: DataKeyLength,
    ) -> Result<(DataKey, WrappedKeys)> {
        self.inner.generate_data_key(key, &self.bind(context)?, length)
    }

    fn data_key_for_message(
        &self,
        key: &KeyName,
        context: &EncryptionContext,
        length: DataKeyLength,
        message_len: u64,
    ) -> Result<(DataKey, WrappedKeys)> {
        self.inner.data_key_for_message(key, &self.bind(context)?, length, message_len)
    }

    fn wrap_data_key(&self, key: &KeyName, context: &EncryptionContext, data_key: &DataKey) -> Result<WrappedKeys> {
        self.inner.wrap_data_key(key, &self.bind(context)?, data_key)
    }

    fn unwrap_data_key(&self, wrapped: &WrappedKeys, context: &EncryptionContext) -> Result<keyward::UnwrappedKey> {
        self.inner.unwrap_data_key(wrapped, &self.bind(context)?)
    }

    fn rewrap_data_key(
        &self,
        wrapped: &WrappedKeys,
        context: &EncryptionContext,
        to: &KeyName,
        origin: keyward::Origin,
    ) -> Result<WrappedKeys> {
        self.inner.rewrap_data_key(wrapped, &self.bind(context)?, to, origin)
    }
}

fn main() -> Result<()> {
    let token = SoftToken::new();
    let hsm = token.provider();
    let key: KeyName = "documents".parse()?;
    hsm.create_key(&key, AlgorithmChoice::Auto)?;
    let (acme, globex) = (ForTenant::new(&hsm, "acme"), ForTenant::new(&hsm, "globex"));

    let sealed = Encryptor::new(&acme, &key).encrypt(b"of acme's")?;
    assert_eq!(Decryptor::new(&acme).decrypt(&sealed)?, b"of acme's");
    println!("acme reads its document");

    for (who, keys) in [("globex", &globex as &dyn KeyProvider), ("nobody in particular", &hsm)] {
        let refused = Decryptor::new(keys).decrypt(&sealed).expect_err("the tenant is bound");
        assert_eq!(refused.kind(), ErrorKind::NotAuthentic);
        println!("{who}: {refused}");
    }

    let claimed = EncryptionContext::from_pairs([("tenant", "acme")])?;
    let refused = Encryptor::new(&globex, &key).context(claimed).encrypt(b"forged").expect_err("it is given twice");
    assert_eq!(refused.kind(), ErrorKind::InvalidArgument);
    println!("globex as acme: {refused}");
    Ok(())
}
