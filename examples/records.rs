//! Data keys for an application's own records: one data key per record, wrapped by the token and
//! stored with it. Run: `softhsm/with cargo run --features testkit --example records`.

use keyward::testkit::SoftToken;
use keyward::{AlgorithmChoice, DataKeyLength, EncryptionContext, KeyAdmin, KeyName, KeyProvider, WrappedKey};

fn main() -> keyward::Result<()> {
    // A program opens its token by URI: `HsmProvider::new(Token::open(&uri)?)`.
    let token = SoftToken::new();
    let hsm = token.provider();
    let key: KeyName = "customers".parse()?;
    hsm.create_key(&key, AlgorithmChoice::Auto)?;

    // What the record is goes into the context, so that one cannot be passed off as another.
    let context = EncryptionContext::from_pairs([("table", "customers"), ("row", "42")])?;
    let (data_key, wrapped) = hsm.generate_data_key(&key, &context, DataKeyLength::Bytes32)?;
    println!("encrypt the record with {data_key:?} and an AEAD of your choice");
    let stored: Vec<Vec<u8>> = wrapped.iter().map(WrappedKey::to_bytes).collect();
    drop(data_key);
    println!("store {} bytes of wrapped key beside it", stored[0].len());

    let wrapped = WrappedKey::parse(&stored[0])?.into();
    let data_key = hsm.unwrap_data_key(&wrapped, &context)?;
    println!("later: {data_key:?} is back");

    let other_row = EncryptionContext::from_pairs([("table", "customers"), ("row", "43")])?;
    let refused = hsm.unwrap_data_key(&wrapped, &other_row).map(drop);
    println!("for another row: {}", refused.expect_err("the context is bound"));
    Ok(())
}
