//! Whatever is asked in whatever order, the answers are those of the provider inside.

use super::*;
use keyward::{KeyVersion, WrappedKey};
use proptest::prelude::*;
use std::collections::HashMap;

#[derive(Clone, Debug)]
enum Step {
    Fresh { table: usize },
    Message { table: usize, len: u64, short: bool },
    Unwrap { which: prop::sample::Index, table: Option<usize>, flip: Option<prop::sample::Index> },
    Rewrap { which: prop::sample::Index },
    Rotate,
    Disable { version: u32 },
    Enable { version: u32 },
    Clear,
    Wait { seconds: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    use prop::sample::Index;
    let index = any::<Index>;
    prop_oneof![
        1 => (0..3usize).prop_map(|table| Step::Fresh { table }),
        6 => (0..3usize, prop_oneof![0..9u64, Just(CacheLimits::MAX_BYTES / 2), Just(CacheLimits::MAX_BYTES + 1)], any::<bool>())
            .prop_map(|(table, len, short)| Step::Message { table, len, short }),
        9 => (index(), prop::option::weighted(0.2, 0..3usize), prop::option::weighted(0.2, index()))
            .prop_map(|(which, table, flip)| Step::Unwrap { which, table, flip }),
        1 => index().prop_map(|which| Step::Rewrap { which }),
        1 => Just(Step::Rotate),
        1 => (1..3u32).prop_map(|version| Step::Disable { version }),
        2 => (1..3u32).prop_map(|version| Step::Enable { version }),
        1 => Just(Step::Clear),
        2 => (1..40u64).prop_map(|seconds| Step::Wait { seconds }),
    ]
}

/// What is known of a wrapped key that was handed out.
struct Known {
    wrapped: WrappedKeys,
    secret: Vec<u8>,
    table: usize,
}

/// What a data key was handed out for.
#[derive(Default)]
struct Use {
    messages: u32,
    bytes: u64,
    since: Option<Instant>,
    contexts: Vec<usize>,
}

fn outcome<T>(answer: &keyward::Result<T>, secret: impl Fn(&T) -> Vec<u8>) -> Result<Vec<u8>, ErrorKind> {
    answer.as_ref().map(secret).map_err(keyward::Error::kind)
}

proptest! {
    #[test]
    fn it_answers_as_the_provider_inside_and_keeps_its_limits(steps in prop::collection::vec(step(), 1..80)) {
        const MESSAGES: u32 = 3;
        let tables = ["a", "b", "c"].map(context);
        let (spy, cached, clock) = cached(MESSAGES, 2);
        let mut known: Vec<Known> = Vec::new();
        let mut uses: HashMap<WrappedKeys, Use> = HashMap::new();
        for step in steps {
            match step {
                Step::Fresh { table } => {
                    let bare = spy.keys.generate_data_key(&key(), &tables[table], DataKeyLength::Bytes32);
                    let fresh = cached.generate_data_key(&key(), &tables[table], DataKeyLength::Bytes32);
                    prop_assert_eq!(outcome(&bare, |_| vec![]), outcome(&fresh, |_| vec![]));
                    if let Ok((data_key, wrapped)) = fresh {
                        let used_up = Use { messages: MESSAGES, ..Use::default() };
                        prop_assert!(uses.insert(wrapped.clone(), used_up).is_none(), "a fresh one is fresh");
                        known.push(Known { wrapped, secret: data_key.expose_secret().to_vec(), table });
                    }
                }
                Step::Message { table, len, short } => {
                    let length = if short { DataKeyLength::Bytes16 } else { DataKeyLength::Bytes32 };
                    let bare = spy.keys.generate_data_key(&key(), &tables[table], length);
                    let given = cached.data_key_for_message(&key(), &tables[table], length, len);
                    prop_assert_eq!(outcome(&bare, |_| vec![]), outcome(&given, |_| vec![]));
                    let Ok((data_key, wrapped)) = given else { continue };
                    prop_assert_eq!(data_key.length(), length);
                    let now = *clock.0.lock().unwrap();
                    let of_key = uses.entry(wrapped.clone()).or_default();
                    of_key.messages += 1;
                    of_key.bytes += len;
                    of_key.contexts.push(table);
                    let since = *of_key.since.get_or_insert(now);
                    prop_assert!(of_key.messages <= MESSAGES);
                    prop_assert!(of_key.bytes <= CacheLimits::MAX_BYTES || of_key.messages == 1);
                    prop_assert!(now - since < AGE);
                    prop_assert!(of_key.contexts.iter().all(|other| *other == table));
                    known.push(Known { wrapped, secret: data_key.expose_secret().to_vec(), table });
                }
                Step::Unwrap { which, table, flip } if !known.is_empty() => {
                    let Known { wrapped, secret, table: right } = which.get(&known);
                    let context = &tables[table.unwrap_or(*right)];
                    let mut asked = wrapped.clone();
                    if let Some(at) = flip {
                        let mut bytes = wrapped.iter().next().unwrap().to_bytes();
                        let at = at.index(bytes.len());
                        bytes[at] ^= 0x10;
                        match WrappedKey::parse(&bytes) {
                            Ok(altered) => asked = altered.into(),
                            Err(_) => continue,
                        }
                    }
                    let secret_of = |unwrapped: &keyward::UnwrappedKey| unwrapped.expose_secret().to_vec();
                    let bare = outcome(&spy.keys.unwrap_data_key(&asked, context), secret_of);
                    let kept = outcome(&cached.unwrap_data_key(&asked, context), secret_of);
                    prop_assert_eq!(&bare, &kept);
                    if let Ok(opened) = kept {
                        prop_assert_eq!(&opened, secret);
                    }
                }
                Step::Rewrap { which } if !known.is_empty() => {
                    let Known { wrapped, secret, table } = which.get(&known);
                    let bare = spy.keys.rewrap_data_key(wrapped, &tables[*table], &key(), keyward::Origin::Unverified);
                    let moved = cached.rewrap_data_key(wrapped, &tables[*table], &key(), keyward::Origin::Unverified);
                    prop_assert_eq!(outcome(&bare, |_| vec![]), outcome(&moved, |_| vec![]));
                    if let Ok(wrapped) = moved {
                        let (secret, table) = (secret.clone(), *table);
                        known.push(Known { wrapped, secret, table });
                    }
                }
                Step::Rotate => drop(cached.rotate_key(&key(), None)),
                Step::Disable { version } => drop(cached.disable_key(&key(), version_of(version))),
                Step::Enable { version } => drop(cached.enable_key(&key(), version_of(version))),
                Step::Clear => cached.clear(),
                Step::Wait { seconds } => clock.pass(Duration::from_secs(seconds)),
                Step::Unwrap { .. } | Step::Rewrap { .. } => {}
            }
            prop_assert!(cached.stats().kept <= 4);
        }
    }
}

fn version_of(version: u32) -> KeyVersion {
    version.to_string().parse().unwrap()
}
