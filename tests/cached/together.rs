//! Many threads at once.

use super::*;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

const THREADS: usize = 100;

/// What each of a hundred threads does at once, while the provider does not answer before all of them have begun.
fn at_once<T: Send>(spy: &Spy, work: impl Fn() -> T + Sync) -> Vec<T> {
    let begun = Arc::new(AtomicUsize::new(0));
    let waits = Arc::clone(&begun);
    spy.before_answering(move |_| {
        let deadline = Instant::now() + Duration::from_secs(20);
        while waits.load(Ordering::SeqCst) < THREADS {
            assert!(Instant::now() < deadline, "not all have begun");
            thread::yield_now();
        }
        Ok(())
    });
    let together = Barrier::new(THREADS);
    let done = thread::scope(|scope| {
        let all: Vec<_> = (0..THREADS)
            .map(|_| {
                scope.spawn(|| {
                    together.wait();
                    begun.fetch_add(1, Ordering::SeqCst);
                    work()
                })
            })
            .collect();
        all.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    spy.answer_at_once();
    done
}

#[test]
fn a_hundred_threads_that_recover_a_data_key_make_one_call() {
    let (spy, cached, _) = cached(MESSAGES, KEYS);
    let (data_key, wrapped) = spy.keys.generate_data_key(&key(), &context("a"), DataKeyLength::Bytes32).unwrap();
    for opened in at_once(&spy, || cached.unwrap_data_key(&wrapped, &context("a")).unwrap()) {
        assert_eq!(opened.expose_secret(), data_key.expose_secret());
    }
    assert_eq!(spy.asked(), ["unwrap"]);
    assert_eq!((cached.stats().unwrap_hits, cached.stats().unwrap_misses), (THREADS as u64 - 1, 1));
}

#[test]
fn a_hundred_threads_with_a_message_each_make_one_call() {
    let (spy, cached, _) = cached(MESSAGES, KEYS);
    let all = at_once(&spy, || message(&cached, &context("a")).unwrap());
    assert!(
        all.iter().all(|(data_key, wrapped)| {
            *wrapped == all[0].1 && data_key.expose_secret() == all[0].0.expose_secret()
        })
    );
    assert_eq!(spy.asked(), ["generate"]);
    assert_eq!(cached.stats().kept, 0, "a hundred messages are all that one may encrypt");
}

#[test]
fn a_data_key_for_few_messages_is_not_given_to_more_by_many_threads() {
    let (spy, cached, _) = cached(7, KEYS);
    let all = at_once(&spy, || message(&cached, &context("a")).unwrap().1);
    let mut counts = std::collections::HashMap::new();
    for wrapped in &all {
        *counts.entry(wrapped).or_insert(0) += 1;
    }
    assert!(counts.values().all(|count| *count <= 7), "{counts:?}");
    assert_eq!(spy.asked().len(), THREADS.div_ceil(7));
}

#[test]
fn different_data_keys_do_not_wait_for_one_another() {
    let (spy, cached, _) = cached(MESSAGES, KEYS);
    let both = Arc::new(Barrier::new(2));
    let waits = Arc::clone(&both);
    // Neither is answered before both are asked for.
    spy.before_answering(move |_| {
        waits.wait();
        Ok(())
    });
    thread::scope(|scope| {
        let one = scope.spawn(|| message(&cached, &context("a")).unwrap());
        let other = scope.spawn(|| message(&cached, &context("b")).unwrap());
        assert_ne!(one.join().unwrap().1, other.join().unwrap().1);
    });
}

#[test]
fn threads_that_change_keys_and_use_them_never_get_a_wrong_one() {
    let (spy, cached, _) = cached(5, 3);
    thread::scope(|scope| {
        for n in 0..8 {
            let (spy, cached) = (&spy, &cached);
            scope.spawn(move || {
                for round in 0..100 {
                    let table = context(["a", "b", "c", "d", "e"][(n + round) % 5]);
                    if n == 0 && round % 10 == 0 {
                        cached.rotate_key(&key(), None).unwrap();
                    }
                    let (data_key, wrapped) = message(cached, &table).unwrap();
                    for provider in [&spy.keys as &dyn KeyProvider, cached, cached] {
                        let opened = provider.unwrap_data_key(&wrapped, &table).unwrap();
                        assert_eq!(opened.expose_secret(), data_key.expose_secret());
                    }
                }
            });
        }
    });
    assert!(cached.stats().kept <= 6);
}
