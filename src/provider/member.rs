//! A member of a failover, as its maker names it.

use crate::error::Result;
use std::fmt;

/// A provider and what it is called in errors, logs and [`MemberHealth`](super::MemberHealth).
pub struct Member<P> {
    pub(super) name: String,
    pub(super) source: Source<P>,
}

pub(super) enum Source<P> {
    Open(P),
    Opening(Open<P>),
}

pub(super) type Open<P> = Box<dyn Fn() -> Result<P> + Send + Sync>;

impl<P> Member<P> {
    /// A member whose provider is there.
    #[must_use]
    pub fn new(name: impl Into<String>, provider: P) -> Self {
        Self { name: name.into(), source: Source::Open(provider) }
    }

    /// A member whose provider `open` makes on first use, so that a token that is down at the start
    /// does not stop the others.
    ///
    /// Where `open` fails because the token is unavailable
    /// ([`is_unavailable`](crate::ErrorKind::is_unavailable)), it is called again later, from another
    /// thread; never two at once. After `PinIncorrect`, `PinLocked` or `PinRequired` it is never
    /// called again: a few wrong PINs lock a token.
    #[must_use]
    pub fn opening(name: impl Into<String>, open: impl Fn() -> Result<P> + Send + Sync + 'static) -> Self {
        Self { name: name.into(), source: Source::Opening(Box::new(open)) }
    }
}

impl<P> fmt::Debug for Member<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Member").field(&self.name).finish()
    }
}
