//! The public suite of `object_store`, in every mode, around every store inside.

use crate::fixture::{INNERS, Inner, builder, provider, ways};
use keyward::object::{Builder, EncryptedStore};
use object_store::integration;
use object_store::path::Path;

/// Runs all of the suite that takes any `ObjectStore`. The store must be empty.
pub(crate) async fn run(store: &EncryptedStore, updates: bool) {
    integration::put_get_delete_list(store).await;
    integration::list_with_offset_exclusivity(store).await;
    integration::get_opts(store).await;
    clear(store).await;
    integration::list_uses_directories_correctly(store).await;
    integration::list_with_delimiter(store).await;
    integration::rename_and_copy(store).await;
    integration::copy_if_not_exists(store).await;
    integration::copy_rename_nonexistent_object(store).await;
    clear(store).await;
    integration::stream_get(store).await;
    integration::put_opts(store, updates).await;
    integration::multipart_out_of_order(store).await;
    integration::multipart_race_condition(store, true).await;
    let error = integration::get_nonexistent_object(store, None).await.unwrap_err();
    assert!(matches!(error, object_store::Error::NotFound { .. }), "{error}");
    let missing = Some(Path::from("not/there"));
    let error = integration::get_nonexistent_object(store, missing).await.unwrap_err();
    assert!(matches!(error, object_store::Error::NotFound { .. }), "{error}");
    clear(store).await;
}

async fn clear(store: &EncryptedStore) {
    use futures_util::{StreamExt, TryStreamExt};
    use object_store::ObjectStore;
    let all = store.list(None).map_ok(|meta| meta.location).boxed();
    store.delete_stream(all).try_collect::<Vec<_>>().await.unwrap();
}

async fn in_every_mode(vary: impl Fn(Builder) -> Builder) {
    around(&INNERS, vary).await;
}

/// Around these stores inside.
pub(crate) async fn around(inners: &[fn() -> Inner], vary: impl Fn(Builder) -> Builder) {
    for make in inners {
        for (way, sse) in ways() {
            let Inner { name, store: inner, updates, .. } = &make();
            println!("{way}, {name}");
            let store = vary(builder(inner.clone(), &provider()).default_sse(sse.clone())).build().unwrap();
            run(&store, *updates).await;
            // It compares all attributes with those that were put, so those are left out that follow from the header.
            let plain = vary(builder(inner.clone(), &provider()).default_sse(sse)).encryption_attributes(false);
            integration::put_get_attributes(&plain.build().unwrap()).await;
        }
    }
}

#[tokio::test]
async fn the_suite_of_object_store_passes_in_every_mode() {
    in_every_mode(|builder| builder).await;
}

#[tokio::test]
async fn the_suite_of_object_store_passes_with_detached_slots() {
    in_every_mode(Builder::detached_slots).await;
}

#[tokio::test]
async fn the_suite_of_object_store_passes_without_binding() {
    in_every_mode(Builder::danger_unbound).await;
}

#[tokio::test]
async fn the_suite_of_object_store_passes_with_a_name_and_the_shortest_header() {
    in_every_mode(|builder| builder.name("a bucket").header_len(1024)).await;
}
