//! Many files in one run: what becomes of each, what is told, and that a second run does nothing twice.

mod cached;
mod failing_disk;
mod killed;
mod leftovers;
mod needs;
mod refusals;
mod small_disk;
mod token;
mod told;
mod trees;

use crate::bench::{Bench, sample};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// A bench with a key `k`.
fn bench() -> Bench {
    let bench = Bench::new();
    bench.ok("key create k");
    bench
}

/// Makes directories and files of several sizes, some with names that nobody would choose, and gives the files.
fn plant(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for directory in ["a/deep/deeper", "b", "empty", ".hidden"] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    let odd = OsString::from_vec(b"not\xffutf-8".to_vec());
    let names = ["a/one", "a/deep/two words", "a/deep/deeper/line\nbreak", ".hidden/.file", "b/-r", "b/\u{1f511}"];
    let all = names.iter().map(PathBuf::from).chain([Path::new("b").join(odd)]);
    for (at, name) in all.enumerate() {
        let content = sample(at * 5000);
        fs::write(root.join(&name), &content).unwrap();
        files.insert(name, content);
    }
    let large = sample(3 << 20);
    fs::write(root.join("b/large"), &large).unwrap();
    files.insert("b/large".into(), large);
    files
}

/// All files below a directory, with their content; links and whatever else is there have none.
fn tree(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut files, mut waiting) = (BTreeMap::new(), vec![root.to_owned()]);
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let entry = entry.unwrap();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                waiting.push(entry.path());
            } else {
                let content = if kind.is_file() { fs::read(entry.path()).unwrap() } else { Vec::new() };
                files.insert(entry.path().strip_prefix(root).unwrap().to_owned(), content);
            }
        }
    }
    files
}

/// The name with `.kw` after it.
fn sealed(name: &Path) -> PathBuf {
    let mut name = name.as_os_str().to_owned();
    name.push(".kw");
    name.into()
}
