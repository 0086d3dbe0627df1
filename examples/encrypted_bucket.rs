//! A bucket in which nobody but those with the key can read: an S3 server that knows nothing of Keyward holds
//! ciphertext, and a program reads and writes through `EncryptedStore` as through any other `ObjectStore`.
//!
//! Needs an S3 server and an empty bucket, named as `object_store` names them: `AWS_ENDPOINT_URL`, `AWS_ACCESS_KEY_ID`,
//! `AWS_BUCKET` and so on. `ci/test` runs it against one of its own. Run:
//! `softhsm/with cargo run --features cli,testkit --example encrypted_bucket`.

use futures_util::TryStreamExt;
use keyward::key::CustomerKey;
use keyward::object::{EncryptedStore, Encryption, Mode, OpenWith, Sse, keyward_error};
use keyward::testkit::SoftToken;
use keyward::{AlgorithmChoice, EncryptionContext, ErrorKind, KeyAdmin, KeyName};
use object_store::aws::AmazonS3Builder;
use object_store::path::Path;
use object_store::{GetOptions, ObjectStore, ObjectStoreExt, PutOptions};
use std::sync::Arc;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // A program opens its token by URI: `HsmProvider::new(Token::open(&uri)?)`.
    let token = SoftToken::new();
    let hsm = Arc::new(token.provider());
    let key: KeyName = "payments".parse()?;
    hsm.create_key(&key, AlgorithmChoice::Auto)?;

    let bucket: Arc<dyn ObjectStore> = Arc::new(AmazonS3Builder::from_env().build()?);
    let store = EncryptedStore::builder(bucket.clone())
        .provider(hsm.clone())
        .default_sse(Sse::kms(key.clone()).context(EncryptionContext::from_pairs([("tenant", "acme")])?))
        .require([Mode::Kms, Mode::Customer])
        .detached_slots()
        .build()?;

    // SSE-KMS, the default of this store: what is put is what is got, and the bucket holds an envelope.
    let path = Path::from("reports/2026.txt");
    store.put(&path, "nobody else is to read this".into()).await?;
    let answer = store.get(&path).await?;
    let encryption: Encryption = answer.extensions.get().cloned().ok_or("a get says how the object is encrypted")?;
    assert_eq!((encryption.mode, encryption.context.get("tenant")), (Mode::Kms, Some("acme")));
    assert_eq!(answer.bytes().await?, "nobody else is to read this");
    let inside = bucket.get(&path).await?.bytes().await?;
    assert!(inside.starts_with(b"\x89KWE") && !inside.windows(6).any(|bytes| bytes == b"nobody"));
    println!("{path}: {} bytes, {} in the bucket", store.head(&path).await?.size, inside.len());

    // An object that somebody moves in the bucket does not open: its path is bound to it.
    let elsewhere = Path::from("reports/2027.txt");
    bucket.copy(&path, &elsewhere).await?;
    let refused = store.get(&elsewhere).await.expect_err("the path is bound");
    assert_eq!(keyward_error(&refused).map(keyward::Error::kind), Some(ErrorKind::NotAuthentic));
    println!("{elsewhere}: {refused}");
    bucket.delete(&elsewhere).await?;

    // SSE-C: a key of the caller's own, which comes with each request and is stored nowhere.
    let mine = Arc::new(CustomerKey::from_slice(&[7; 32])?); // 32 random bytes
    let private = Path::from("private.txt");
    let mut options = PutOptions::default();
    options.extensions.insert(Sse::customer(mine.clone()));
    store.put_opts(&private, "mine alone".into(), options).await?;
    assert!(store.get(&private).await.is_err(), "the token does not open it");
    let mut options = GetOptions::default();
    options.extensions.insert(OpenWith::customer_key(mine));
    assert_eq!(store.get_opts(&private, options).await?.bytes().await?, "mine alone");

    // The bucket takes nothing in another mode.
    let mut options = PutOptions::default();
    options.extensions.insert(Sse::client(key.clone()));
    let refused = store.put_opts(&Path::from("x"), "x".into(), options).await.expect_err("not a mode of this store");
    println!("{refused}");

    // Rotation: new wrapped keys, and no object is read or written.
    let newest = hsm.rotate_key(&key, None)?;
    let before = bucket.head(&path).await?.e_tag;
    let rewrapped: Vec<_> = store.rewrap(None, None).try_collect().await?;
    assert_eq!(bucket.head(&path).await?.e_tag, before);
    for one in rewrapped {
        println!("{}: {:?}", one.location, one.outcome?);
    }
    let usage = store.usage(None).await?;
    assert_eq!(usage.keks.keys().copied().collect::<Vec<_>>(), [newest.kek_id]);
    assert_eq!((usage.customer, usage.unknown.len()), (1, 0));
    println!("version 1 of the key is not needed any more");
    Ok(())
}
