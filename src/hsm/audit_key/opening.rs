//! The audit key of a token that need not be there yet.

use super::AuditKey;
use crate::error::Result;
use crate::key::{AnchorOrder, HeadKeeper, HeadSignature, KeeperRecords};
use crate::token::Token;
use std::fmt;
use std::sync::{Mutex, PoisonError};

type Open = Box<dyn Fn() -> Result<Token> + Send + Sync>;

/// The audit key of a token that is opened when it is first needed, and again as long as that fails: of several tokens
/// that serve together, some may be away.
pub struct OpeningAuditKey {
    open: Open,
    token: Mutex<Option<Token>>,
}

impl OpeningAuditKey {
    /// Returns the key of the token that `open` opens.
    pub fn new(open: impl Fn() -> Result<Token> + Send + Sync + 'static) -> Self {
        Self { open: Box::new(open), token: Mutex::new(None) }
    }

    fn key(&self) -> Result<AuditKey> {
        let mut token = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        let token = match &*token {
            Some(token) => token.clone(),
            None => token.insert((self.open)()?).clone(),
        };
        AuditKey::open(token)
    }
}

impl HeadKeeper for OpeningAuditKey {
    fn read(&self, name: Option<&str>) -> Result<KeeperRecords> {
        self.key()?.read(name)
    }

    fn sign(&self, message: &[u8]) -> Result<HeadSignature> {
        self.key()?.sign(message)
    }

    fn set_anchor(&self, name: &str, text: &str, order: &dyn Fn(&str) -> Result<AnchorOrder>) -> Result<()> {
        self.key()?.set_anchor(name, text, order)
    }
}

impl fmt::Debug for OpeningAuditKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OpeningAuditKey")
    }
}
