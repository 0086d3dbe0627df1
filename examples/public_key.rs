//! Encrypting on a host that has no token, only the public half of an RSA master key.
//! Run: `softhsm/with cargo run --features testkit --example public_key`.

use keyward::key::{PublicKey, PublicKeyProvider};
use keyward::testkit::SoftToken;
use keyward::{AlgorithmChoice, Decryptor, Encryptor, KeyAdmin, KeyName, WrappingAlgorithm};

fn main() -> keyward::Result<()> {
    let token = SoftToken::new();
    let key: KeyName = "uploads".parse()?;
    // RSA keys recover only when they are named. SoftHSM has OAEP with SHA-1 only; take `RsaOaep`
    // where the token can.
    let hsm = token.provider().only([key.clone()]);
    hsm.create_key(&key, AlgorithmChoice::Exactly(WrappingAlgorithm::RsaOaepSha1))?;

    // The operator hands out this text, and its fingerprint by another way.
    let text = hsm.public_key(&key)?.to_text()?;

    let public = PublicKey::parse(&text)?;
    assert_eq!(public.fingerprint()?, hsm.public_key(&key)?.fingerprint()?);
    println!("compare before trusting it: {}", public.fingerprint()?);
    let edge = PublicKeyProvider::new(public);
    let sealed = Encryptor::new(&edge, &key).encrypt(b"from the edge")?;

    // The host that wrote it cannot read it.
    let refused = Decryptor::new(&edge).decrypt(&sealed).expect_err("there is no private key here");
    println!("on the host without a token: {refused}");

    let opened = Decryptor::new(&hsm).decrypt(&sealed)?;
    assert_eq!(opened, b"from the edge");
    println!("opened with the token: {}", String::from_utf8_lossy(&opened));
    Ok(())
}
