//! A disk without room: nothing is lost and nothing is left behind.

use crate::fixture::{TEXT, assert_kind, context, keyring, listing, name, sealed};
use crate::place::{both_keys, new_key, old_key, read_file, rewrap};
use crate::small_disk::SmallDisk;
use keyward::durable::Replace;
use keyward::{Decryptor, Encryptor, ErrorKind};
use std::fs;
use std::path::Path;

fn refuses<T: std::fmt::Debug>(disk: &SmallDisk, case: &str, act: impl FnOnce() -> keyward::Result<T>) {
    let before = listing(&disk.path(""));
    assert_kind(act(), ErrorKind::Io, case);
    assert!(listing(&disk.path("")) == before, "{case}: something has changed");
}

#[test]
fn a_full_disk_harms_nothing_and_leaves_nothing() {
    let Some(disk) = SmallDisk::mount(256) else { return };
    let elsewhere = tempfile::tempdir().unwrap();
    let (plain, large) = (elsewhere.path().join("plain"), elsewhere.path().join("large"));
    fs::write(&plain, vec![3; 4_000_000]).unwrap();
    fs::write(&large, sealed(&vec![3; 4_000_000])).unwrap();
    let (provider, out) = (keyring(), disk.path("out"));
    let encryptor = Encryptor::new(&provider, &name("main")).context(context());
    let decryptor = Decryptor::new(&provider).context(context());
    for old in [None, Some(b"what stood here before")] {
        if let Some(old) = old {
            fs::write(&out, old).unwrap();
        }
        refuses(&disk, "encrypt", || encryptor.encrypt_file(&plain, &out, Replace::Yes));
        refuses(&disk, "decrypt", || decryptor.decrypt_file(&large, &out, Replace::Yes));
    }
    // A rewrap in place needs no room, a copy does.
    let file = disk.path("sealed");
    let old = old_key();
    let small = Encryptor::new(&old, &name("main")).context(context()).encrypt(TEXT).unwrap();
    fs::write(&file, small).unwrap();
    disk.fill();
    refuses(&disk, "copy", || rewrap(&both_keys()).copy(true).file(&file));
    rewrap(&both_keys()).file(&file).unwrap();
    assert_eq!(read_file(&file, &new_key()).unwrap(), TEXT);
}

#[test]
fn a_device_without_room_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let (plain, file) = (directory.path().join("plain"), directory.path().join("sealed"));
    fs::write(&plain, TEXT).unwrap();
    fs::write(&file, sealed(TEXT)).unwrap();
    let (provider, full) = (keyring(), Path::new("/dev/full"));
    let encryptor = Encryptor::new(&provider, &name("main"));
    assert_kind(encryptor.encrypt_file(&plain, full, Replace::Yes), ErrorKind::Io, "encrypt");
    let decryptor = Decryptor::new(&provider).context(context());
    assert_kind(decryptor.decrypt_file(&file, full, Replace::Yes), ErrorKind::Io, "decrypt");
}
