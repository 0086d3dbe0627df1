//! The load, and what is kept of it.

use keyward::{DataKeyLength, EncryptionContext, ErrorKind, KeyName, KeyProvider, WrappedKeys};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const THREADS: u64 = 16;

/// What became of the operations.
#[derive(Default)]
pub(crate) struct Load {
    stop: AtomicBool,
    done: AtomicU64,
    unavailable: AtomicU64,
    /// Refused although there was more than one token that could have done it.
    lost: Mutex<Vec<String>>,
    slowest: Mutex<Duration>,
    /// What was reported done: each must open at the end.
    kept: Mutex<Vec<(u64, WrappedKeys, [u8; 32])>>,
    last_refusal: Mutex<String>,
    /// How long it took from each return of the token to the next operation that was done.
    returns: Mutex<Vec<Duration>>,
}

fn context(number: u64) -> EncryptionContext {
    EncryptionContext::from_pairs([("operation", number.to_string())]).unwrap()
}

impl Load {
    /// Puts the load on while `trouble` makes trouble, then asks that everything that was done is there.
    pub(crate) fn run(
        &self,
        provider: &impl KeyProvider,
        keys: &[KeyName],
        deadline: Duration,
        trouble: impl FnOnce(&Self),
    ) {
        thread::scope(|scope| {
            for thread in 0..THREADS {
                scope.spawn(move || self.work(thread, provider, keys));
            }
            // Also where it panics, or nobody would ever stop.
            let stop = StopOnDrop(&self.stop);
            trouble(self);
            drop(stop);
        });
        let (done, unavailable) = (self.done.load(Ordering::SeqCst), self.unavailable.load(Ordering::SeqCst));
        let kept = std::mem::take(&mut *self.kept.lock().unwrap());
        for (number, wrapped, data_key) in &kept {
            let opened = provider.unwrap_data_key(wrapped, &context(*number)).expect("what was reported done is there");
            assert_eq!(opened.expose_secret(), data_key, "another key came back");
        }
        let slowest = *self.slowest.lock().unwrap();
        let mut returns = std::mem::take(&mut *self.returns.lock().unwrap());
        returns.sort();
        let (median, longest) = (returns.get(returns.len() / 2), returns.last());
        println!(
            "soak: {done} operations done, {unavailable} refused as unavailable, {} opened again; the slowest took {slowest:?}; \
             {} returns, back after {median:?} (median), {longest:?} (longest)",
            kept.len(),
            returns.len(),
        );
        assert!(done > 100, "hardly anything was done");
        assert!(slowest < deadline, "an operation took {slowest:?}");
        // The next attempt is never more than half a second off. The median, because machines are noisy.
        assert!(median.is_none_or(|median| *median < Duration::from_secs(1)), "{returns:?}");
    }

    fn work(&self, thread: u64, provider: &impl KeyProvider, keys: &[KeyName]) {
        let mut number = thread;
        let mut own: Option<(u64, WrappedKeys, [u8; 32])> = None;
        while !self.stop.load(Ordering::SeqCst) {
            number += THREADS;
            let key = &keys[(number / THREADS) as usize % keys.len()];
            let began = Instant::now();
            let generated = provider.generate_data_key(key, &context(number), DataKeyLength::Bytes32);
            let Some((data_key, wrapped)) = self.judge(began, generated, true) else { continue };
            let secret: [u8; 32] = data_key.expose_secret().try_into().unwrap();
            // The last of each thread's, opened while the next one's trouble may be under way.
            if let Some((number, wrapped, secret)) = own.replace((number, wrapped.clone(), secret)) {
                let began = Instant::now();
                let opened = provider.unwrap_data_key(&wrapped, &context(number));
                // What was written while a token was down only the others can open.
                if let Some(opened) = self.judge(began, opened, wrapped.iter().count() > 1) {
                    assert_eq!(opened.expose_secret(), secret, "another key came back");
                }
            }
            // Some are kept to the end.
            if number.is_multiple_of(7) {
                self.kept.lock().unwrap().push((number, wrapped, secret));
            }
        }
    }

    fn judge<T>(&self, began: Instant, answer: keyward::Result<T>, others: bool) -> Option<T> {
        let took = began.elapsed();
        let mut slowest = self.slowest.lock().unwrap();
        *slowest = took.max(*slowest);
        drop(slowest);
        match answer {
            Ok(value) => {
                self.done.fetch_add(1, Ordering::SeqCst);
                Some(value)
            }
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::TokenUnavailable | ErrorKind::Timeout), "{error:?}");
                self.unavailable.fetch_add(1, Ordering::SeqCst);
                if others {
                    self.lost.lock().unwrap().push(error.to_string());
                }
                *self.last_refusal.lock().unwrap() = error.to_string();
                // Who is refused at once does not try a million times.
                thread::sleep(Duration::from_millis(1));
                None
            }
        }
    }

    /// Nobody was refused what another token could have done.
    pub(crate) fn nothing_was_lost(&self) {
        let lost = self.lost.lock().unwrap();
        assert!(lost.is_empty(), "{} lost: {:?}", lost.len(), &lost[..lost.len().min(5)]);
    }

    /// The token is back: waits until something is done again, by an operation that began after.
    pub(crate) fn is_back(&self) {
        let (began, before) = (Instant::now(), self.done.load(Ordering::SeqCst));
        while self.done.load(Ordering::SeqCst) == before {
            let refusal = self.last_refusal.lock().unwrap().clone();
            assert!(began.elapsed() < Duration::from_secs(10), "nothing is done although the token is back: {refusal}");
            thread::sleep(Duration::from_millis(1));
        }
        self.returns.lock().unwrap().push(began.elapsed());
    }
}

struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
