//! Siblings on real tokens.

use super::*;
use keyward::hsm::HsmProvider;
use keyward::key::VersionReuse;
use keyward::testkit::SoftToken;
use keyward::token::{Token, TokenUri};
use keyward::{DataKeyLength, Decryptor, Encryptor, KeyProvider, KeyRef, WrappedKeys, WrappingAlgorithm};

type Hsm = Arc<Switch<HsmProvider>>;

fn on_tokens(tokens: &[SoftToken], provider: impl Fn(HsmProvider) -> HsmProvider) -> (Vec<Hsm>, Failover<Hsm>) {
    let switches: Vec<_> = tokens.iter().map(|token| Arc::new(Switch::new(provider(token.provider())))).collect();
    let failover = Failover::siblings(members(&switches)).unwrap();
    (switches, failover)
}

fn two_tokens() -> [SoftToken; 2] {
    [SoftToken::new(), SoftToken::new()]
}

#[test]
fn an_envelope_written_to_both_opens_with_either_alone() {
    let tokens = two_tokens();
    let (switches, failover) = on_tokens(&tokens, |hsm| hsm);
    failover.create_key(&key(), AlgorithmChoice::Auto).unwrap();
    let sealed = Encryptor::new(&failover, &key()).context(context()).encrypt(b"hello").unwrap();
    for token in &tokens {
        let alone = token.provider();
        assert_eq!(Decryptor::new(&alone).context(context()).decrypt(&sealed).unwrap(), b"hello");
    }
    for down in 0..2 {
        switches[down].off();
        for _ in 0..2 {
            assert_eq!(Decryptor::new(&failover).context(context()).decrypt(&sealed).unwrap(), b"hello");
        }
        // Written by the other alone; it opens when the first is back, too.
        let sealed = Encryptor::new(&failover, &key()).context(context()).encrypt(b"alone").unwrap();
        switches[down].on();
        wait_until_all_are_up(&failover);
        assert_eq!(Decryptor::new(&failover).context(context()).decrypt(&sealed).unwrap(), b"alone");
        let alone = tokens[1 - down].provider();
        assert_eq!(Decryptor::new(&alone).context(context()).decrypt(&sealed).unwrap(), b"alone");
        assert_kind(
            Decryptor::new(&tokens[down].provider()).context(context()).decrypt(&sealed),
            ErrorKind::KeyNotFound,
        );
    }
}

#[test]
fn keys_live_and_die_on_both() {
    let tokens = two_tokens();
    let (_, failover) = on_tokens(&tokens, |hsm| hsm);
    let made = failover.create_key(&key(), AlgorithmChoice::Auto).unwrap();
    assert_kind(failover.create_key(&key(), AlgorithmChoice::Auto), ErrorKind::KeyExists);
    let (data_key, wrapped) = failover.generate_data_key(&key(), &context(), DataKeyLength::Bytes32).unwrap();
    assert_eq!(failover.rotate_key(&key(), None).unwrap().version.get(), 2);
    let moved = failover.rewrap_data_key(&wrapped, &context(), &key(), keyward::Origin::Unverified).unwrap();
    failover.disable_key(&key(), made.version).unwrap();
    assert_kind(failover.unwrap_data_key(&wrapped, &context()), ErrorKind::KeyState);
    failover.destroy_key(&key(), made.version, VersionReuse::Refuse).unwrap();
    assert_kind(failover.unwrap_data_key(&wrapped, &context()), ErrorKind::KeyNotFound);
    for (token, one) in tokens.iter().zip(&moved) {
        let alone = token.provider();
        assert_eq!(alone.list_keys().unwrap().len(), 1);
        let one = WrappedKeys::from(one.clone());
        assert_same(&alone.unwrap_data_key(&one, &context()).unwrap(), &data_key);
    }
}

/// The keys "rsa" and "aes" on all siblings, and "mixed", which is RSA on the first token and AES on
/// the second.
fn with_rsa(tokens: &[SoftToken; 2], provider: impl Fn(HsmProvider) -> HsmProvider) -> (Vec<Hsm>, Failover<Hsm>) {
    let all = ["rsa", "other-rsa", "aes", "mixed"].map(name);
    let (switches, failover) = on_tokens(tokens, |hsm| provider(hsm.only(all.clone())));
    let rsa = AlgorithmChoice::Exactly(WrappingAlgorithm::RsaOaepSha1);
    failover.create_key(&name("rsa"), rsa).unwrap();
    failover.create_key(&name("other-rsa"), rsa).unwrap();
    failover.create_key(&name("aes"), AlgorithmChoice::Auto).unwrap();
    switches[0].inner().create_key(&name("mixed"), rsa).unwrap();
    switches[1].inner().create_key(&name("mixed"), AlgorithmChoice::Auto).unwrap();
    (switches, failover)
}

#[test]
fn what_came_through_rsa_moves_under_no_symmetric_key() {
    let tokens = two_tokens();
    let (switches, failover) = with_rsa(&tokens, |hsm| hsm);
    let rewrap = |wrapped: &WrappedKeys, to: &str| {
        failover.rewrap_data_key(wrapped, &context(), &name(to), keyward::Origin::Unverified)
    };
    let (data_key, through_rsa) = failover.generate_data_key(&name("rsa"), &context(), DataKeyLength::Bytes32).unwrap();
    assert!(through_rsa.iter().all(|one| one.algorithm() == WrappingAlgorithm::RsaOaepSha1));

    assert_kind(rewrap(&through_rsa, "aes"), ErrorKind::OriginUnverified);
    rewrap(&through_rsa, "other-rsa").unwrap();
    for switch in &switches {
        switch.off();
        assert_kind(rewrap(&through_rsa, "aes"), ErrorKind::OriginUnverified);
        rewrap(&through_rsa, "other-rsa").unwrap();
        switch.on();
        failover.probe();
    }
    // Nor by the detour over a token where the target is an RSA key, in either order.
    assert_kind(rewrap(&through_rsa, "mixed"), ErrorKind::OriginUnverified);
    let reversed = Failover::siblings(switches.iter().rev().map(|hsm| Member::new("m", Arc::clone(hsm)))).unwrap();
    assert_kind(
        reversed.rewrap_data_key(&through_rsa, &context(), &name("mixed"), keyward::Origin::Unverified),
        ErrorKind::OriginUnverified,
    );

    // From a symmetric key it may go anywhere, and there it is the same data key.
    let through_aes = failover.wrap_data_key(&name("aes"), &context(), &data_key).unwrap();
    for to in ["rsa", "mixed", "aes"] {
        let moved = rewrap(&through_aes, to).unwrap();
        for (switch, one) in switches.iter().zip(&moved) {
            let one = WrappedKeys::from(one.clone());
            assert_same(&switch.inner().unwrap_data_key(&one, &context()).unwrap(), &data_key);
        }
    }
    // With both, the symmetric one is the source, wherever it stands and whoever has it.
    let rsa = through_rsa.iter().next().unwrap().clone();
    let aes = through_aes.iter().nth(1).unwrap().clone();
    for both in [[rsa.clone(), aes.clone()], [aes, rsa]] {
        let both = WrappedKeys::new(both.to_vec()).unwrap();
        assert_eq!(rewrap(&both, "aes").unwrap().iter().count(), 2);
        assert_eq!(rewrap(&both, "mixed").unwrap().iter().count(), 2);
    }
}

#[test]
fn who_asserts_the_origin_may_move_it() {
    let tokens = two_tokens();
    let (_, failover) = with_rsa(&tokens, |hsm| hsm);
    let (data_key, through_rsa) = failover.generate_data_key(&name("rsa"), &context(), DataKeyLength::Bytes32).unwrap();
    let asserted = keyward::Origin::DangerAsserted;
    let moved = failover.rewrap_data_key(&through_rsa, &context(), &name("aes"), asserted).unwrap();
    for (token, one) in tokens.iter().zip(&moved) {
        assert!(!one.algorithm().is_rsa());
        let one = WrappedKeys::from(one.clone());
        assert_same(&token.provider().unwrap_data_key(&one, &context()).unwrap(), &data_key);
    }
}

#[test]
fn an_rsa_key_that_may_only_protect_is_a_target() {
    // Not named, so it recovers nothing; the data key comes from where it came from.
    let tokens = two_tokens();
    let (_, named) = with_rsa(&tokens, |hsm| hsm);
    let (_, unnamed) = on_tokens(&tokens, |hsm| hsm);
    let (data_key, through_aes) = unnamed.generate_data_key(&name("aes"), &context(), DataKeyLength::Bytes32).unwrap();
    let moved = unnamed.rewrap_data_key(&through_aes, &context(), &name("rsa"), keyward::Origin::Unverified).unwrap();
    assert_kind(unnamed.unwrap_data_key(&moved, &context()), ErrorKind::KeyNotFound);
    for one in &moved {
        assert!(one.algorithm().is_rsa());
        assert_same(&named.unwrap_data_key(&one.clone().into(), &context()).unwrap(), &data_key);
    }
    assert_eq!(moved.iter().count(), 2);
}

#[test]
fn a_public_half_is_that_of_the_first() {
    let tokens = two_tokens();
    let (switches, failover) = with_rsa(&tokens, |hsm| hsm);
    for (down, answers) in [(None, 0), (Some(0), 1)] {
        down.inspect(|down: &usize| switches[*down].off());
        let id = switches[answers].inner().describe_key(KeyRef::Name(&name("rsa"))).unwrap().kek_id;
        let expected = format!("kek-id: {id}");
        assert!(failover.public_key(&name("rsa")).unwrap().to_text().unwrap().contains(&expected));
    }
}

#[test]
fn a_token_that_is_not_there_at_the_start_stops_nobody() {
    let there = SoftToken::new();
    there.provider().create_key(&key(), AlgorithmChoice::Auto).unwrap();
    let open = || {
        let uri: TokenUri = "pkcs11:token=gone".parse()?;
        Ok(HsmProvider::new(Token::open(&uri.or_module_path(Some(SoftToken::module_path())))?))
    };
    let failover = Failover::siblings([Member::opening("gone", open), Member::new("there", there.provider())]).unwrap();
    let sealed = Encryptor::new(&failover, &key()).encrypt(b"hello").unwrap();
    assert_eq!(Decryptor::new(&failover).decrypt(&sealed).unwrap(), b"hello");
    let health = failover.health();
    assert_eq!((health[0].available, health[1].available), (false, true));
    assert!(health[0].last_error.as_ref().unwrap().contains("gone"), "{health:?}");
}
