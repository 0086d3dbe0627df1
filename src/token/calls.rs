//! The calls that are made on a lent session.
//!
//! What a call reads and writes is its own: one that hangs keeps it until it comes back.

use super::attributes::Attributes;
use super::fault::{is_stale_handle, may_be_one_attributes};
use super::mechanism::Mechanism;
use super::quirks::Iv;
use super::raw::Functions;
use super::session::{Inside, Session};
use crate::error::Result;
use cryptoki::context::Function;
use cryptoki::error::{Error as Cause, RvError};
use cryptoki::object::{Attribute, AttributeType, ObjectHandle};
use cryptoki::session::SessionState;
use zeroize::{Zeroize, Zeroizing};

impl Session<'_> {
    /// The objects that match, each once.
    pub(crate) fn find(&self, template: &[Attribute]) -> Result<Vec<ObjectHandle>> {
        let template = template.to_vec();
        let login_required = self.pool.info().login_required;
        self.read_objects("search the token", "C_FindObjects", move |inside| {
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
        self.read_objects("read a key's attributes", "C_GetAttributeValue", move |inside| {
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

    /// Makes a token object of a secret value, which is wiped here.
    pub(crate) fn create_secret_object(&self, template: Vec<Attribute>) -> Result<ObjectHandle> {
        let template = Wiped(template);
        self.write("pass a key to the token", "C_CreateObject", move |inside| inside.raw.create_object(&template.0))
    }

    /// Makes a token object of another object, with these attributes changed.
    pub(crate) fn copy_object(&self, object: ObjectHandle, changes: Vec<Attribute>) -> Result<ObjectHandle> {
        self.write("copy an object on the token", "C_CopyObject", move |inside| {
            inside.raw.copy_object(object, &changes)
        })
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

    /// Encrypts one block of zeros with AES: what check values are the beginning of.
    pub(crate) fn encrypt_zeros(&self, key: ObjectHandle) -> Result<Vec<u8>> {
        self.read("compute a check value on the token", "C_Encrypt", move |inside| {
            Mechanism::AesEcb.with(inside.key_wrap, |mechanism| inside.raw.encrypt(mechanism, key, &[0; 16]))
        })
    }

    /// Whether the token chooses the IVs of AES-GCM: none need be made for it.
    pub(crate) fn chooses_iv(&self) -> bool {
        self.pool.profile.quirks.iv == Iv::Tokens
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

    /// Unwraps what AES-KW wrapped into an object that lives as long as this session.
    pub(crate) fn unwrap_key(
        &self,
        mechanism: Mechanism,
        unwrapping_key: ObjectHandle,
        wrapped: &[u8],
        template: Vec<Attribute>,
    ) -> Result<ObjectHandle> {
        // RFC 3394 added one block of 8 bytes.
        let len = wrapped.len().saturating_sub(8) as u64;
        self.unwrap_session_key(mechanism, unwrapping_key, wrapped, template, len)
    }

    /// Unwraps a key of `len` bytes into an object that lives as long as this session.
    pub(crate) fn unwrap_session_key(
        &self,
        mechanism: Mechanism,
        unwrapping_key: ObjectHandle,
        wrapped: &[u8],
        template: Vec<Attribute>,
        len: u64,
    ) -> Result<ObjectHandle> {
        let unwrap = self.unwrapping(mechanism, unwrapping_key, wrapped, template, len);
        self.read("unwrap on the token", "C_UnwrapKey", unwrap)
    }

    /// Unwraps a key of `len` bytes into a token object.
    pub(crate) fn unwrap_token_key(
        &self,
        mechanism: Mechanism,
        unwrapping_key: ObjectHandle,
        wrapped: &[u8],
        template: Vec<Attribute>,
        len: u64,
    ) -> Result<ObjectHandle> {
        let unwrap = self.unwrapping(mechanism, unwrapping_key, wrapped, template, len);
        self.write("unwrap a key on the token", "C_UnwrapKey", unwrap)
    }

    /// The call that unwraps a key of `len` bytes.
    fn unwrapping(
        &self,
        mut mechanism: Mechanism,
        unwrapping_key: ObjectHandle,
        wrapped: &[u8],
        mut template: Vec<Attribute>,
        len: u64,
    ) -> impl FnOnce(&Inside<'_>) -> Result<ObjectHandle, Cause> + Send + use<> {
        let wrapped = wrapped.to_vec();
        if self.pool.profile.quirks.unwrap_wants_length {
            template.push(Attribute::ValueLen(len.into()));
        }
        move |inside| {
            mechanism.with(inside.key_wrap, |mechanism| {
                inside.raw.unwrap_key(mechanism, unwrapping_key, &wrapped, &template)
            })
        }
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
