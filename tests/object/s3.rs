//! Around a real S3 server. Of the suite of `object_store`, these do not take any `ObjectStore` and are not run:
//! `multipart`, `multipart_with_opts` and `multipart_put_part_out_of_order` ask for a `MultipartStore`, and
//! `list_paginated` for a `PaginatedListStore`, which the encrypting store is not; `signing` and `tagging` are for
//! clients of clouds; `response_extensions` asks for the extensions of a client that was made for it.

use crate::fixture::{Inner, builder, context, customer_key, elsewhere, key, provider};
use crate::s3_server::S3Server;
use crate::suite;
use keyward::object::{Builder, EncryptedStore, OpenWith, Sse, keyward_error};
use keyward::{ErrorKind, KeyAdmin};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutOptions, PutPayload};
use std::sync::{Arc, LazyLock};

/// One for all tests: it takes its time to start.
static SERVER: LazyLock<S3Server> = LazyLock::new(S3Server::start);

fn client(bucket: &str) -> AmazonS3 {
    AmazonS3Builder::new()
        .with_endpoint(SERVER.url())
        .with_allow_http(true)
        .with_bucket_name(bucket)
        .with_region("us-east-1")
        .with_access_key_id("a")
        .with_secret_access_key("b")
        .build()
        .unwrap()
}

fn in_s3() -> Inner {
    elsewhere("S3", Arc::new(client(&SERVER.bucket())))
}

#[tokio::test]
async fn the_suite_of_object_store_passes_in_every_mode() {
    suite::around(&[in_s3], |builder| builder).await;
}

#[tokio::test]
async fn the_suite_of_object_store_passes_with_detached_slots_a_name_and_the_shortest_header() {
    suite::around(&[in_s3], |builder| builder.detached_slots().name("a bucket").header_len(1024)).await;
}

/// A store in a new bucket.
fn store(vary: impl Fn(Builder) -> Builder) -> (String, EncryptedStore) {
    let bucket = SERVER.bucket();
    let store = vary(builder(Arc::new(client(&bucket)), &provider()).default_sse(Sse::kms(key()).context(context())));
    (bucket, store.build().unwrap())
}

async fn refused(store: &EncryptedStore, path: &str) -> ErrorKind {
    let error = store.get(&Path::from(path)).await.unwrap_err();
    keyward_error(&error).unwrap_or_else(|| panic!("{error}")).kind()
}

const TEXT: &[u8] = b"nobody but us is to read this, and it is longer than what stands by chance in a header";

#[tokio::test]
async fn another_client_sees_nothing_but_ciphertext() {
    let (bucket, store) = store(|builder| builder);
    store.put(&Path::from("a/b"), PutPayload::from_static(TEXT)).await.unwrap();
    let seen = SERVER.boto(
        "answer = s3.get_object(Bucket=sys.argv[1], Key='a/b')
body = answer['Body'].read()
print(len(body), body[:8].hex(), sys.argv[2].encode() in body, answer['Metadata'], answer.get('ServerSideEncryption'))
print(*(one['Key'] + ' ' + str(one['Size']) for one in s3.list_objects_v2(Bucket=sys.argv[1])['Contents']))",
        &[&bucket, std::str::from_utf8(TEXT).unwrap()],
    );
    // The magic number of an envelope, and as many bytes as docs/format.md has for one chunk.
    let len: usize = seen.split(' ').next().unwrap().parse().unwrap();
    assert!(len > 4096 + TEXT.len() && len < 4096 + TEXT.len() + 128, "{seen}");
    assert_eq!(seen, format!("{len} 894b57450d0a1a0a False {{}} None\na/b {len}\n"));
    assert_eq!(store.head(&Path::from("a/b")).await.unwrap().size, TEXT.len() as u64);
}

#[tokio::test]
async fn what_another_client_copies_opens_only_where_it_was_written() {
    let (bucket, bound) = store(|builder| builder);
    let (other, elsewhere) = (SERVER.bucket(), bound.clone());
    bound.put(&Path::from("a"), PutPayload::from_static(TEXT)).await.unwrap();
    let copy =
        "s3.copy_object(Bucket=sys.argv[3], Key=sys.argv[4], CopySource={'Bucket': sys.argv[1], 'Key': sys.argv[2]})";
    SERVER.boto(copy, &[&bucket, "a", &bucket, "b"]);
    assert_eq!(refused(&elsewhere, "b").await, ErrorKind::NotAuthentic);
    // Back under its own name, it is the object again.
    bound.delete(&Path::from("a")).await.unwrap();
    SERVER.boto(copy, &[&bucket, "b", &bucket, "a"]);
    assert_eq!(bound.get(&Path::from("a")).await.unwrap().bytes().await.unwrap(), TEXT);

    // A bucket is bound only where the store has a name: without one, a backup opens from wherever it is.
    let shared = provider();
    let of = |bucket: &str, name: Option<&str>| {
        let store = builder(Arc::new(client(bucket)), &shared).default_sse(Sse::kms(key()));
        name.map_or_else(
            || store.build(),
            |name| builder(Arc::new(client(bucket)), &shared).default_sse(Sse::kms(key())).name(name).build(),
        )
        .unwrap()
    };
    of(&bucket, None).put(&Path::from("c"), PutPayload::from_static(TEXT)).await.unwrap();
    of(&bucket, Some("one")).put(&Path::from("d"), PutPayload::from_static(TEXT)).await.unwrap();
    for name in ["c", "d"] {
        SERVER.boto(copy, &[&bucket, name, &other, name]);
    }
    assert_eq!(of(&other, None).get(&Path::from("c")).await.unwrap().bytes().await.unwrap(), TEXT);
    assert_eq!(refused(&of(&other, Some("two")), "d").await, ErrorKind::NotAuthentic);
    assert_eq!(of(&other, Some("one")).get(&Path::from("d")).await.unwrap().bytes().await.unwrap(), TEXT);
}

#[tokio::test]
async fn copies_that_the_store_makes_open_and_are_encrypted_anew() {
    let (bucket, store) = store(|builder| builder);
    store.put(&Path::from("a"), PutPayload::from_static(TEXT)).await.unwrap();
    store.copy(&Path::from("a"), &Path::from("b")).await.unwrap();
    store.rename(&Path::from("a"), &Path::from("c")).await.unwrap();
    for path in ["b", "c"] {
        assert_eq!(store.get(&Path::from(path)).await.unwrap().bytes().await.unwrap(), TEXT);
    }
    let same = SERVER.boto(
        "b, c = (s3.get_object(Bucket=sys.argv[1], Key=key)['Body'].read() for key in 'bc')
print(len(b) == len(c), b[4096:] == c[4096:])",
        &[&bucket],
    );
    assert_eq!(same, "True False\n");
}

#[tokio::test]
async fn objects_that_were_swapped_or_changed_are_refused() {
    for detached in [false, true] {
        let (bucket, store) = store(|builder| if detached { builder.detached_slots() } else { builder });
        let long: Vec<u8> = TEXT.repeat(5000);
        for path in ["a", "b"] {
            store.put(&Path::from(path), long.clone().into()).await.unwrap();
        }
        SERVER.boto(
            "a, b = (s3.get_object(Bucket=sys.argv[1], Key=key)['Body'].read() for key in 'ab')
s3.put_object(Bucket=sys.argv[1], Key='a', Body=b)
s3.put_object(Bucket=sys.argv[1], Key='b', Body=a)
s3.put_object(Bucket=sys.argv[1], Key='mixed', Body=a[:len(a) // 2] + b[len(b) // 2:])",
            &[&bucket],
        );
        for path in ["a", "b", "mixed"] {
            assert_eq!(refused(&store, path).await, ErrorKind::NotAuthentic, "{path}, detached: {detached}");
        }
        SERVER.boto("s3.put_object(Bucket=sys.argv[1], Key='short', Body=b'no envelope')", &[&bucket]);
        assert_eq!(refused(&store, "short").await, ErrorKind::NotAnEnvelope);
        // A whole envelope with its end cut off at a chunk, and one with a byte changed.
        store.put(&Path::from("c"), long.clone().into()).await.unwrap();
        let changed = SERVER.boto(
            "c = s3.get_object(Bucket=sys.argv[1], Key='c')['Body'].read()
s3.put_object(Bucket=sys.argv[1], Key='c', Body=c[:200000] + bytes([c[200000] ^ 1]) + c[200001:])
print(len(c))",
            &[&bucket],
        );
        assert!(changed.trim().parse::<usize>().unwrap() > long.len());
        let answer = match store.get(&Path::from("c")).await {
            Ok(answer) => answer.bytes().await.map(drop),
            Err(error) => Err(error),
        };
        assert_eq!(keyward_error(&answer.unwrap_err()).unwrap().kind(), ErrorKind::NotAuthentic);
    }
}

#[tokio::test]
async fn rotation_over_s3_writes_wrapped_keys_alone() {
    use futures_util::TryStreamExt;
    let keys = provider();
    let bucket = SERVER.bucket();
    let store =
        builder(Arc::new(client(&bucket)), &keys).default_sse(Sse::kms(key())).detached_slots().build().unwrap();
    store.put(&Path::from("a"), PutPayload::from_static(TEXT)).await.unwrap();
    let etag = "print(s3.head_object(Bucket=sys.argv[1], Key='a')['ETag'])";
    let before = SERVER.boto(etag, &[&bucket]);
    let newest = keys.rotate_key(&key(), None).unwrap();
    let done: Vec<_> = store.rewrap(None, None).try_collect().await.unwrap();
    assert_eq!((done.len(), &done[0].keks[..]), (1, &[newest.kek_id][..]));
    assert_eq!(SERVER.boto(etag, &[&bucket]), before);
    assert_eq!(store.get(&Path::from("a")).await.unwrap().bytes().await.unwrap(), TEXT);
}

#[tokio::test]
async fn the_key_of_a_customer_is_nowhere_in_the_bucket() {
    let (bucket, store) = store(|builder| builder);
    let mut options = PutOptions::default();
    options.extensions.insert(Sse::customer(customer_key(0x5a)));
    store.put_opts(&Path::from("a"), PutPayload::from_static(TEXT), options).await.unwrap();
    let found = SERVER.boto(
        "import base64, hashlib
key = b'\\x5a' * 32
forms = [key, key.hex().encode(), base64.b64encode(key), hashlib.md5(key).digest(), base64.b64encode(hashlib.md5(key).digest())]
answer = s3.get_object(Bucket=sys.argv[1], Key='a')
told = answer['Body'].read() + repr(answer['ResponseMetadata']).encode()
print(any(form in told for form in forms), len(s3.list_objects_v2(Bucket=sys.argv[1])['Contents']))",
        &[&bucket],
    );
    assert_eq!(found, "False 1\n");
    let open = |byte| {
        let mut options = GetOptions { range: Some(GetRange::Bounded(3..9)), ..GetOptions::default() };
        options.extensions.insert(OpenWith::customer_key(customer_key(byte)));
        let store = store.clone();
        async move { store.get_opts(&Path::from("a"), options).await }
    };
    let open = (open(0x5a), open(0x5b));
    assert_eq!(open.0.await.unwrap().bytes().await.unwrap(), TEXT[3..9]);
    assert_eq!(keyward_error(&open.1.await.unwrap_err()).unwrap().kind(), ErrorKind::NotAuthentic);
}
