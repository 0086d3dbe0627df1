//! The least that encrypting one small file on a token can take: loads the module, logs in, wraps
//! one data key, writes it and syncs. `benches/files` compares the command line with it.
//! Run: `softhsm/with sh -c 'keyward key create bench && bare OUT'`.
#![allow(missing_docs, reason = "a benchmark")]

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::{Mechanism, aead::GcmParams};
use cryptoki::object::{Attribute, ObjectClass};
use cryptoki::session::UserType;
use cryptoki::types::AuthPin;
use std::io::Write;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let out = std::env::args_os().nth(1).ok_or("usage: bare OUT")?;
    let directory = std::env::var("KEYWARD_TEST_DIR")?;
    let pin = std::fs::read_to_string(format!("{directory}/pin"))?;
    let pkcs11 = Pkcs11::new(std::env::var("KEYWARD_TEST_MODULE")?)?;
    pkcs11.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))?;
    let slots = pkcs11.get_slots_with_token()?;
    let is_ours = |slot: &_| pkcs11.get_token_info(*slot).is_ok_and(|info| info.label() == "keyward");
    let slot = slots.into_iter().find(is_ours).ok_or("no token")?;
    let session = pkcs11.open_ro_session(slot)?;
    session.login(UserType::User, Some(&AuthPin::from(pin)))?;
    let template = [Attribute::Class(ObjectClass::SECRET_KEY), Attribute::Label(b"bench:1".to_vec())];
    let key = *session.find_objects(&template)?.first().ok_or("no key")?;
    let (mut data_key, mut iv) = ([0; 32], [0; 12]);
    session.generate_random_slice(&mut data_key)?;
    session.generate_random_slice(&mut iv)?;
    let params = GcmParams::new(&mut iv, &[7; 66], 128.into())?;
    let wrapped = session.encrypt(&Mechanism::AesGcm(params), key, &data_key)?;
    let mut file = std::fs::File::create(out)?;
    file.write_all(&wrapped)?;
    file.write_all(&[7; 1024])?;
    file.sync_all()?;
    Ok(())
}
