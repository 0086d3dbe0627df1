"""Wrapping and unwrapping data keys on a PKCS#11 token."""

import hmac
import os
import re
from contextlib import contextmanager
from hashlib import sha256
from urllib.parse import unquote

import pkcs11
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from layout import AES_GCM, AES_KW, RSA_OAEP, RSA_OAEP_SHA1, Refused, Wrapped, bind, kek_id_of
from pkcs11 import MGF, Attribute, KeyType, Mechanism, ObjectClass
from pkcs11.mechanisms import GCMParams

OAEP = {
    RSA_OAEP: (hashes.SHA256, (Mechanism.SHA256, MGF.SHA256, None)),
    RSA_OAEP_SHA1: (hashes.SHA1, (Mechanism.SHA_1, MGF.SHA1, None)),
}


@contextmanager
def token_session(uri):
    """A session, logged in, on the token of a PKCS#11 URI with module-path and pin-source."""
    path, _, query = uri.removeprefix("pkcs11:").partition("?")
    parts = [part.split("=", 1) for part in path.split(";") + query.split("&") if part]
    uri = {name: unquote(value) for name, value in parts}
    with open(uri["pin-source"].removeprefix("file:")) as file:
        pin = file.read().rstrip("\n")
    token = pkcs11.lib(uri["module-path"]).get_token(token_label=uri["token"])
    with token.open(user_pin=pin) as session:
        yield session


def find_keks(session, algorithm, **attributes):
    if algorithm in OAEP:
        search = {Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.KEY_TYPE: KeyType.RSA}
    else:
        search = {Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.KEY_TYPE: KeyType.AES}
    search[Attribute.PRIVATE] = True
    search.update({Attribute[name.upper()]: value for name, value in attributes.items()})
    return list(session.get_objects(search))


def the_one(keys):
    if len(keys) != 1:
        raise Refused(f"{len(keys)} keys on the token fit, not one")
    key = keys[0]
    if not key[Attribute.SENSITIVE] or key[Attribute.EXTRACTABLE]:
        raise Refused("the key on the token is not protected")
    return key


def find_by_kek_id(session, algorithm, kek_id):
    exact = find_keks(session, algorithm, id=kek_id)
    if exact:
        return the_one(exact)
    return the_one([key for key in find_keks(session, algorithm) if key.id and kek_id_of(key.id) == kek_id])


def key_name(label):
    return re.sub(r":[1-9][0-9]*$", "", label)


def is_for(kek, algorithm):
    """Whether the key's usage on the token is the one that the algorithm needs, and no other."""
    allows = lambda *names: all(kek[Attribute[name]] for name in names)
    forbids = lambda *names: not any(kek[Attribute[name]] for name in names)
    if algorithm == AES_GCM:
        return allows("DECRYPT") and forbids("WRAP", "UNWRAP")
    if algorithm == AES_KW:
        return allows("UNWRAP") and forbids("ENCRYPT", "DECRYPT")
    return allows("DECRYPT") and forbids("UNWRAP", "SIGN")


SESSION_OBJECT = {
    Attribute.TOKEN: False,
    Attribute.PRIVATE: True,
    Attribute.SENSITIVE: False,
    Attribute.EXTRACTABLE: True,
}


def wrap(session, kek, algorithm, context, dek, occasion):
    kek_id = kek_id_of(kek.id)
    bound = bind(occasion, algorithm, kek_id, context)
    plaintext = dek + sha256(bound).digest()
    parameters = b""
    if algorithm == AES_GCM:
        parameters = os.urandom(12)
        ciphertext = kek.encrypt(dek, mechanism=Mechanism.AES_GCM, mechanism_param=GCMParams(parameters, bound))
    elif algorithm == AES_KW:
        secret = session.create_object(
            SESSION_OBJECT
            | {
                Attribute.CLASS: ObjectClass.SECRET_KEY,
                Attribute.KEY_TYPE: KeyType.GENERIC_SECRET,
                Attribute.VALUE: plaintext,
            }
        )
        try:
            ciphertext = kek.wrap_key(secret, mechanism=Mechanism.AES_KEY_WRAP)
        finally:
            secret.destroy()
    else:
        numbers = (kek[Attribute.PUBLIC_EXPONENT], kek[Attribute.MODULUS])
        public = rsa.RSAPublicNumbers(*(int.from_bytes(number, "big") for number in numbers)).public_key()
        digest = OAEP[algorithm][0]
        ciphertext = public.encrypt(plaintext, padding.OAEP(padding.MGF1(digest()), digest(), None))
    return Wrapped(occasion, algorithm, kek_id, parameters, ciphertext)


def unwrap(session, kek, wrapped, context):
    """The DEK, or None: every failure is one and the same."""
    bound = bind(wrapped.occasion, wrapped.algorithm, wrapped.kek_id, context)
    try:
        if wrapped.algorithm == AES_GCM:
            return kek.decrypt(
                wrapped.ciphertext,
                mechanism=Mechanism.AES_GCM,
                mechanism_param=GCMParams(wrapped.parameters, bound),
            )
        if wrapped.algorithm == AES_KW:
            secret = kek.unwrap_key(
                ObjectClass.SECRET_KEY,
                KeyType.GENERIC_SECRET,
                wrapped.ciphertext,
                mechanism=Mechanism.AES_KEY_WRAP,
                capabilities=0,
                template=SESSION_OBJECT,
            )
            try:
                plaintext = secret[Attribute.VALUE]
            finally:
                secret.destroy()
        else:
            plaintext = kek.decrypt(
                wrapped.ciphertext,
                mechanism=Mechanism.RSA_PKCS_OAEP,
                mechanism_param=OAEP[wrapped.algorithm][1],
            )
    except pkcs11.PKCS11Error:
        return None
    dek, digest = plaintext[:-32], plaintext[-32:]
    return dek if hmac.compare_digest(digest, sha256(bound).digest()) else None
