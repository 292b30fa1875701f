use aws_lc_rs::digest::{SHA256, digest};
use palisade_keys::{ScramVerifier, Zeroizing};
use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};
use proptest::prelude::*;

use super::message::{ClientFinal, ClientFirst};
use super::*;

const END_POINT: [u8; 32] = [7; 32];
const TLS: Channel = Channel::Tls {
    end_point: END_POINT,
};
const NONCE: [u8; NONCE_BYTES] = [1; NONCE_BYTES];

fn mock() -> MockSecret {
    MockSecret::new(&Zeroizing::new([3; 32]))
}

fn secret(password: Option<&str>, may_log_in: bool) -> ScramSecret {
    let verifier = password.map(|text| ScramVerifier::derive(text, &[9; 16], 4096).unwrap());
    ScramSecret::new(&mock(), "alice", verifier.as_ref(), may_log_in).unwrap()
}

fn binding(channel: Channel) -> ChannelBinding {
    match channel {
        Channel::Plain => ChannelBinding::unsupported(),
        Channel::Tls { end_point } => ChannelBinding::tls_server_end_point(end_point.to_vec()),
    }
}

/// Runs the exchange against postgres-protocol's client.
fn login(
    channel: Channel,
    mechanism: &str,
    client_binding: ChannelBinding,
    password: &str,
    secret: ScramSecret,
) -> Result<PasswordProved, ScramError> {
    let mut client = ScramSha256::new(password.as_bytes(), client_binding);
    let offer = Offer::new(channel);
    let (next, challenge) = offer.first(mechanism, client.message(), secret, &NONCE)?;
    client.update(challenge.as_bytes()).unwrap();
    let (proof, last) = next.finish(client.message())?;
    client.finish(last.as_bytes()).unwrap();
    Ok(proof)
}

#[test]
fn the_right_password_is_proved_with_and_without_binding() {
    let good = || secret(Some("pencil"), true);
    let proof = login(TLS, SCRAM_PLUS, binding(TLS), "pencil", good()).unwrap();
    assert!(proof.is_bound());
    let none = ChannelBinding::unsupported();
    let proof = login(TLS, SCRAM, none, "pencil", good()).unwrap();
    assert!(!proof.is_bound());
    let none = ChannelBinding::unsupported();
    assert!(login(Channel::Plain, SCRAM, none, "pencil", good()).is_ok());
    let unrequested = ChannelBinding::unrequested();
    assert!(login(Channel::Plain, SCRAM, unrequested, "pencil", good()).is_ok());
}

#[test]
fn wrong_unknown_disabled_and_passwordless_fail_alike() {
    for secret in [
        secret(Some("pencil"), true),
        secret(None, true),
        secret(None, false),
    ] {
        let result = login(TLS, SCRAM_PLUS, binding(TLS), "wrong", secret);
        assert_eq!(result.unwrap_err(), ScramError::Wrong);
    }
    let disabled = secret(Some("pencil"), false);
    let result = login(TLS, SCRAM_PLUS, binding(TLS), "pencil", disabled);
    assert_eq!(result.unwrap_err(), ScramError::Wrong);
}

#[test]
fn a_made_up_salt_stays_the_same_and_is_each_users_own() {
    let challenge = |user: &str| {
        let secret = ScramSecret::new(&mock(), user, None, true).unwrap();
        let first = b"n,,n=,r=abc";
        Offer::new(TLS)
            .first(SCRAM, first, secret, &NONCE)
            .unwrap()
            .1
    };
    assert_eq!(challenge("alice"), challenge("alice"));
    assert_ne!(challenge("alice"), challenge("bob"));
    // As long as a real one, with the same rounds.
    let real = secret(Some("pencil"), true);
    let (_, real) = Offer::new(TLS)
        .first(SCRAM, b"n,,n=,r=abc", real, &NONCE)
        .unwrap();
    assert_eq!(real.len(), challenge("alice").len());
    assert!(real.ends_with(",i=4096") && challenge("alice").ends_with(",i=4096"));
}

#[test]
fn a_man_in_the_middle_is_noticed() {
    let other = ChannelBinding::tls_server_end_point(vec![8; 32]);
    let result = login(
        TLS,
        SCRAM_PLUS,
        other,
        "pencil",
        secret(Some("pencil"), true),
    );
    assert_eq!(result.unwrap_err(), ScramError::Binding);
    // The one between took PLUS out of the offer; the client says that it would have bound.
    let unrequested = ChannelBinding::unrequested();
    let result = login(
        TLS,
        SCRAM,
        unrequested,
        "pencil",
        secret(Some("pencil"), true),
    );
    assert_eq!(result.unwrap_err(), ScramError::Downgrade);
}

#[test]
fn mechanism_and_flag_must_agree() {
    let first = |channel, mechanism, flag: &str| {
        let message = format!("{flag},,n=,r=abc");
        let secret = secret(Some("pencil"), true);
        Offer::new(channel)
            .first(mechanism, message.as_bytes(), secret, &NONCE)
            .err()
    };
    let bound = "p=tls-server-end-point";
    assert_eq!(first(TLS, SCRAM_PLUS, bound), None);
    assert_eq!(first(TLS, SCRAM_PLUS, "n"), Some(ScramError::Flag));
    assert_eq!(first(TLS, SCRAM_PLUS, "y"), Some(ScramError::Flag));
    assert_eq!(first(TLS, SCRAM, bound), Some(ScramError::Flag));
    assert_eq!(first(Channel::Plain, SCRAM, bound), Some(ScramError::Flag));
    for mechanism in [SCRAM_PLUS, "scram-sha-256", "PLAIN", ""] {
        let error = Some(ScramError::Mechanism);
        assert_eq!(first(Channel::Plain, mechanism, "n"), error, "{mechanism}");
    }
    assert_eq!(
        first(TLS, SCRAM_PLUS, "p=tls-unique"),
        Some(ScramError::Unsupported)
    );
}

#[test]
fn only_the_offered_mechanisms_are_offered() {
    assert_eq!(Offer::new(Channel::Plain).mechanisms(), [SCRAM]);
    assert_eq!(Offer::new(TLS).mechanisms(), [SCRAM_PLUS, SCRAM]);
}

#[test]
fn a_proof_for_another_nonce_or_binding_is_refused() {
    let challenged = || {
        let secret = secret(Some("pencil"), true);
        Offer::new(TLS)
            .first(SCRAM, b"n,,n=,r=abc", secret, &NONCE)
            .unwrap()
            .0
    };
    let nonce = format!("abc{}", STANDARD.encode(NONCE));
    let proof = STANDARD.encode(digest(&SHA256, b"guess"));
    let last = |binding: &str, nonce: &str| {
        let message = format!("c={binding},r={nonce},p={proof}");
        challenged().finish(message.as_bytes()).unwrap_err()
    };
    assert_eq!(last("biws", &nonce), ScramError::Wrong);
    assert_eq!(last("biws", "abc"), ScramError::Nonce);
    assert_eq!(last("biws", &format!("{nonce}x")), ScramError::Nonce);
    assert_eq!(last("eSws", &nonce), ScramError::Binding);
    assert_eq!(last("", &nonce), ScramError::Binding);
}

#[test]
fn malformed_messages_are_refused() {
    for bad in [
        "",
        "n",
        "n,",
        "n,,",
        "x,,n=,r=a",
        "n,,r=a",
        "n,,n=",
        "n,,n=,r=",
        "n,,n=,r=a b",
        "n,,n=,r=a,",
        "n,,n=,r=a,x",
        "n,,n=,r=a,xx=1",
        "n,b,n=,r=a",
        "n,,n=,r=a\0",
        "n,,n=,r=\u{e9}",
        "p,,n=,r=a",
    ] {
        assert_eq!(
            ClientFirst::parse(bad.as_bytes()),
            Err(ScramError::Malformed),
            "{bad}"
        );
    }
    for unsupported in ["n,a=bob,n=,r=a", "n,,m=x,n=,r=a", "p=tls-exporter,,n=,r=a"] {
        let result = ClientFirst::parse(unsupported.as_bytes());
        assert_eq!(result, Err(ScramError::Unsupported), "{unsupported}");
    }
    let proof = STANDARD.encode([0; 32]);
    for bad in [
        String::new(),
        format!("c=biws,r=a,p={proof}="),
        format!("c=biws,r=a,p={}", STANDARD.encode([0; 31])),
        format!("c=biws,r=a,p={proof},x=y"),
        format!("r=a,c=biws,p={proof}"),
        format!("c=biws,p={proof}"),
        format!("c=biws,r=a,,p={proof}"),
        "c=biws,r=a".to_owned(),
    ] {
        assert!(ClientFinal::parse(bad.as_bytes()).is_err(), "{bad}");
    }
    assert!(ClientFinal::parse(format!("c=biws,r=a,x=y,p={proof}").as_bytes()).is_ok());
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..80), text in "[npyac=,r]{0,20}") {
        for message in [bytes.as_slice(), text.as_bytes()] {
            ClientFirst::parse(message).ok();
            ClientFinal::parse(message).err();
        }
    }

}

proptest! {
    // Each case derives two keys with 4096 rounds.
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn no_other_password_passes(password in "[a-z]{1,8}") {
        prop_assume!(password != "pencil");
        let result = login(TLS, SCRAM_PLUS, binding(TLS), &password, secret(Some("pencil"), true));
        prop_assert_eq!(result.unwrap_err(), ScramError::Wrong);
    }
}
