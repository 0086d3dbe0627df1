//! Keeps a note under a key of the token that KEYWARD_TOKEN names, and prints it.

use keyward::hsm::HsmProvider;
use keyward::token::Token;
use keyward::{AlgorithmChoice, ErrorKind, KeyAdmin, KeyName};
use keyward_linked::Notes;
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let uri = std::env::var("KEYWARD_TOKEN")?.parse()?;
    let hsm = HsmProvider::new(Token::open(&uri)?);
    let key: KeyName = "notes".parse()?;
    match hsm.create_key(&key, AlgorithmChoice::Auto) {
        Err(error) if error.kind() != ErrorKind::KeyExists => return Err(error.into()),
        _ => {}
    }
    let mut notes = Notes::new(hsm, key);
    notes.put("greeting", "hello from the token")?;
    println!("{}", notes.get("greeting")?.ok_or("the note is gone")?);
    Ok(())
}
