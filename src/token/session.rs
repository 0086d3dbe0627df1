//! A lent session and the calls that are made on it.
//!
//! What a call reads and writes is its own: one that hangs keeps it until it comes back.

use super::attributes::Attributes;
use super::fault::{Code, Trouble, ckr, is_stale_handle, judge, may_be_one_attributes, no_answer};
use super::gate::Access;
use super::handle::Handle;
use super::mechanism::Mechanism;
use super::module::Module;
use super::observe;
use super::pool::Pool;
use super::quirks::Iv;
use super::raw::Functions;
use crate::error::{Error, ErrorKind, Result};
use cryptoki::context::Function;
use cryptoki::error::{Error as Cause, RvError};
use cryptoki::mechanism::MechanismType;
use cryptoki::object::{Attribute, AttributeType, ObjectHandle};
use cryptoki::session::{Session as RawSession, SessionState};
use std::cell::{Cell, RefCell};
use std::time::Instant;
use zeroize::{Zeroize, Zeroizing};

/// A session that goes back to its pool when dropped. One whose call failed is closed instead: an
/// operation may still be active on it.
pub(crate) struct Session<'pool> {
    pool: &'pool Pool,
    generation: u64,
    /// None where a call that hangs has taken it.
    handle: RefCell<Option<Handle>>,
    trouble: Cell<Trouble>,
    failed: Cell<bool>,
    /// Whether calls past `cryptoki` are made where the module allows it.
    direct: bool,
}

/// What a call works with, inside the module.
struct Inside<'a> {
    module: &'a Module,
    raw: &'a RawSession,
    key_wrap: MechanismType,
    direct: bool,
}

impl<'pool> Session<'pool> {
    pub(super) fn new(pool: &'pool Pool, handle: Handle, generation: u64) -> Self {
        Self {
            pool,
            generation,
            handle: RefCell::new(Some(handle)),
            trouble: Cell::new(Trouble::None),
            failed: Cell::new(false),
            direct: true,
        }
    }

    /// As with a module that does not let us make calls past `cryptoki`.
    #[cfg(all(test, feature = "testkit"))]
    pub(super) fn through_cryptoki(mut self) -> Self {
        self.direct = false;
        self
    }

    /// What is known of the token is known for this generation of its sessions.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// What the last call that failed says about the token.
    pub(crate) fn trouble(&self) -> Trouble {
        self.trouble.get()
    }

    /// The code of the last call that failed, where it left doubt.
    pub(crate) fn doubted_code(&self) -> Option<Code> {
        match self.trouble.get() {
            Trouble::Doubt(code) => Some(code),
            _ => None,
        }
    }

    /// For the metrics.
    pub(crate) fn cache_was_asked(&self, hit: bool) {
        observe::cached(&self.pool.label, hit);
    }

    fn read<T: Send + 'static>(
        &self,
        action: &'static str,
        function: &'static str,
        call: impl FnOnce(&Inside<'_>) -> Result<T, Cause> + Send + 'static,
    ) -> Result<T> {
        self.call(action, function, Access::Shared, call)
    }

    /// For calls that change token objects.
    fn write<T: Send + 'static>(
        &self,
        action: &'static str,
        function: &'static str,
        call: impl FnOnce(&Inside<'_>) -> Result<T, Cause> + Send + 'static,
    ) -> Result<T> {
        let access = if self.pool.character.quirks.writes_alone { Access::Alone } else { Access::Shared };
        self.call(action, function, access, move |inside| {
            let neighbours = &inside.module.neighbours;
            let _quiet = neighbours.nobody();
            if neighbours.matter() {
                // A search takes in what others wrote, before this write could hide it.
                inside.raw.find_objects(&[Attribute::Id(vec![0; 16]), Attribute::Private(true)])?;
            }
            call(inside)
        })
    }

    fn call<T: Send + 'static>(
        &self,
        action: &'static str,
        function: &'static str,
        access: Access,
        call: impl FnOnce(&Inside<'_>) -> Result<T, Cause> + Send + 'static,
    ) -> Result<T> {
        let pool = self.pool;
        let _span = tracing::trace_span!("token_call", function, token = &*pool.label).entered();
        let Some(handle) = self.handle.take() else {
            return Err(Error::new(ErrorKind::TokenUnavailable, "a call still hangs on this session"));
        };
        let (key_wrap, direct) = (pool.character.key_wrap, self.direct);
        let began = Instant::now();
        let answer = pool.workers.run_with(&pool.module.gate(), access, handle, move |handle| {
            let module = handle.module();
            handle.raw().and_then(|raw| call(&Inside { module, raw, key_wrap, direct }))
        });
        let (error, trouble) = match answer {
            Ok((handle, Ok(value))) => {
                self.handle.replace(Some(handle));
                observe::called(&pool.label, function, "CKR_OK", began);
                pool.answered();
                return Ok(value);
            }
            Ok((handle, Err(cause))) => {
                self.handle.replace(Some(handle));
                let code = match &cause {
                    Cause::Pkcs11(code, _) => ckr(*code),
                    _ => "none".to_owned(),
                };
                observe::called(&pool.label, function, &code, began);
                pool.answered();
                judge(action, cause)
            }
            Err((none, handle)) => {
                self.handle.replace(handle);
                observe::called(&pool.label, function, "none", began);
                no_answer(action, none)
            }
        };
        self.failed.set(true);
        self.trouble.set(trouble);
        if trouble == Trouble::Silence {
            pool.silent(self.generation);
        }
        Err(error)
    }

    /// The objects that match, each once.
    pub(crate) fn find(&self, template: &[Attribute]) -> Result<Vec<ObjectHandle>> {
        let template = template.to_vec();
        let login_required = self.pool.info().login_required;
        self.read("search the token", "C_FindObjects", move |inside| {
            let _quiet = inside.module.neighbours.no_writer();
            let mut found = inside.raw.find_objects(&template)?;
            found.sort_unstable_by_key(ObjectHandle::handle);
            found.dedup();
            if found.is_empty() && login_required {
                // Who is not logged in sees no private objects, and is not told so.
                let state = inside.raw.get_session_info()?.session_state();
                if !matches!(state, SessionState::RwUser | SessionState::RoUser) {
                    return Err(Cause::Pkcs11(RvError::UserNotLoggedIn, Function::FindObjects));
                }
            }
            Ok(found)
        })
    }

    /// Those of the attributes that the object has and shows; `None` where it is gone.
    pub(crate) fn attributes(&self, object: ObjectHandle, types: &[AttributeType]) -> Result<Option<Attributes>> {
        let types = types.to_vec();
        self.read("read a key's attributes", "C_GetAttributeValue", move |inside| {
            let _quiet = inside.module.neighbours.no_writer();
            let ask = |types: &[AttributeType]| match inside.functions() {
                Some(functions) => functions.attributes(inside.raw, object, types),
                None => inside.raw.get_attributes(object, types),
            };
            let mut found = match ask(&types) {
                Ok(found) => found,
                Err(cause) if is_stale_handle(&cause) => return Ok(None),
                Err(cause) if !may_be_one_attributes(&cause) => return Err(cause),
                // One strange value fails them all: ask one by one and leave out the strange. Not its name
                // and id, without which it would pass for an object of somebody else.
                Err(_) => {
                    let mut found = Vec::with_capacity(types.len());
                    for one in &types {
                        match ask(&[*one]) {
                            Ok(value) => found.extend(value),
                            Err(cause)
                                if !may_be_one_attributes(&cause)
                                    || matches!(*one, AttributeType::Label | AttributeType::Id) =>
                            {
                                return Err(cause);
                            }
                            Err(_) => {}
                        }
                    }
                    found
                }
            };
            if found.is_empty() {
                // Nothing at all: is it the object or the session that is gone?
                match ask(&[AttributeType::Class]) {
                    Ok(class) => found = class,
                    Err(cause) if is_stale_handle(&cause) => return Ok(None),
                    Err(cause) => return Err(cause),
                }
            }
            Ok(Some(Attributes::new(found)))
        })
    }

    /// Changes attributes of a token object.
    pub(crate) fn set_attributes(&self, object: ObjectHandle, template: Vec<Attribute>) -> Result<()> {
        self.write("change a key's attributes", "C_SetAttributeValue", move |inside| {
            inside.raw.update_attributes(object, &template)
        })
    }

    /// Generates a secret key that is a token object.
    pub(crate) fn generate_key(&self, mut mechanism: Mechanism, template: Vec<Attribute>) -> Result<ObjectHandle> {
        self.write("generate a key", "C_GenerateKey", move |inside| {
            mechanism.with(inside.key_wrap, |mechanism| inside.raw.generate_key(mechanism, &template))
        })
    }

    /// Generates a key pair whose private key is a token object; the handles are public, private.
    pub(crate) fn generate_key_pair(
        &self,
        mut mechanism: Mechanism,
        public: Vec<Attribute>,
        private: Vec<Attribute>,
    ) -> Result<(ObjectHandle, ObjectHandle)> {
        self.write("generate a key pair", "C_GenerateKeyPair", move |inside| {
            mechanism.with(inside.key_wrap, |mechanism| inside.raw.generate_key_pair(mechanism, &public, &private))
        })
    }

    /// Makes a token object.
    pub(crate) fn create_object(&self, template: Vec<Attribute>) -> Result<ObjectHandle> {
        self.write("write to the token", "C_CreateObject", move |inside| inside.raw.create_object(&template))
    }

    /// Destroys a token object.
    pub(crate) fn destroy_object(&self, object: ObjectHandle) -> Result<()> {
        self.write("destroy an object on the token", "C_DestroyObject", move |inside| inside.raw.destroy_object(object))
    }

    /// Makes an object that lives as long as this session. Its value is wiped here.
    pub(crate) fn create_session_object(&self, template: Vec<Attribute>) -> Result<ObjectHandle> {
        let template = Wiped(template);
        self.read("pass a data key to the token", "C_CreateObject", move |inside| inside.raw.create_object(&template.0))
    }

    /// Destroys an object of this session. Where that fails the session is closed, which ends it too.
    pub(crate) fn destroy_session_object(&self, object: ObjectHandle) {
        let before = self.trouble.get();
        let destroy = move |inside: &Inside<'_>| inside.raw.destroy_object(object);
        if let Err(error) = self.read("destroy a session object", "C_DestroyObject", destroy) {
            tracing::debug!(%error, "closing a session for the object in it");
            // What went before has been answered.
            self.trouble.set(before);
        }
    }

    /// Fills `bytes` from the token's generator.
    pub(crate) fn random(&self, bytes: &mut [u8]) -> Result<()> {
        let mut room = Zeroizing::new(vec![0; bytes.len()]);
        let random = self.read("get random bytes from the token", "C_GenerateRandom", move |inside| {
            inside.raw.generate_random_slice(&mut room)?;
            Ok(room)
        })?;
        bytes.copy_from_slice(&random);
        Ok(())
    }

    /// Encrypts in one part with AES-GCM. Returns the IV, which is another than `iv` where the token
    /// chooses it, and the ciphertext with its tag, of at most `capacity` bytes.
    pub(crate) fn encrypt_gcm(
        &self,
        key: ObjectHandle,
        mut iv: Vec<u8>,
        aad: Vec<u8>,
        plaintext: &[u8],
        capacity: usize,
    ) -> Result<(Vec<u8>, Vec<u8>)> {
        let plaintext = Zeroizing::new(plaintext.to_vec());
        if self.chooses_iv() {
            iv.fill(0);
        }
        self.read("wrap on the token", "C_Encrypt", move |inside| {
            let mut mechanism = Mechanism::AesGcm { iv, aad };
            let mut out = vec![0; capacity];
            let len = mechanism.with(inside.key_wrap, |mechanism| match inside.functions() {
                Some(functions) => functions.encrypt(inside.raw, mechanism, key, &plaintext, &mut out),
                None => copy(inside.raw.encrypt(mechanism, key, &plaintext)?, &mut out, Function::Encrypt),
            })?;
            out.truncate(len);
            let Mechanism::AesGcm { iv, .. } = mechanism else { return Err(Cause::InvalidValue) };
            Ok((iv, out))
        })
    }

    /// Whether the token chooses the IVs of AES-GCM: none need be made for it.
    pub(crate) fn chooses_iv(&self) -> bool {
        self.pool.character.quirks.iv == Iv::Tokens
    }

    /// Decrypts in one part, at most `capacity` bytes.
    pub(crate) fn decrypt(
        &self,
        mut mechanism: Mechanism,
        key: ObjectHandle,
        ciphertext: &[u8],
        capacity: usize,
    ) -> Result<Zeroizing<Vec<u8>>> {
        let ciphertext = ciphertext.to_vec();
        self.read("unwrap on the token", "C_Decrypt", move |inside| {
            let mut out = Zeroizing::new(vec![0; capacity]);
            let len = mechanism.with(inside.key_wrap, |mechanism| match inside.functions() {
                Some(functions) => functions.decrypt(inside.raw, mechanism, key, &ciphertext, &mut out),
                None => copy(inside.raw.decrypt(mechanism, key, &ciphertext)?, &mut out, Function::Decrypt),
            })?;
            out.truncate(len);
            Ok(out)
        })
    }

    /// Wraps a key object into at most `capacity` bytes.
    pub(crate) fn wrap_key(
        &self,
        mut mechanism: Mechanism,
        wrapping_key: ObjectHandle,
        key: ObjectHandle,
        capacity: usize,
    ) -> Result<Vec<u8>> {
        self.read("wrap on the token", "C_WrapKey", move |inside| {
            let mut out = vec![0; capacity];
            let len = mechanism.with(inside.key_wrap, |mechanism| match inside.functions() {
                Some(functions) => functions.wrap_key(inside.raw, mechanism, wrapping_key, key, &mut out),
                None => {
                    // `cryptoki` leaves the result as long as the token's estimate was, with zeros at its end.
                    let mut wrapped = inside.raw.wrap_key(mechanism, wrapping_key, key)?;
                    if wrapped.iter().skip(capacity).all(|byte| *byte == 0) {
                        wrapped.truncate(capacity);
                    }
                    copy(wrapped, &mut out, Function::WrapKey)
                }
            })?;
            out.truncate(len);
            Ok(out)
        })
    }

    /// Signs in one part.
    #[cfg(feature = "governed")]
    pub(crate) fn sign(&self, mut mechanism: Mechanism, key: ObjectHandle, data: &[u8]) -> Result<Vec<u8>> {
        let data = data.to_vec();
        self.read("sign on the token", "C_Sign", move |inside| {
            mechanism.with(inside.key_wrap, |mechanism| inside.raw.sign(mechanism, key, &data))
        })
    }

    /// Unwraps into an object that lives as long as this session.
    pub(crate) fn unwrap_key(
        &self,
        mut mechanism: Mechanism,
        unwrapping_key: ObjectHandle,
        wrapped: &[u8],
        mut template: Vec<Attribute>,
    ) -> Result<ObjectHandle> {
        let wrapped = wrapped.to_vec();
        if self.pool.character.quirks.unwrap_wants_length {
            // RFC 3394 added one block of 8 bytes.
            let len = wrapped.len().saturating_sub(8) as u64;
            template.push(Attribute::ValueLen(len.into()));
        }
        self.read("unwrap on the token", "C_UnwrapKey", move |inside| {
            mechanism.with(inside.key_wrap, |mechanism| {
                inside.raw.unwrap_key(mechanism, unwrapping_key, &wrapped, &template)
            })
        })
    }

    /// Reads `CKA_VALUE`, of at most `capacity` bytes.
    pub(crate) fn read_value(&self, object: ObjectHandle, capacity: usize) -> Result<Zeroizing<Vec<u8>>> {
        self.read("read an object's value", "C_GetAttributeValue", move |inside| {
            let mut out = Zeroizing::new(vec![0; capacity]);
            let len = match inside.functions() {
                Some(functions) => functions.read_value(inside.raw, object, &mut out),
                None => match inside.raw.get_attributes(object, &[AttributeType::Value])?.pop() {
                    Some(Attribute::Value(value)) => copy(value, &mut out, Function::GetAttributeValue),
                    _ => Err(Cause::Pkcs11(RvError::AttributeSensitive, Function::GetAttributeValue)),
                },
            }?;
            out.truncate(len);
            Ok(out)
        })
    }
}

impl Inside<'_> {
    /// The calls that are made past `cryptoki`; none where the module does not let them.
    fn functions(&self) -> Option<&Functions> {
        self.module.functions.as_ref().filter(|_| self.direct)
    }
}

/// Moves an answer of `cryptoki` to where it belongs, and wipes it.
fn copy(answer: Vec<u8>, out: &mut [u8], function: Function) -> Result<usize, Cause> {
    let answer = Zeroizing::new(answer);
    let room = out.get_mut(..answer.len()).ok_or(Cause::Pkcs11(RvError::BufferTooSmall, function))?;
    room.copy_from_slice(&answer);
    Ok(answer.len())
}

/// A template whose value is wiped when dropped.
struct Wiped(Vec<Attribute>);

impl Drop for Wiped {
    fn drop(&mut self) {
        for attribute in &mut self.0 {
            if let Attribute::Value(value) = attribute {
                value.zeroize();
            }
        }
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        let handle = self.handle.take();
        if !self.failed.get() {
            return self.pool.take_back(handle);
        }
        // Closed before it is counted out, so that nobody opens the token again meanwhile.
        if let Some(handle) = handle {
            match self.trouble.get() {
                Trouble::Ended => handle.forget(),
                _ => self.pool.close(handle),
            }
        }
        self.pool.take_back(None);
    }
}
