//! A keeper that is no token.

use keyward::audit::HeadKey;
use keyward::key::{AnchorOrder, HeadKeeper, HeadSignature, KeeperRecords};
use keyward::{Error, ErrorKind, Result};
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

/// Where a keeper may be stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Point {
    BeforeSigning,
    AfterSigning,
    BeforeAnchor,
    BetweenAnchors,
    AfterAnchor,
}

type Hook = Box<dyn Fn(Point) + Send + Sync>;
/// Anchors by name.
type Anchors = Vec<(String, String)>;

/// Signs in memory, with a key that anyone can read here, and keeps anchors in memory or in a file.
pub(crate) struct FakeKeeper {
    keys: Mutex<Vec<SigningKey>>,
    /// The keys of other keepers.
    peers: Mutex<Vec<[u8; 65]>>,
    anchors: Mutex<Anchors>,
    file: Option<PathBuf>,
    hook: Option<Hook>,
    /// As when the token is away.
    pub(crate) is_away: AtomicBool,
    /// As when the token is away, for signatures alone.
    pub(crate) fails: AtomicBool,
    /// The same for anchors.
    pub(crate) is_full: AtomicBool,
    pub(crate) signed: AtomicU64,
    pub(crate) written: AtomicU64,
    /// A test that holds it keeps the keeper from signing.
    hangs: Mutex<()>,
}

fn point(key: &SigningKey) -> [u8; 65] {
    key.verifying_key().to_sec1_point(false).as_bytes().try_into().unwrap()
}

fn away() -> Error {
    Error::new(ErrorKind::TokenUnavailable, "the fake token is away")
}

impl FakeKeeper {
    pub(crate) fn new(seed: u8) -> Self {
        Self {
            keys: Mutex::new(vec![SigningKey::from_slice(&[seed; 32]).unwrap()]),
            peers: Mutex::default(),
            anchors: Mutex::default(),
            file: None,
            hook: None,
            is_away: AtomicBool::new(false),
            fails: AtomicBool::new(false),
            is_full: AtomicBool::new(false),
            signed: AtomicU64::new(0),
            written: AtomicU64::new(0),
            hangs: Mutex::new(()),
        }
    }

    /// The same for several processes: the anchors are in this file.
    pub(crate) fn in_file(seed: u8, file: PathBuf) -> Self {
        Self { file: Some(file), ..Self::new(seed) }
    }

    pub(crate) fn hooked(mut self, hook: impl Fn(Point) + Send + Sync + 'static) -> Self {
        self.hook = Some(Box::new(hook));
        self
    }

    /// Replaces the key, as `keyward audit init --rotate` does.
    pub(crate) fn rotate(&self, seed: u8) {
        self.keys.lock().unwrap().insert(0, SigningKey::from_slice(&[seed; 32]).unwrap());
    }

    pub(crate) fn trust(&self, other: &Self) {
        self.peers.lock().unwrap().extend(other.keys.lock().unwrap().iter().map(point));
    }

    pub(crate) fn public_key(&self) -> HeadKey {
        HeadKey::from_point(point(&self.keys.lock().unwrap()[0])).unwrap()
    }

    pub(crate) fn hang(&self) -> MutexGuard<'_, ()> {
        self.hangs.lock().unwrap()
    }

    pub(crate) fn set_away(&self, away: bool) {
        self.is_away.store(away, Ordering::SeqCst);
    }

    /// The texts of all anchors.
    pub(crate) fn texts(&self) -> Vec<String> {
        self.with_anchors(|anchors| anchors.iter().map(|(_, text)| text.clone()).collect())
    }

    pub(crate) fn clear(&self) {
        self.with_anchors(Vec::clear);
    }

    pub(crate) fn plant(&self, name: &str, text: &str) {
        self.with_anchors(|anchors| anchors.push((name.to_owned(), text.to_owned())));
    }

    fn reach(&self, point: Point) {
        if let Some(hook) = &self.hook {
            hook(point);
        }
    }

    fn with_anchors<T>(&self, work: impl FnOnce(&mut Anchors) -> T) -> T {
        use rustix::fs::{FlockOperation, flock};
        let mut anchors = self.anchors.lock().unwrap();
        let Some(path) = &self.file else { return work(&mut anchors) };
        let lock = std::fs::File::options().create(true).append(true).open(path.with_extension("lock")).unwrap();
        flock(&lock, FlockOperation::LockExclusive).unwrap();
        *anchors = std::fs::read(path).map_or_else(|_| Vec::new(), |bytes| serde_json::from_slice(&bytes).unwrap());
        let before = anchors.clone();
        let answer = work(&mut anchors);
        if *anchors != before {
            // Whole or not at all, as a token writes.
            let next = path.with_extension("next");
            std::fs::write(&next, serde_json::to_vec(&*anchors).unwrap()).unwrap();
            std::fs::rename(next, path).unwrap();
        }
        answer
    }
}

/// The anchors of a keeper alone: signatures take their time.
pub(crate) struct WithoutKeys<'a>(pub(crate) &'a FakeKeeper);

impl HeadKeeper for WithoutKeys<'_> {
    fn read(&self, name: Option<&str>) -> Result<KeeperRecords> {
        Ok(KeeperRecords { points: Vec::new(), anchors: self.0.read(name)?.anchors })
    }

    fn sign(&self, _: &[u8]) -> Result<HeadSignature> {
        Err(away())
    }

    fn set_anchor(&self, _: &str, _: &str, _: &dyn Fn(&str) -> Result<AnchorOrder>) -> Result<()> {
        Err(away())
    }
}

impl HeadKeeper for FakeKeeper {
    fn read(&self, name: Option<&str>) -> Result<KeeperRecords> {
        if self.is_away.load(Ordering::SeqCst) {
            return Err(away());
        }
        let mut points: Vec<_> = self.keys.lock().unwrap().iter().map(point).collect();
        points.extend(self.peers.lock().unwrap().iter());
        let is_wanted = |own: &str| name.is_none_or(|name| name == own);
        let anchors = self.with_anchors(|anchors| {
            anchors.iter().filter(|(own, _)| is_wanted(own)).map(|(_, text)| text.clone()).collect()
        });
        Ok(KeeperRecords { points, anchors })
    }

    fn sign(&self, message: &[u8]) -> Result<HeadSignature> {
        drop(self.hangs.lock().unwrap());
        if self.is_away.load(Ordering::SeqCst) || self.fails.load(Ordering::SeqCst) {
            return Err(away());
        }
        self.reach(Point::BeforeSigning);
        self.signed.fetch_add(1, Ordering::SeqCst);
        let keys = self.keys.lock().unwrap();
        let signature: Signature = keys[0].sign(message);
        self.reach(Point::AfterSigning);
        Ok(HeadSignature { point: point(&keys[0]), signature: signature.to_bytes().into() })
    }

    fn set_anchor(&self, name: &str, text: &str, order: &dyn Fn(&str) -> Result<AnchorOrder>) -> Result<()> {
        if self.is_away.load(Ordering::SeqCst) || self.is_full.load(Ordering::SeqCst) {
            return Err(away());
        }
        self.reach(Point::BeforeAnchor);
        let compared = || -> Result<Vec<(String, AnchorOrder)>> {
            let own = |(own, text): &(String, String)| (own == name).then(|| text.clone());
            let texts: Vec<String> = self.with_anchors(|anchors| anchors.iter().filter_map(own).collect());
            texts.into_iter().map(|text| order(&text).map(|order| (text, order))).collect()
        };
        if !compared()?.iter().any(|(_, order)| matches!(order, AnchorOrder::Same | AnchorOrder::Higher)) {
            self.written.fetch_add(1, Ordering::SeqCst);
            self.plant(name, text);
        }
        self.reach(Point::BetweenAnchors);
        let after = compared()?;
        let is_overtaken = after.iter().any(|(_, order)| *order == AnchorOrder::Higher);
        for (text, order) in after {
            if order == AnchorOrder::Lower || order == AnchorOrder::Same && is_overtaken {
                self.with_anchors(|anchors| anchors.retain(|(own, there)| own != name || *there != text));
            }
        }
        self.reach(Point::AfterAnchor);
        Ok(())
    }
}
