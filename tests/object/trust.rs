//! Which key a copy goes under, and whether it may, follows from what has opened the source.

use crate::bound::{opening, refused_as, with};
use crate::fixture::{builder, in_memory, key, provider};
use crate::raw::SlotCopy;
use keyward::envelope::Opening;
use keyward::object::{EncryptedStore, Encryption, OpenWith, Sse};
use keyward::testkit::{MemoryProvider, SoftToken};
use keyward::{
    AlgorithmChoice, DataKeyLength, EncryptionContext, ErrorKind, KeyAdmin, KeyName, KeyProvider, WrappedKey,
    WrappingAlgorithm,
};
use object_store::path::Path;
use object_store::{CopyOptions, GetOptions, ObjectStore, ObjectStoreExt, PutPayload};
use std::sync::Arc;

fn other() -> KeyName {
    "tenant-b".parse().unwrap()
}

/// Adds an entry for `other` to the object `a`: as F, who has its data key and makes the tag right, or as S.
async fn add_entry(inner: &dyn ObjectStore, provider: &MemoryProvider, knows_the_key: bool) {
    let path = Path::from("a");
    let mut bytes = inner.get(&path).await.unwrap().bytes().await.unwrap().to_vec();
    let core_len = 34 + usize::from(u16::from_be_bytes([bytes[32], bytes[33]]));
    let area = (4096 - core_len) / 2;
    let (core, slots) = bytes[..4096].split_at(core_len);
    let context = EncryptionContext::parse(&core[34..]).unwrap();
    let copy = SlotCopy::read(&slots[..area]).unwrap();
    let own = copy.list().remove(0);
    let data_key = provider.unwrap_data_key(&WrappedKey::parse(&own).unwrap().into(), &context).unwrap().data_key;
    let added = provider.wrap_data_key(&other(), &context, &data_key).unwrap().into_vec().remove(0).to_bytes();
    let edited = SlotCopy::new(1, &[own, added]);
    let edited = match knows_the_key {
        true => edited.tagged(data_key.expose_secret().try_into().unwrap(), core),
        false => SlotCopy { tag: copy.tag, ..edited },
    };
    let mut new = edited.bytes();
    new.resize(area, 0);
    bytes[core_len..core_len + area].copy_from_slice(&new);
    inner.put(&path, PutPayload::from(bytes)).await.unwrap();
}

async fn store_with_object() -> (Arc<dyn ObjectStore>, Arc<MemoryProvider>, EncryptedStore) {
    let (inner, provider) = (in_memory().store, provider());
    provider.create_key(&other(), AlgorithmChoice::Auto).unwrap();
    let store = builder(inner.clone(), &provider).build().unwrap();
    store.put_opts(&Path::from("a"), "hello".into(), with(Sse::kms(key()))).await.unwrap();
    (inner, provider, store)
}

fn opened(encryption: &Encryption) -> &Opening {
    encryption.opening.as_ref().unwrap()
}

#[tokio::test]
async fn copy_of_object_with_added_entry_is_refused() {
    let (inner, provider, store) = store_with_object().await;
    add_entry(&*inner, &provider, true).await;
    let (a, b) = (Path::from("a"), Path::from("b"));
    refused_as(store.copy(&a, &b).await, ErrorKind::RecipientsAmbiguous);
    refused_as(store.rename(&a, &b).await, ErrorKind::RecipientsAmbiguous);
    refused_as(store.get(&b).await.map_err(|_| unknown()), ErrorKind::KeyNotFound);
    // Of what a get says, only the key that opened is a fact; the other entry is a claim of everyone who had the key.
    let got = store.get(&a).await.unwrap();
    let encryption: &Encryption = got.extensions.get().unwrap();
    let newest = |name: &KeyName| provider.describe_key(keyward::KeyRef::Name(name)).unwrap().kek_id;
    assert_eq!(encryption.keks, [newest(&key())]);
    assert_eq!(opened(encryption).entry.name(), Some(&key()));
    assert_eq!(opened(encryption).other_entries.len(), 1);
    refused_as(store.sse_like(&a, encryption, &OpenWith::master_key()).await, ErrorKind::RecipientsAmbiguous);
    // The caller names the key.
    let mut options = CopyOptions::default();
    options.extensions.insert(Sse::kms(key()));
    store.copy_opts(&a, &b, options).await.unwrap();
    let copied = store.get(&b).await.unwrap();
    assert!(opened(copied.extensions.get().unwrap()).other_entries.is_empty());
}

fn unknown() -> object_store::Error {
    let source = Box::new(keyward::Error::new(ErrorKind::KeyNotFound, "no such object"));
    object_store::Error::Generic { store: "test", source }
}

#[tokio::test]
async fn entry_added_without_the_data_key_is_refused() {
    let (inner, provider, store) = store_with_object().await;
    add_entry(&*inner, &provider, false).await;
    let a = Path::from("a");
    refused_as(store.get(&a).await, ErrorKind::NotAuthentic);
    refused_as(store.copy(&a, &Path::from("b")).await, ErrorKind::NotAuthentic);
}

#[tokio::test]
async fn head_confirms_nothing_and_cannot_be_copied_from() {
    let (_inner, _provider, store) = store_with_object().await;
    let a = Path::from("a");
    let head = store.get_opts(&a, GetOptions { head: true, ..GetOptions::default() }).await.unwrap();
    let encryption: &Encryption = head.extensions.get().unwrap();
    assert_eq!(encryption.opening, None);
    refused_as(store.sse_like(&a, encryption, &OpenWith::master_key()).await, ErrorKind::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn object_that_rsa_opened_moves_under_symmetric_keys_only_when_asserted() {
    let token = SoftToken::new();
    let (mailbox, payments): (KeyName, KeyName) = ("mailbox".parse().unwrap(), key());
    let hsm = token.provider().only([mailbox.clone(), payments.clone()]);
    hsm.create_key(&mailbox, AlgorithmChoice::Exactly(WrappingAlgorithm::RsaOaepSha1)).unwrap();
    hsm.create_key(&payments, AlgorithmChoice::Auto).unwrap();
    for detached in [false, true] {
        let inner = in_memory().store;
        let store = EncryptedStore::builder(inner.clone())
            .provider(Arc::new(token.provider().only([mailbox.clone(), payments.clone()])));
        let store = if detached { store.detached_slots() } else { store }.build().unwrap();
        let (a, b) = (Path::from("a"), Path::from("b"));
        store.put_opts(&a, "hello".into(), with(Sse::kms(mailbox.clone()))).await.unwrap();
        let to = |open: OpenWith| {
            let mut options = CopyOptions::default();
            options.extensions.insert(Sse::kms(payments.clone()));
            options.extensions.insert(open);
            options
        };
        refused_as(store.copy_opts(&a, &b, to(OpenWith::master_key())).await, ErrorKind::OriginUnverified);
        store.copy(&a, &b).await.unwrap();
        // What a program gets and puts elsewhere, as well.
        let got = store.get_opts(&a, opening(OpenWith::master_key())).await.unwrap();
        let encryption: &Encryption = got.extensions.get().unwrap();
        let sse = Sse::kms(payments.clone()).copied_from(encryption, &OpenWith::master_key());
        refused_as(store.put_opts(&b, "hello".into(), with(sse)).await, ErrorKind::OriginUnverified);
        store.copy_opts(&a, &b, to(OpenWith::master_key().danger_assert_origin())).await.unwrap();
        let got = store.get(&b).await.unwrap();
        assert_eq!(opened(got.extensions.get().unwrap()).entry.name(), Some(&payments));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mode_that_disagrees_with_what_opened_is_refused() {
    // W writes an object in the mode of managed keys, wrapped by an RSA key.
    let token = SoftToken::new();
    let mailbox: KeyName = "mailbox".parse().unwrap();
    let hsm = token.provider().only([mailbox.clone()]);
    hsm.create_key(&mailbox, AlgorithmChoice::Exactly(WrappingAlgorithm::RsaOaepSha1)).unwrap();
    let writer = keyward::key::PublicKeyProvider::new(hsm.public_key(&mailbox).unwrap());
    let inner = in_memory().store;
    let store = EncryptedStore::builder(inner.clone()).provider(Arc::new(writer));
    let store = store.default_sse(Sse::kms(mailbox.clone())).build().unwrap();
    let a = Path::from("a");
    store.put(&a, "hello".into()).await.unwrap();
    // The mode is part of CORE: to claim another takes a new body, which W can make.
    let bytes = inner.get(&a).await.unwrap().bytes().await.unwrap();
    let core_len = 34 + usize::from(u16::from_be_bytes([bytes[32], bytes[33]]));
    let text = String::from_utf8_lossy(&bytes[34..core_len]).into_owned();
    assert!(text.contains("aws:kms"));
    let mut core = bytes[..core_len].to_vec();
    let at = core.windows(9).position(|window| window == b"\0\x07aws:kms").unwrap();
    core.splice(at..at + 9, *b"\0\x06AES256");
    let context_len = u16::try_from(core.len() - 34).unwrap();
    core[32..34].copy_from_slice(&context_len.to_be_bytes());
    let slots_len = 4096 - core.len();
    core[28..32].copy_from_slice(&u32::try_from(slots_len).unwrap().to_be_bytes());
    let context = EncryptionContext::parse(&core[34..]).unwrap();
    let public = keyward::key::PublicKeyProvider::new(hsm.public_key(&mailbox).unwrap());
    let (data_key, wrapped) = public.generate_data_key(&mailbox, &context, DataKeyLength::Bytes32).unwrap();
    let secret: &[u8; 32] = data_key.expose_secret().try_into().unwrap();
    let entry = wrapped.into_vec().remove(0).to_bytes();
    let mut slots = SlotCopy::new(1, &[entry]).tagged(secret, &core).bytes();
    slots.resize(slots_len, 0);
    let body = crate::raw::body(secret, &core, b"hello");
    inner.put(&a, PutPayload::from([core, slots, body].concat())).await.unwrap();

    let reader = EncryptedStore::builder(inner).provider(Arc::new(token.provider().only([mailbox]))).build().unwrap();
    reader.head(&a).await.unwrap();
    refused_as(reader.get(&a).await, ErrorKind::NotAuthentic);
}
