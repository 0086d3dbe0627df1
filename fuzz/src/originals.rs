//! Good envelopes, whose edits the fuzzer tries.

use keyward::envelope::{DetachedSlots, Opening};
use keyward::key::CustomerKey;
use keyward::testkit::MemoryProvider;
use keyward::{AlgorithmChoice, Decryptor, EncryptionContext, Encryptor, KeyAdmin, KeyName};
use std::io::Write;

/// An envelope and what is in it.
pub struct Original {
    pub envelope: Vec<u8>,
    pub slots: Option<DetachedSlots>,
    pub plaintext: Vec<u8>,
    pub context: EncryptionContext,
    pub is_customers: bool,
}

/// All of them, and the keys that open them.
pub struct Originals {
    pub provider: MemoryProvider,
    pub customer: CustomerKey,
    pub all: Vec<Original>,
    /// What opening each of them confirms.
    pub openings: Vec<Opening>,
}

/// The customer's key: always the same one, so that envelopes in the corpus open in every run.
pub const CUSTOMER_KEY: [u8; 32] = *b"the customer's key in fuzz tests";

impl Originals {
    /// New ones: the keys of the provider and all that is random in an envelope change from run to
    /// run, the layout does not, so a script of edits does the same again.
    pub fn new() -> keyward::Result<Self> {
        let provider = MemoryProvider::new();
        let [first, second]: [KeyName; 2] = ["first".parse()?, "second".parse()?];
        provider.create_key(&first, AlgorithmChoice::Auto)?;
        provider.create_key(&second, AlgorithmChoice::Auto)?;
        let customer = CustomerKey::from_slice(&CUSTOMER_KEY)?;
        let context = EncryptionContext::from_pairs([("tenant", "acme")])?;

        let one = || Encryptor::new(&provider, &first).slots_len(320).context(context.clone());
        let two = Encryptor::new(&provider, &first).also(&provider, &second);
        let own = Encryptor::with_customer_key(&customer).slots_len(321);
        // Three chunks; the last is short.
        let long: Vec<u8> = (0..33_000u32).map(|n| (n % 251) as u8).collect();
        let detached = Encryptor::new(&provider, &first);
        let compact = Encryptor::new(&provider, &first).also(&provider, &second).compact();
        let own_compact = Encryptor::with_customer_key(&customer).compact();

        let all = vec![
            Original::new(&one(), b"hello", &context, false)?,
            Original::new(&one(), b"world", &context, false)?,
            Original::new(&two, &long, &EncryptionContext::new(), false)?,
            Original::new(&own, b"theirs", &EncryptionContext::new(), true)?,
            Original::detached(&detached, b"apart")?,
            Original::new(&compact, b"a record", &EncryptionContext::new(), false)?,
            Original::new(&own_compact, b"their record", &EncryptionContext::new(), true)?,
        ];
        let mut originals = Self { provider, customer, all, openings: Vec::new() };
        let opening = |original: &Original| {
            let reader = originals.decryptor(original).reader(&original.envelope[..])?;
            Ok(reader.opening().clone())
        };
        originals.openings = originals.all.iter().map(opening).collect::<keyward::Result<_>>()?;
        Ok(originals)
    }

    /// What opens `original`, whatever the context.
    pub fn decryptor(&self, original: &Original) -> Decryptor<'_> {
        let decryptor = match original.is_customers {
            true => Decryptor::with_customer_key(&self.customer),
            false => Decryptor::new(&self.provider),
        };
        match &original.slots {
            Some(slots) => decryptor.any_context().detached_slots(slots.clone()),
            None => decryptor.any_context(),
        }
    }
}

impl Original {
    fn new(
        encryptor: &Encryptor<'_>,
        plaintext: &[u8],
        context: &EncryptionContext,
        is_customers: bool,
    ) -> keyward::Result<Self> {
        let envelope = encryptor.encrypt(plaintext)?;
        Ok(Self { envelope, slots: None, plaintext: plaintext.into(), context: context.clone(), is_customers })
    }

    fn detached(encryptor: &Encryptor<'_>, plaintext: &[u8]) -> keyward::Result<Self> {
        let (mut writer, slots) = encryptor.writer_detached(Vec::new())?;
        writer.write_all(plaintext).expect("memory takes all that is written");
        let context = EncryptionContext::new();
        let envelope = writer.finish()?;
        Ok(Self { envelope, slots: Some(slots), plaintext: plaintext.into(), context, is_customers: false })
    }
}
