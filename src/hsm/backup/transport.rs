//! The transport key: an RSA pair on the token that a key is to come to. Others wrap under its public half, and
//! its private half, which can do nothing but unwrap, never leaves.

use super::super::template;
use super::super::wrap::SessionObject;
use super::TRANSPORT_LABEL;
use crate::error::{Error, ErrorKind, Result};
use crate::key::{KekId, PublicKey, WrappingAlgorithm};
use crate::token::{
    Attribute, AttributeType, Attributes, KeyType, Mechanism, OaepHash, ObjectClass, ObjectHandle, Repeat, Session,
    Token,
};
use rsa::pkcs8::{EncodePublicKey, LineEnding};
use rsa::traits::PublicKeyParts;
use rsa::{BoxedUint, Oaep, PublicKey as RsaPublicKey};
use sha2::{Digest, Sha256};
use std::fmt;
use zeroize::Zeroizing;

/// A transport key on its token.
///
/// People compare its [fingerprint](TransportPublicKey::fingerprint) before anything is wrapped under it.
#[derive(Clone, Debug)]
pub struct TransportKey {
    token: Token,
    id: KekId,
    public: TransportPublicKey,
}

/// The public half of a transport key.
#[derive(Clone, PartialEq, Eq)]
pub struct TransportPublicKey {
    modulus: Vec<u8>,
    exponent: Vec<u8>,
    key: RsaPublicKey,
    /// The hashes with which its token unwraps what OAEP wrapped, the better first.
    hashes: Vec<OaepHash>,
}

impl TransportKey {
    /// Makes a transport key with this id, or finds the one that an earlier call made.
    ///
    /// ```no_run
    /// # let backup: keyward::hsm::HsmProvider = unimplemented!();
    /// use keyward::{KekId, hsm::backup::TransportKey};
    /// let transport = TransportKey::create(backup.token(), KekId::from_bytes([9; 16]))?;
    /// println!("{}", transport.public().fingerprint()?);
    /// # Ok::<(), keyward::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Unsupported` where the token has no RSA-OAEP for keys; `KeyAttributes` where it does not protect the key as
    /// it was told to; `DuplicateKey` where several have the id; and those of the token.
    pub fn create(token: &Token, id: KekId) -> Result<Self> {
        if !token.capabilities().rsa_oaep {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "the token has no RSA-OAEP, under which a key could come to it",
            ));
        }
        let public = token.run(Repeat::Never, |session| {
            let handle = match find(session, id)? {
                Some(handle) => handle,
                None => generate(session, id, true)?,
            };
            TransportPublicKey::of(session, handle)
        })?;
        Ok(Self { token: token.clone(), id, public })
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> KekId {
        self.id
    }

    /// Its public half.
    #[must_use]
    pub fn public(&self) -> &TransportPublicKey {
        &self.public
    }

    /// Of the two ways of RSA-OAEP, the one with SHA-256 or SHA-1 that `algorithm` names, and no other.
    ///
    /// # Errors
    /// `Unsupported` where its token does not unwrap keys that way; `InvalidArgument` where the algorithm is no RSA-OAEP.
    pub fn only(mut self, algorithm: WrappingAlgorithm) -> Result<Self> {
        let hash = match algorithm {
            WrappingAlgorithm::RsaOaep => OaepHash::Sha256,
            WrappingAlgorithm::RsaOaepSha1 => OaepHash::Sha1,
            _ => {
                return Err(Error::new(ErrorKind::InvalidArgument, format!("{algorithm} exports no key")));
            }
        };
        self.public.hashes.retain(|own| *own == hash);
        match self.public.hashes.is_empty() {
            true => Err(Error::new(
                ErrorKind::Unsupported,
                format!("the token '{}' does not unwrap keys with {algorithm}", self.token.info().label),
            )),
            false => Ok(self),
        }
    }

    /// Destroys it. One that is gone already is no error.
    ///
    /// # Errors
    /// `TokenUnavailable` where the token shows it afterwards, and those of the token.
    pub fn destroy(self) -> Result<()> {
        Self::remove(&self.token, self.id)
    }

    /// The same for one of which the id alone is known.
    ///
    /// # Errors
    /// As [`destroy`](Self::destroy).
    pub fn remove(token: &Token, id: KekId) -> Result<()> {
        token.run(Repeat::Never, |session| {
            if let Some(handle) = find(session, id)? {
                session.destroy_object(handle)?;
            }
            match find(session, id)? {
                None => Ok(()),
                Some(_) => Err(Error::new(ErrorKind::TokenUnavailable, "the token still shows the transport key")),
            }
        })
    }

    /// Whether it is a key of this token.
    pub(super) fn is_on(&self, token: &Token) -> bool {
        self.token.info().serial == token.info().serial && self.token.info().model == token.info().model
    }

    /// Its private half.
    pub(super) fn handle(&self, session: &Session<'_>) -> Result<ObjectHandle> {
        find(session, self.id)?.ok_or_else(|| Error::new(ErrorKind::KeyNotFound, "the transport key is gone"))
    }
}

/// Makes a pair that is an object of the token, or ends with the session; its private half.
pub(super) fn generate(session: &Session<'_>, id: KekId, of_token: bool) -> Result<ObjectHandle> {
    let private = vec![
        Attribute::Class(ObjectClass::PRIVATE_KEY),
        Attribute::KeyType(KeyType::RSA),
        Attribute::Token(of_token),
        Attribute::Private(true),
        Attribute::Label(TRANSPORT_LABEL.as_bytes().to_vec()),
        Attribute::Id(id.as_bytes().to_vec()),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Unwrap(true),
        // One that can decrypt would give away what was wrapped under it.
        Attribute::Decrypt(false),
        Attribute::Sign(false),
        Attribute::Derive(false),
    ];
    let public = template::new_public_key();
    let (public, private) = session.generate_key_pair(Mechanism::RsaKeyPairGen, public, private)?;
    session.destroy_session_object(public);
    Ok(private)
}

fn find(session: &Session<'_>, id: KekId) -> Result<Option<ObjectHandle>> {
    let found = session.find(&[
        Attribute::Class(ObjectClass::PRIVATE_KEY),
        Attribute::KeyType(KeyType::RSA),
        Attribute::Token(true),
        // Whoever has no PIN can plant a public one.
        Attribute::Private(true),
        Attribute::Label(TRANSPORT_LABEL.as_bytes().to_vec()),
        Attribute::Id(id.as_bytes().to_vec()),
    ])?;
    match found[..] {
        [] => Ok(None),
        [one] => Ok(Some(one)),
        _ => Err(Error::new(ErrorKind::DuplicateKey, format!("several transport keys have the id {id}"))),
    }
}

/// What its token must say of the private half, or nothing is wrapped for it.
const REQUIRED: [(AttributeType, bool, &str); 7] = [
    (AttributeType::Sensitive, true, "CKA_SENSITIVE"),
    (AttributeType::Extractable, false, "CKA_EXTRACTABLE"),
    (AttributeType::AlwaysSensitive, true, "CKA_ALWAYS_SENSITIVE"),
    (AttributeType::NeverExtractable, true, "CKA_NEVER_EXTRACTABLE"),
    (AttributeType::Local, true, "CKA_LOCAL"),
    (AttributeType::Unwrap, true, "CKA_UNWRAP"),
    (AttributeType::Decrypt, false, "CKA_DECRYPT"),
];

impl TransportPublicKey {
    /// The public half, from the private object: public objects on a token are never trusted.
    pub(super) fn of(session: &Session<'_>, private: ObjectHandle) -> Result<Self> {
        let mut types = REQUIRED.map(|(of, _, _)| of).to_vec();
        types.extend([AttributeType::Modulus, AttributeType::PublicExponent]);
        let gone = || Error::new(ErrorKind::KeyNotFound, "the transport key is gone");
        let shown = session.attributes(private, &types)?.ok_or_else(gone)?;
        for (of, wanted, name) in REQUIRED {
            if shown.get(of).and_then(Attributes::as_flag) != Some(wanted) {
                return Err(unfit(format!("{name} is not {wanted}")));
            }
        }
        let part = |of| shown.bytes(of).map(<[u8]>::to_vec);
        let (Some(modulus), Some(exponent)) = (part(Attribute::Modulus), part(Attribute::PublicExponent)) else {
            return Err(unfit("its modulus or public exponent cannot be read"));
        };
        let limits = PublicKey::MIN_MODULUS_BITS as usize..=16384;
        let of_slice = BoxedUint::from_be_slice_vartime;
        let key = RsaPublicKey::new_with_size_limits(of_slice(&modulus), of_slice(&exponent), limits)
            .map_err(|error| unfit("it is no RSA key of 3072 bits or more").with_source(error))?;
        let mut public = Self { modulus, exponent, key, hashes: Vec::new() };
        // Which hashes its token takes shows in use only.
        for hash in [OaepHash::Sha256, OaepHash::Sha1] {
            let mut value = Zeroizing::new([0; 32]);
            session.random(&mut *value)?;
            if unwraps(session, private, hash, &public.wrap(&*value, hash)?)? {
                public.hashes.push(hash);
            }
        }
        match public.hashes.is_empty() {
            true => Err(Error::new(ErrorKind::Unsupported, "the token does not unwrap keys with RSA-OAEP")),
            false => Ok(public),
        }
    }

    /// SHA-256 of the key's `SubjectPublicKeyInfo` in DER, in hexadecimal digits: what
    /// `openssl pkey -pubin -outform der | sha256sum` says of its [PEM](Self::to_pem).
    ///
    /// # Errors
    /// `Internal` where the key cannot be encoded, which does not happen.
    pub fn fingerprint(&self) -> Result<String> {
        let der = self.key.to_public_key_der().map_err(encoding)?;
        Ok(Sha256::digest(der.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The key as a PEM block.
    ///
    /// # Errors
    /// `Internal` where the key cannot be encoded, which does not happen.
    pub fn to_pem(&self) -> Result<String> {
        self.key.to_public_key_pem(LineEnding::LF).map_err(encoding)
    }

    /// The hashes with which its token unwraps, the better first.
    pub(super) fn hashes(&self) -> &[OaepHash] {
        &self.hashes
    }

    pub(super) fn modulus_len(&self) -> usize {
        self.key.size()
    }

    /// The key as an object of a session on the token where something is to be wrapped under it.
    pub(super) fn on<'a, 'pool>(&self, session: &'a Session<'pool>) -> Result<SessionObject<'a, 'pool>> {
        let handle = session.create_session_object(vec![
            Attribute::Class(ObjectClass::PUBLIC_KEY),
            Attribute::KeyType(KeyType::RSA),
            Attribute::Token(false),
            Attribute::Private(false),
            Attribute::Label(TRANSPORT_LABEL.as_bytes().to_vec()),
            Attribute::Modulus(self.modulus.clone()),
            Attribute::PublicExponent(self.exponent.clone()),
            Attribute::Wrap(true),
            Attribute::Encrypt(false),
            Attribute::Verify(false),
        ])?;
        Ok(SessionObject { session, handle })
    }

    /// Wraps the value of a key on this host.
    pub(super) fn wrap(&self, value: &[u8], hash: OaepHash) -> Result<Vec<u8>> {
        let mut rng = rsa::rand_core::UnwrapErr(getrandom::SysRng);
        match hash {
            OaepHash::Sha256 => self.key.encrypt(&mut rng, Oaep::<Sha256>::new(), value),
            OaepHash::Sha1 => self.key.encrypt(&mut rng, Oaep::<sha1::Sha1>::new(), value),
        }
        .map_err(|error| Error::new(ErrorKind::Internal, "RSA-OAEP encryption failed").with_source(error))
    }
}

impl fmt::Debug for TransportPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TransportPublicKey({} bits)", self.key.n().bit_width())
    }
}

fn unwraps(session: &Session<'_>, private: ObjectHandle, hash: OaepHash, wrapped: &[u8]) -> Result<bool> {
    let template = vec![
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        Attribute::Token(false),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
    ];
    match session.unwrap_session_key(Mechanism::RsaOaep(hash), private, wrapped, template, 32) {
        Ok(handle) => {
            drop(SessionObject { session, handle });
            Ok(true)
        }
        Err(error) if matches!(error.kind(), ErrorKind::NotAuthentic | ErrorKind::Unsupported) => Ok(false),
        Err(error) => Err(error),
    }
}

fn unfit(what: impl fmt::Display) -> Error {
    Error::new(ErrorKind::KeyAttributes, format!("the transport key is refused: {what}"))
}

fn encoding(error: rsa::pkcs8::spki::Error) -> Error {
    Error::new(ErrorKind::Internal, "cannot encode the public key").with_source(error)
}
