//! What an attacker or another tool does to a token: `cryptoki` directly, past the provider.

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::object::{Attribute, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use keyward::testkit::SoftToken;

/// A session on the token with this label.
pub(crate) fn session(label: &str) -> Session {
    let pkcs11 = Pkcs11::new(SoftToken::module_path()).unwrap();
    // In a process that has the module already, this says so.
    let _ = pkcs11.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK));
    // SoftHSM may add a slot while it lists, which no other thread may do meanwhile: that of the library takes the lock.
    let slots = {
        let _lock = lock();
        pkcs11.get_slots_with_token().unwrap()
    };
    let is_it = |slot: &&_| pkcs11.get_token_info(**slot).is_ok_and(|info| info.label() == label);
    let slot = slots.iter().find(is_it).expect("the token");
    pkcs11.open_rw_session(*slot).unwrap()
}

/// The lock by which programs of Keyward take turns with SoftHSM, made by the token of the test.
fn lock() -> std::fs::File {
    let conf = std::env::var_os("SOFTHSM2_CONF").unwrap();
    let tokens = keyward::token::softhsm_directory(conf.as_ref()).unwrap();
    let lock = std::fs::File::open(tokens.join("keyward.lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    lock
}

/// The same, logged in: the login is the process's, so one may be there.
pub(crate) fn logged_in(token: &SoftToken) -> Session {
    let session = session(token.uri().token().unwrap());
    let _ = session.login(UserType::User, Some(&AuthPin::from("test-user-pin")));
    session
}

/// An AES key as another tool might make it; what `more` says goes before.
pub(crate) fn generate(session: &Session, label: &str, id: &[u8], more: &[Attribute]) -> ObjectHandle {
    let defaults = [
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Encrypt(true),
        Attribute::Decrypt(true),
        Attribute::Wrap(false),
        Attribute::Unwrap(false),
        Attribute::Sign(false),
        Attribute::Derive(false),
        Attribute::ValueLen(32.into()),
        Attribute::Label(label.as_bytes().to_vec()),
        Attribute::Id(id.to_vec()),
    ];
    let mut template = more.to_vec();
    for default in defaults {
        let given = |one: &Attribute| std::mem::discriminant(one) == std::mem::discriminant(&default);
        if !more.iter().any(given) {
            template.push(default);
        }
    }
    session.generate_key(&cryptoki::mechanism::Mechanism::AesKeyGen, &template).unwrap()
}

/// The private key objects of this label.
pub(crate) fn find(session: &Session, label: &str) -> Vec<ObjectHandle> {
    let template =
        [Attribute::Class(ObjectClass::SECRET_KEY), Attribute::KeyType(KeyType::AES), Attribute::Label(label.into())];
    objects(session, &template)
}

/// The objects that match, each once: behind the module that injects faults everything may be found twice.
pub(crate) fn objects(session: &Session, template: &[Attribute]) -> Vec<ObjectHandle> {
    let mut found = session.find_objects(template).unwrap();
    found.sort_by_key(ObjectHandle::handle);
    found.dedup();
    found
}
