//! How long, how many, how much.

use super::*;

#[test]
fn a_data_key_encrypts_exactly_so_many_messages() {
    let (spy, cached, _) = cached(3, KEYS);
    let all: Vec<_> = (0..7).map(|_| message(&cached, &context("a")).unwrap()).collect();
    assert_eq!(spy.asked(), ["generate"; 3]);
    for (n, (data_key, wrapped)) in all.iter().enumerate() {
        let (first_key, first) = &all[n / 3 * 3];
        assert_eq!((wrapped, data_key.expose_secret()), (first, first_key.expose_secret()), "{n}");
        let opened = spy.keys.unwrap_data_key(wrapped, &context("a")).unwrap();
        assert_eq!(opened.expose_secret(), data_key.expose_secret());
    }
    assert!(all[0].1 != all[3].1 && all[3].1 != all[6].1);
    assert_eq!((cached.stats().generate_hits, cached.stats().generate_misses, cached.stats().kept), (4, 3, 1));
}

#[test]
fn with_one_message_for_each_nothing_is_kept() {
    let (spy, cached, _) = cached(1, KEYS);
    let (one, other) = (message(&cached, &context("a")).unwrap(), message(&cached, &context("a")).unwrap());
    assert_ne!(one.1, other.1);
    assert_eq!(spy.asked(), ["generate"; 2]);
    assert_eq!((cached.stats().generate_misses, cached.stats().kept), (2, 0));
}

#[test]
fn a_data_key_encrypts_exactly_so_many_bytes() {
    let (spy, cached, _) = cached(MESSAGES, KEYS);
    let of = |len| cached.data_key_for_message(&key(), &context("a"), DataKeyLength::Bytes32, len).unwrap().1;
    let half = CacheLimits::MAX_BYTES / 2;
    let first = of(half);
    assert!(of(half - 1) == first && of(1) == first && of(0) == first);
    spy.asked();
    let second = of(1);
    assert_ne!(first, second);
    // One that is too long for any has a key that nobody else gets, and does not disturb.
    let own = of(CacheLimits::MAX_BYTES + 1);
    assert!(own != second && of(1) == second && of(CacheLimits::MAX_BYTES - 2) == second);
    assert_eq!(spy.asked(), ["generate"; 2]);
    let whole = of(CacheLimits::MAX_BYTES);
    assert!(whole != second && of(0) == whole && of(1) != whole);
}

#[test]
fn what_is_asked_for_fresh_is_fresh() {
    let (spy, cached, _) = cached(MESSAGES, KEYS);
    let (_, shared) = message(&cached, &context("a")).unwrap();
    let (one, other) = (wrapped(&cached, &context("a")), wrapped(&cached, &context("a")));
    assert!(one != shared && other != shared && one != other);
    assert_eq!(message(&cached, &context("a")).unwrap().1, shared, "and none of them is kept");
    assert_eq!(spy.asked(), ["generate"; 3]);
}

#[test]
fn a_data_key_is_used_for_so_long_whatever_the_use() {
    let (spy, cached, clock) = cached(MESSAGES, KEYS);
    let (_, shared) = message(&cached, &context("a")).unwrap();
    cached.unwrap_data_key(&shared, &context("a")).unwrap();
    spy.asked();
    clock.pass(AGE - Duration::from_nanos(1));
    message(&cached, &context("a")).unwrap();
    cached.unwrap_data_key(&shared, &context("a")).unwrap();
    assert!(spy.asked().is_empty());
    clock.pass(Duration::from_nanos(1));
    assert_ne!(message(&cached, &context("a")).unwrap().1, shared);
    cached.unwrap_data_key(&shared, &context("a")).unwrap();
    assert_eq!(spy.asked(), ["generate", "unwrap"]);
}

#[test]
fn whatever_is_asked_puts_out_what_is_too_old() {
    type Ask = fn(&Cached<Arc<Spy>>, &WrappedKeys);
    let asks: [Ask; 6] = [
        |cached, _| drop(cached.describe_key(keyward::KeyRef::Name(&name("other"))).unwrap_err()),
        |cached, _| drop(wrapped(cached, &context("a"))),
        |cached, _| drop(cached.wrap_data_key(&key(), &context("a"), &DataKey::from_slice(&[7; 32]).unwrap()).unwrap()),
        |cached, wrapped| {
            drop(cached.rewrap_data_key(wrapped, &context("a"), &key(), keyward::Origin::Unverified).unwrap())
        },
        |cached, wrapped| drop(cached.unwrap_data_key(wrapped, &context("b")).unwrap_err()),
        |cached, _| drop(message(cached, &context("b")).unwrap()),
    ];
    for (n, ask) in asks.into_iter().enumerate() {
        let (_, cached, clock) = cached(MESSAGES, KEYS);
        let (_, shared) = message(&cached, &context("a")).unwrap();
        cached.unwrap_data_key(&shared, &context("a")).unwrap();
        assert_eq!(cached.stats().kept, 2);
        clock.pass(AGE);
        ask(&cached, &shared);
        assert_eq!(cached.stats().evicted, 2, "{n}");
    }
}

#[test]
fn the_one_that_was_not_used_for_longest_makes_room() {
    let (spy, cached, _) = cached(MESSAGES, 2);
    let tables = ["a", "b", "c"].map(context);
    let all = tables.each_ref().map(|table| wrapped(&spy.keys, table));
    let open = |n: usize| drop(cached.unwrap_data_key(&all[n], &tables[n]).unwrap());
    for n in [0, 1, 0, 2] {
        open(n);
    }
    spy.asked();
    open(0);
    open(2);
    assert!(spy.asked().is_empty());
    open(1);
    assert_eq!(spy.asked(), ["unwrap"], "it had made room");
    assert_eq!((cached.stats().kept, cached.stats().evicted), (2, 2));

    let shared = tables.each_ref().map(|table| message(&cached, table).unwrap().1);
    assert_eq!((cached.stats().kept, cached.stats().evicted), (4, 3), "each sort has room of its own");
    spy.asked();
    assert_eq!(message(&cached, &tables[1]).unwrap().1, shared[1]);
    assert!(spy.asked().is_empty());
    assert_ne!(message(&cached, &tables[0]).unwrap().1, shared[0]);
}

#[test]
fn limits_are_those_of_the_format_and_nothing_is_adjusted() {
    let limits = |seconds, messages, keys| CacheLimits::new(Duration::from_secs(seconds), messages, keys);
    let (messages, keys) = (CacheLimits::MAX_MESSAGES, CacheLimits::MAX_KEYS);
    assert_eq!(messages, 1 << 15);
    assert_eq!(CacheLimits::MAX_BYTES, 32 << 40);
    let most = limits(86400, messages, keys).unwrap();
    assert_eq!((most.max_age(), most.max_messages(), most.max_keys()), (CacheLimits::MAX_AGE, messages, keys));
    limits(1, 1, 1).unwrap();
    for refused in [(0, 1, 1), (1, 0, 1), (1, 1, 0), (86401, 1, 1), (1, messages + 1, 1), (1, 1, keys + 1)] {
        assert_kind(limits(refused.0, refused.1, refused.2), ErrorKind::InvalidArgument);
    }
}
