//! Managed keys: made on first use, for whoever names no key.

use crate::error::{ErrorKind, Result};
use crate::key::{AlgorithmChoice, KeyAdmin, KeyDescription, KeyName, KeyProvider, KeyRef};
use std::thread;
use std::time::Duration;

/// How often a key that another makes is looked for, and how long between two looks.
const LOOKS: u32 = 50;
const PAUSE: Duration = Duration::from_millis(100);

/// A managed key that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ManagedKey {
    /// Its name, `keyward/…`.
    pub name: KeyName,
    /// What was made, where this was its first use.
    pub made: Option<KeyDescription>,
}

/// The managed key `keyward/SUFFIX`, which is made where it is not there yet, with the algorithm that the
/// token does best. Many may ask for it at once: one makes it, and all use that.
///
/// ```
/// use keyward::provider::managed_key;
/// # let provider = keyward::testkit::MemoryProvider::new();
/// let key = managed_key(&provider, "default")?;
/// assert!(key.made.is_some());
/// assert_eq!(managed_key(&provider, "default")?.made, None);
/// # Ok::<(), keyward::Error>(())
/// ```
///
/// # Errors
/// `InvalidArgument` where `suffix` makes no key name, and those of
/// [`create_key`](KeyAdmin::create_key) and [`describe_key`](KeyProvider::describe_key).
pub fn managed_key<P: KeyProvider + KeyAdmin + ?Sized>(provider: &P, suffix: &str) -> Result<ManagedKey> {
    let name = KeyName::managed(suffix)?;
    let mut found = provider.describe_key(KeyRef::Name(&name)).map(drop);
    let missing = |found: &Result<()>| found.as_ref().is_err_and(|error| error.kind() == ErrorKind::KeyNotFound);
    // Who may not look at a key may still use it, and is told by the use.
    if found.as_ref().is_err_and(|error| error.kind() == ErrorKind::PolicyDenied) {
        return Ok(ManagedKey { name, made: None });
    }
    if missing(&found) {
        match provider.create_key(&name, AlgorithmChoice::Auto) {
            Ok(made) => return Ok(ManagedKey { name, made: Some(made) }),
            Err(error) if error.kind() == ErrorKind::KeyExists => {}
            Err(error) => return Err(error),
        }
        // Another was faster. Some tokens show to others only after a while what one has made.
        for _ in 0..LOOKS {
            found = provider.describe_key(KeyRef::Name(&name)).map(drop);
            if !missing(&found) {
                break;
            }
            thread::sleep(PAUSE);
        }
    }
    found.map(|()| ManagedKey { name, made: None })
}
