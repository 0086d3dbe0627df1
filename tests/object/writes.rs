//! Uploads in parts, copies and renames, and what the store inside sees of them.

use crate::bound::with;
use crate::fixture::{INNERS, builder, context, in_memory, key, provider, store, ways};
use crate::ranges::sample;
use crate::watched::{Request, Watched};
use futures_util::TryStreamExt;
use keyward::object::{Encryption, Mode, Sse};
use keyward::{AlgorithmChoice, KeyAdmin};
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, CopyOptions, MultipartUpload, ObjectStore, ObjectStoreExt, PutOptions, PutPayload,
};
use std::sync::Arc;

const MIB: usize = 1 << 20;

/// The lengths of the parts that the store inside got.
fn parts(watched: &Watched) -> Vec<usize> {
    let part = |request| if let Request::Part(len) = request { Some(len) } else { None };
    watched.requests().into_iter().filter_map(part).collect()
}

#[tokio::test]
async fn parts_inside_are_of_one_length_and_no_more_than_the_callers() {
    for lens in [
        vec![5 * MIB; 4],
        vec![6 * MIB, 6 * MIB, 100],
        vec![3_200_000; 7],
        vec![2, 3, 4 * MIB, 11 * MIB, 0, 1],
        vec![12 * MIB, 1],
        vec![0],
        vec![],
    ] {
        let watched = Arc::new(Watched::new(in_memory().store));
        let store = builder(watched.clone(), &provider()).default_sse(Sse::kms(key())).build().unwrap();
        let path = Path::from("a");
        let text = sample(lens.iter().sum());
        let mut upload = store.put_multipart(&path).await.unwrap();
        let (mut at, mut sending) = (0, Vec::new());
        for len in &lens {
            // A payload in pieces.
            let (one, two) = (text.slice(at..at + len / 3), text.slice(at + len / 3..at + len));
            sending.push(upload.put_part(PutPayload::from_iter([one, two])));
            at += len;
        }
        futures_util::future::try_join_all(sending.into_iter().rev()).await.unwrap();
        upload.complete().await.unwrap();
        let parts = parts(&watched);
        let (last, others) = parts.split_last().unwrap();
        assert!(others.iter().all(|len| *len == parts[0] && *len >= 5 * MIB), "{lens:?}: {parts:?}");
        assert!(*last <= parts[0] && *last > 0, "{lens:?}: {parts:?}");
        assert!(parts.len() <= lens.len().max(1) + 1, "{lens:?}: {parts:?}");
        assert_eq!(store.head(&path).await.unwrap().size, text.len() as u64);
        assert!(store.get(&path).await.unwrap().bytes().await.unwrap() == text, "{lens:?}");
    }
    // As many parts as S3 takes at most, all alike, become no more.
    let watched = Arc::new(Watched::new(in_memory().store));
    let store = builder(watched.clone(), &provider()).default_sse(Sse::kms(key())).build().unwrap();
    let mut upload = store.put_multipart(&Path::from("a")).await.unwrap();
    for _ in 0..12 {
        upload.put_part(vec![1; 5 * MIB].into()).await.unwrap();
    }
    upload.complete().await.unwrap();
    assert_eq!(parts(&watched).len(), 12);
}

#[tokio::test]
async fn an_upload_with_a_part_that_was_not_waited_for_does_not_complete() {
    let inner = in_memory().store;
    let store = store(&inner);
    let path = Path::from("a");
    let mut upload = store.put_multipart(&path).await.unwrap();
    drop(upload.put_part(vec![1; 5 * MIB].into()));
    let second = upload.put_part("end".into());
    second.await.unwrap();
    upload.complete().await.unwrap_err();
    assert!(inner.list(None).try_collect::<Vec<_>>().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_copy_keeps_how_its_source_is_encrypted_and_binds_the_new_path() {
    for make in INNERS {
        let inner = make();
        for (way, sse) in ways() {
            for len in [5, 9 * MIB + 5] {
                let builder = builder(inner.store.clone(), &provider()).default_sse(sse.clone());
                let store = builder.build().unwrap();
                let [a, b, c, d] = ["a", "b", "c", "d/e"].map(Path::from);
                store.put(&a, sample(len).into()).await.unwrap();
                let before = store.get(&a).await.unwrap().extensions.get::<Encryption>().unwrap().clone();
                store.copy(&a, &b).await.unwrap();
                store.copy_if_not_exists(&a, &c).await.unwrap();
                let error = store.copy_if_not_exists(&a, &c).await.unwrap_err();
                assert!(matches!(error, object_store::Error::AlreadyExists { .. }), "{way}: {error}");
                store.rename_if_not_exists(&b, &d).await.unwrap();
                store.copy(&a, &a).await.unwrap();
                store.rename(&a, &a).await.unwrap();
                for path in [&a, &c, &d] {
                    let answer = store.get(path).await.unwrap();
                    assert_eq!(answer.extensions.get::<Encryption>(), Some(&before), "{way}, {path}");
                    assert!(answer.bytes().await.unwrap() == sample(len), "{way}, {path}");
                }
                let mut all: Vec<_> = inner.store.list(None).map_ok(|meta| meta.location).try_collect().await.unwrap();
                all.sort();
                assert_eq!(all, [a.clone(), c.clone(), d.clone()], "nothing else is left inside");
                for path in [a, c, d] {
                    store.delete(&path).await.unwrap();
                }
            }
        }
    }
}

#[tokio::test]
async fn a_copy_under_another_key_is_under_that() {
    let provider = provider();
    provider.create_key(&"other".parse().unwrap(), AlgorithmChoice::Auto).unwrap();
    let store = builder(in_memory().store, &provider).default_sse(Sse::kms(key())).build().unwrap();
    let (a, b) = (Path::from("a"), Path::from("b"));
    let mut attributes = Attributes::new();
    attributes.insert(Attribute::ContentType, "text/plain".into());
    store.put_opts(&a, "hello".into(), attributes.into()).await.unwrap();
    let mut options = CopyOptions::default();
    options.extensions.insert(Sse::kms("other".parse().unwrap()).context(context()));
    store.copy_opts(&a, &b, options).await.unwrap();
    let (of_a, of_b) = (store.get(&a).await.unwrap(), store.get(&b).await.unwrap());
    let keks = |answer: &object_store::GetResult| answer.extensions.get::<Encryption>().unwrap().keks.clone();
    assert_ne!(keks(&of_a), keks(&of_b));
    assert_eq!(of_b.extensions.get::<Encryption>().unwrap().context, context());
    assert_eq!(of_b.attributes.get(&Attribute::ContentType), of_a.attributes.get(&Attribute::ContentType));
}

#[tokio::test]
async fn what_an_object_is_encrypted_with_is_shown_as_s3_does_and_not_stored() {
    let inner = in_memory().store;
    let store = builder(inner.clone(), &provider()).build().unwrap();
    let path = Path::from("a");
    for (sse, expected) in [
        (Sse::kms(key()), ["aws:kms", "<kek>", "", ""]),
        (Sse::kms(key()).bucket_key(true), ["aws:kms", "<kek>", "true", ""]),
        (Sse::s3(), ["AES256", "", "", ""]),
        (Sse::client(key()), ["", "", "", ""]),
    ] {
        let mut options = with(sse.clone());
        options.attributes.insert(Attribute::ContentType, "text/plain".into());
        store.put_opts(&path, "hello".into(), options).await.unwrap();
        for head in [false, true] {
            let options = object_store::GetOptions::new().with_head(head);
            let answer = store.get_opts(&path, options).await.unwrap();
            let kek = answer.extensions.get::<Encryption>().unwrap().keks[0].to_string();
            let names = [
                "x-amz-server-side-encryption",
                "x-amz-server-side-encryption-aws-kms-key-id",
                "x-amz-server-side-encryption-bucket-key-enabled",
                "x-amz-server-side-encryption-customer-algorithm",
            ];
            let shown = names.map(|name| {
                answer
                    .attributes
                    .get(&Attribute::Metadata(name.into()))
                    .map_or(String::new(), |value| value.to_string())
            });
            assert_eq!(shown, expected.map(|value| value.replace("<kek>", &kek)), "{sse:?}");
            assert_eq!(answer.attributes.get(&Attribute::ContentType).unwrap().as_ref(), "text/plain");
            // What a get gave can be put again.
            let again = PutOptions { attributes: answer.attributes, ..with(sse.clone()) };
            store.put_opts(&path, "hello".into(), again).await.unwrap();
            let inside = inner.get(&path).await.unwrap().attributes;
            assert_eq!(inside, Attributes::from_iter([(Attribute::ContentType, "text/plain")]));
        }
    }
    assert_eq!(Mode::ALL.map(|mode| mode.name().parse::<Mode>().unwrap()), Mode::ALL);
}
