//! What a store writes into the encryption context of its objects, and demands of those it reads.

use super::Settings;
use super::mode::{Encryption, Mode, OpenWith, Sse};
use crate::envelope::parts::{self, Header};
use crate::envelope::{Decryptor, DetachedSlots, body::BodyKey};
use crate::error::{Error, ErrorKind, Result};
use crate::key::{EncryptionContext, KekId, WrappingAlgorithm};
use object_store::path::Path;

/// The path, bound by the wrapped data key as well as by the body.
const PATH: &str = "keyward:path";
/// The path, bound by the body alone, so that one data key serves many objects.
const BODY_PATH: &str = "keyward:body:path";
const SSE: &str = "keyward:sse";
const BUCKET: &str = "keyward:bucket";

impl Settings {
    /// The context of a new object.
    pub(super) fn context_of(&self, location: &Path, sse: &Sse) -> Result<EncryptionContext> {
        let mut context = sse.context.clone();
        let mut add = |key: &str, value: &str| context.insert_reserved(key.to_owned(), value.to_owned());
        add(SSE, sse.mode.name())?;
        if let Some(name) = &self.name {
            add(BUCKET, name)?;
        }
        if !self.unbound {
            add(if sse.shares_data_keys() { BODY_PATH } else { PATH }, location.as_ref())?;
        }
        Ok(context)
    }

    /// Whether a header is one that this store writes for an object at this path. What it says is authenticated with
    /// the key of the body, which is derived from it.
    pub(super) fn check(&self, location: &Path, header: &Header, open: Option<&OpenWith>) -> Result<Encryption> {
        let context = header.context();
        let paths = [PATH, BODY_PATH].map(|key| context.get(key));
        let is_bound = match paths {
            [Some(path), None] | [None, Some(path)] => path == location.as_ref(),
            [None, None] => self.unbound,
            [Some(_), Some(_)] => false,
        };
        let is_of_this_store = context.get(BUCKET) == self.name.as_deref();
        let mode = context.get(SSE).and_then(|name| name.parse::<Mode>().ok());
        let known = [PATH, BODY_PATH, SSE, BUCKET];
        let is_known = |key: &str| !key.starts_with("keyward:") || known.contains(&key);
        // One answer to all, and to each object that was moved here from elsewhere: it says no more on purpose.
        let (true, true, Some(mode)) =
            (is_bound && context.iter().all(|(key, _)| is_known(key)), is_of_this_store, mode)
        else {
            return Err(Error::not_authentic());
        };
        let callers = context.of_the_caller();
        if let Some(expected) = open.and_then(|open| open.context.as_ref())
            && *expected != callers
        {
            return Err(Error::new(
                ErrorKind::ContextMismatch,
                "the encryption context of the object is not the one that the request names",
            ));
        }
        let bucket_key = paths[1].is_some();
        Ok(Encryption { mode, keks: Vec::new(), opening: None, bucket_key, context: callers })
    }

    /// Opens an object: returns the key of its body, and what opening it has confirmed. Blocks.
    pub(super) fn unlock(
        &self,
        location: &Path,
        header: &Header,
        slots: Option<&DetachedSlots>,
        open: &OpenWith,
    ) -> Result<(BodyKey, Encryption)> {
        let mut encryption = self.check(location, header, Some(open))?;
        let decryptor = match &open.customer {
            Some(key) => Decryptor::with_customer_key(key),
            None => Decryptor::new(self.provider_for(encryption.bucket_key)?),
        };
        let (key, opening) = header.open(&decryptor, slots)?;
        check_mode(encryption.mode, opening.entry.algorithm)?;
        encryption.keks = opening.entry.key.iter().map(|key| key.kek_id).collect();
        encryption.opening = Some(opening);
        Ok((key, encryption))
    }

    /// Returns the versions of master keys that an object claims to be under.
    pub(super) fn claimed_keks(&self, header: &Header, slots: Option<&DetachedSlots>) -> Result<Vec<KekId>> {
        if header.is_detached() && slots.is_none() {
            return Ok(Vec::new());
        }
        let entries = header.claimed_entries(slots)?;
        Ok(entries.iter().filter(|entry| !parts::is_customers(entry)).map(crate::WrappedKey::kek_id).collect())
    }

    /// Whether a request may be encrypted like this, and how one is that says nothing.
    pub(super) fn choose(&self, asked: Option<Sse>) -> Result<Sse> {
        let sse = asked.or_else(|| self.default_sse.clone()).ok_or_else(|| {
            Error::new(ErrorKind::InvalidArgument, "neither the request nor the store says how to encrypt the object")
        })?;
        let refuse = |what: String| Err(Error::new(ErrorKind::PolicyDenied, what));
        if !self.modes.is_empty() && !self.modes.contains(&sse.mode) {
            return refuse(format!("this store takes no objects that are encrypted in the mode '{}'", sse.mode));
        }
        match &sse.key {
            super::mode::SseKey::Named(name) if !self.keys.is_empty() && !self.keys.contains(name) => {
                refuse(format!("this store takes no objects that are encrypted under key '{name}'"))
            }
            _ => Ok(sse),
        }
    }

    /// With what a request is opened that says nothing.
    pub(super) fn choose_open(&self, asked: Option<OpenWith>) -> OpenWith {
        let of_the_default = || {
            let key = self.default_sse.as_ref().and_then(Sse::customer_key);
            OpenWith { customer: key.cloned(), ..OpenWith::default() }
        };
        asked.or_else(|| self.open_with.clone()).unwrap_or_else(of_the_default)
    }
}

/// Checks that the mode in the header of an object agrees with what opened it. The managed keys of SSE-S3 are
/// symmetric: an object that an RSA key opened may be anyone's.
fn check_mode(mode: Mode, opened: WrappingAlgorithm) -> Result<()> {
    let is_customers = opened == WrappingAlgorithm::CustomerKey;
    let agrees = match mode {
        Mode::Kms => !is_customers,
        Mode::S3 => !is_customers && !opened.is_rsa(),
        Mode::Customer => is_customers,
        Mode::Client => true,
    };
    if agrees { Ok(()) } else { Err(Error::not_authentic()) }
}
