//! A lent session and the calls that are made on it.

use super::fault::{fault, is_ambiguous, is_stale_handle};
use super::module::Module;
use super::pool::Lender;
use super::raw::Functions;
use crate::error::Result;
use cryptoki::context::Function;
use cryptoki::error::{Error as Cause, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectHandle};
use cryptoki::session::Session as RawSession;
use std::cell::Cell;
use std::mem::Discriminant;
use zeroize::Zeroizing;

/// A session that goes back to its pool when dropped. One whose call failed is closed instead: an
/// operation may still be active on it.
pub(crate) struct Session<'pool> {
    module: &'pool Module,
    lender: &'pool dyn Lender,
    /// The calls that are made past `cryptoki`; none where the module does not let them.
    functions: Option<&'pool Functions>,
    raw: Option<RawSession>,
    failed: Cell<bool>,
}

impl<'pool> Session<'pool> {
    pub(super) fn new(module: &'pool Module, lender: &'pool dyn Lender, raw: RawSession) -> Self {
        let functions = module.functions.as_ref();
        Self { module, lender, functions, raw: Some(raw), failed: Cell::new(false) }
    }

    /// As with a module that does not let us make calls past `cryptoki`.
    #[cfg(all(test, feature = "testkit"))]
    pub(super) fn through_cryptoki(mut self) -> Self {
        self.functions = None;
        self
    }

    fn raw(&self) -> &RawSession {
        self.raw.as_ref().expect("the session is only given back on drop")
    }

    fn read<T>(&self, action: &'static str, call: impl FnOnce(&RawSession) -> Result<T, Cause>) -> Result<T> {
        let _gate = self.module.shared();
        self.judge(action, call(self.raw()))
    }

    /// For calls that change token objects: nobody else of this process is in a call meanwhile.
    fn write<T>(&self, action: &'static str, call: impl FnOnce(&RawSession) -> Result<T, Cause>) -> Result<T> {
        let _gate = self.module.exclusive();
        let neighbours = &self.module.neighbours;
        let _quiet = neighbours.nobody();
        if neighbours.matter() {
            // A search takes in what others wrote, before this write could hide it.
            let nothing = self.raw().find_objects(&[Attribute::Id(vec![0; 16]), Attribute::Private(true)]);
            self.judge(action, nothing)?;
        }
        self.judge(action, call(self.raw()))
    }

    fn judge<T>(&self, action: &'static str, answer: Result<T, Cause>) -> Result<T> {
        answer.map_err(|cause| {
            self.failed.set(true);
            if is_ambiguous(&cause)
                && let Err(dead) = self.raw().get_session_info()
            {
                return fault(action, dead);
            }
            fault(action, cause)
        })
    }

    /// The objects that match.
    pub(crate) fn find(&self, template: &[Attribute]) -> Result<Vec<ObjectHandle>> {
        self.read("search the token", |raw| {
            let _quiet = self.module.neighbours.no_writer();
            raw.find_objects(template)
        })
    }

    /// Those of the attributes that the object has and shows; `None` where it is gone.
    pub(crate) fn attributes(&self, object: ObjectHandle, types: &[AttributeType]) -> Result<Option<Attributes>> {
        let _gate = self.module.shared();
        let _quiet = self.module.neighbours.no_writer();
        let raw = self.raw();
        let mut found = match raw.get_attributes(object, types) {
            Ok(found) => found,
            Err(cause) if is_stale_handle(&cause) => return Ok(None),
            // One strange value fails them all: ask one by one and leave out the strange.
            Err(_) => {
                types.iter().filter_map(|one| raw.get_attributes(object, &[*one]).ok()).flatten().collect::<Vec<_>>()
            }
        };
        if found.is_empty() {
            // Nothing at all: is it the object or the session that is gone?
            match raw.get_attributes(object, &[AttributeType::Class]) {
                Ok(class) => found = class,
                Err(cause) if is_stale_handle(&cause) => return Ok(None),
                Err(cause) => return self.judge("read a key's attributes", Err(cause)),
            }
        }
        Ok(Some(Attributes(found)))
    }

    /// Changes attributes of a token object.
    pub(crate) fn set_attributes(&self, object: ObjectHandle, template: &[Attribute]) -> Result<()> {
        self.write("change a key's attributes", |raw| raw.update_attributes(object, template))
    }

    /// Generates a secret key that is a token object.
    pub(crate) fn generate_key(&self, mechanism: &Mechanism<'_>, template: &[Attribute]) -> Result<ObjectHandle> {
        self.write("generate a key", |raw| raw.generate_key(mechanism, template))
    }

    /// Generates a key pair whose private key is a token object; the handles are public, private.
    pub(crate) fn generate_key_pair(
        &self,
        mechanism: &Mechanism<'_>,
        public: &[Attribute],
        private: &[Attribute],
    ) -> Result<(ObjectHandle, ObjectHandle)> {
        self.write("generate a key pair", |raw| raw.generate_key_pair(mechanism, public, private))
    }

    /// Makes a token object.
    pub(crate) fn create_object(&self, template: &[Attribute]) -> Result<ObjectHandle> {
        self.write("write to the token", |raw| raw.create_object(template))
    }

    /// Destroys a token object.
    pub(crate) fn destroy_object(&self, object: ObjectHandle) -> Result<()> {
        self.write("destroy an object on the token", |raw| raw.destroy_object(object))
    }

    /// Makes an object that lives as long as this session.
    pub(crate) fn create_session_object(&self, template: &[Attribute]) -> Result<ObjectHandle> {
        self.read("pass a data key to the token", |raw| raw.create_object(template))
    }

    /// Destroys an object of this session. Where that fails the session is closed, which ends it too.
    pub(crate) fn destroy_session_object(&self, object: ObjectHandle) {
        if let Err(error) = self.read("destroy a session object", |raw| raw.destroy_object(object)) {
            tracing::warn!(%error, "closing a session for the object in it");
        }
    }

    /// Fills `bytes` from the token's generator.
    pub(crate) fn random(&self, bytes: &mut [u8]) -> Result<()> {
        self.read("get random bytes from the token", |raw| raw.generate_random_slice(bytes))
    }

    /// Encrypts in one part; the length of what is in `out`.
    pub(crate) fn encrypt(
        &self,
        mechanism: &Mechanism<'_>,
        key: ObjectHandle,
        plaintext: &[u8],
        out: &mut [u8],
    ) -> Result<usize> {
        self.read("wrap on the token", |raw| match self.functions {
            Some(functions) => functions.encrypt(raw, mechanism, key, plaintext, out),
            None => copy(raw.encrypt(mechanism, key, plaintext)?, out, Function::Encrypt),
        })
    }

    /// Decrypts in one part; the length of what is in `out`.
    pub(crate) fn decrypt(
        &self,
        mechanism: &Mechanism<'_>,
        key: ObjectHandle,
        ciphertext: &[u8],
        out: &mut [u8],
    ) -> Result<usize> {
        self.read("unwrap on the token", |raw| match self.functions {
            Some(functions) => functions.decrypt(raw, mechanism, key, ciphertext, out),
            None => copy(raw.decrypt(mechanism, key, ciphertext)?, out, Function::Decrypt),
        })
    }

    /// Wraps a key object; the length of what is in `out`.
    pub(crate) fn wrap_key(
        &self,
        mechanism: &Mechanism<'_>,
        wrapping_key: ObjectHandle,
        key: ObjectHandle,
        out: &mut [u8],
    ) -> Result<usize> {
        self.read("wrap on the token", |raw| match self.functions {
            Some(functions) => functions.wrap_key(raw, mechanism, wrapping_key, key, out),
            None => {
                // `cryptoki` leaves the result as long as the token's estimate was.
                let mut wrapped = raw.wrap_key(mechanism, wrapping_key, key)?;
                wrapped.truncate(out.len());
                copy(wrapped, out, Function::WrapKey)
            }
        })
    }

    /// Unwraps into an object that lives as long as this session.
    pub(crate) fn unwrap_key(
        &self,
        mechanism: &Mechanism<'_>,
        unwrapping_key: ObjectHandle,
        wrapped: &[u8],
        template: &[Attribute],
    ) -> Result<ObjectHandle> {
        self.read("unwrap on the token", |raw| raw.unwrap_key(mechanism, unwrapping_key, wrapped, template))
    }

    /// Reads `CKA_VALUE`; the length of what is in `out`.
    pub(crate) fn read_value(&self, object: ObjectHandle, out: &mut [u8]) -> Result<usize> {
        self.read("read an object's value", |raw| match self.functions {
            Some(functions) => functions.read_value(raw, object, out),
            None => match raw.get_attributes(object, &[AttributeType::Value])?.pop() {
                Some(Attribute::Value(value)) => copy(value, out, Function::GetAttributeValue),
                _ => Err(Cause::Pkcs11(RvError::AttributeSensitive, Function::GetAttributeValue)),
            },
        })
    }
}

/// Moves an answer of `cryptoki` to where it belongs, and wipes it.
fn copy(answer: Vec<u8>, out: &mut [u8], function: Function) -> Result<usize, Cause> {
    let answer = Zeroizing::new(answer);
    let room = out.get_mut(..answer.len()).ok_or(Cause::Pkcs11(RvError::BufferTooSmall, function))?;
    room.copy_from_slice(&answer);
    Ok(answer.len())
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        let raw = self.raw.take();
        if self.failed.get() {
            // Closed here, outside the pool's lock.
            let _gate = self.module.shared();
            drop(raw);
            self.lender.take_back(None);
        } else {
            self.lender.take_back(raw);
        }
    }
}

/// What an object showed of itself.
#[derive(Debug)]
pub(crate) struct Attributes(Vec<Attribute>);

impl Attributes {
    /// The attribute of the same type as `like`, whose value does not matter.
    fn one(&self, like: Discriminant<Attribute>) -> Option<&Attribute> {
        self.0.iter().find(|attribute| std::mem::discriminant(*attribute) == like)
    }

    /// A boolean, by the constructor of its attribute: `attributes.flag(Attribute::Sensitive)`.
    pub(crate) fn flag(&self, of: fn(bool) -> Attribute) -> Option<bool> {
        self.one(std::mem::discriminant(&of(true))).map(|found| *found == of(true))
    }

    /// A number.
    pub(crate) fn number(&self, of: fn(cryptoki::types::Ulong) -> Attribute) -> Option<usize> {
        match self.one(std::mem::discriminant(&of(0.into())))? {
            Attribute::ValueLen(n) | Attribute::ModulusBits(n) => Some(usize::from(*n)),
            _ => None,
        }
    }

    /// A byte string.
    pub(crate) fn bytes(&self, of: fn(Vec<u8>) -> Attribute) -> Option<&[u8]> {
        match self.one(std::mem::discriminant(&of(Vec::new())))? {
            Attribute::Id(bytes)
            | Attribute::Label(bytes)
            | Attribute::Value(bytes)
            | Attribute::Modulus(bytes)
            | Attribute::PublicExponent(bytes) => Some(bytes),
            _ => None,
        }
    }
}
