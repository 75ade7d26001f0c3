//! Vectors of the specification and of another sender, and what must not pass.

use proptest::prelude::*;

use super::*;
use crate::entropy::SeededEntropy;

/// Secret, id, timestamp, body, signature. The first is from the specification's reference libraries, the second from the
/// documentation of a sender that follows them.
const VECTORS: [(&str, &str, i64, &str, &str); 2] = [
    (
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1_614_265_330,
        r#"{"test": 2432232314}"#,
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    ),
    (
        "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
        "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
        1_649_367_553,
        r#"{"email":"test@example.com","username":"test_user"}"#,
        "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
    ),
];

fn secret(seed: u64) -> SigningSecret {
    SigningSecret::generate(&SeededEntropy::new(seed))
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_secs(seconds)
}

#[test]
fn the_published_vectors_are_signed_and_verified() {
    for (text, id, timestamp, body, signature) in VECTORS {
        let secrets = [SigningSecret::parse(text).unwrap()];
        let message = Message { id, timestamp, body: &[body.as_bytes()] };
        assert_eq!(sign(&secrets, &message), signature, "of {id}");
        assert_eq!(verify(&secrets, &message, signature, at(timestamp + 299), TOLERANCE), Ok(()), "of {id}");
    }
}

#[test]
fn a_change_of_anything_that_is_signed_is_noticed() {
    let (text, id, timestamp, body, signature) = VECTORS[0];
    let secrets = [SigningSecret::parse(text).unwrap()];
    let other_id = id.replace("msg_p", "msg_q");
    let check = |secrets: &[SigningSecret], id, timestamp, body: &[u8], header: &str| {
        check_signature(secrets, &Message { id, timestamp, body: &[body] }, header)
    };
    assert_eq!(check(&secrets, id, timestamp, body.as_bytes(), signature), Ok(()));
    for at in 0..body.len() {
        let mut changed = body.as_bytes().to_vec();
        changed[at] ^= 1;
        let verdict = check(&secrets, id, timestamp, &changed, signature);
        assert_eq!(verdict, Err(VerifyFault::Mismatch), "byte {at} of the body may be changed");
    }
    let mismatch = Err(VerifyFault::Mismatch);
    assert_eq!(check(&secrets, &other_id, timestamp, body.as_bytes(), signature), mismatch, "another id");
    assert_eq!(check(&secrets, id, timestamp + 1, body.as_bytes(), signature), mismatch, "another time");
    assert_eq!(check(&[secret(1)], id, timestamp, body.as_bytes(), signature), mismatch, "another secret");
    assert_eq!(check(&[], id, timestamp, body.as_bytes(), signature), mismatch, "no secret at all");
    let short = &signature[..signature.len() - 4];
    assert_eq!(check(&secrets, id, timestamp, body.as_bytes(), short), mismatch, "the start of a signature");
}

#[test]
fn several_signatures_and_unknown_versions_are_borne() {
    let (text, id, timestamp, body, signature) = VECTORS[0];
    let secrets = [SigningSecret::parse(text).unwrap()];
    let message = Message { id, timestamp, body: &[body.as_bytes()] };
    let check = |header: &str| check_signature(&secrets, &message, header);
    let wrong = "v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let unpadded = signature.trim_end_matches('=');
    for header in [
        format!("{wrong} {signature}"),
        format!("v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw {signature} v2,x"),
        format!("{signature} v1,### {wrong}"),
        format!("{wrong}, {signature}, {wrong}"),
        unpadded.to_owned(),
    ] {
        assert_eq!(check(&header), Ok(()), "{header}");
    }
    let own = signature.trim_start_matches("v1,");
    for header in ["", " ", "v1", own, &format!("v2,{own}"), &format!("V1,{own}")] {
        assert_eq!(check(header), Err(VerifyFault::NoSignature), "{header:?}");
    }
    for header in ["v1,", "v1,,", "v1,###", wrong] {
        assert_eq!(check(header), Err(VerifyFault::Mismatch), "{header:?}");
    }
}

#[test]
fn a_message_is_good_five_minutes_before_and_after_its_time() {
    let check = |now| check_time(1_000_000, at(now), TOLERANCE);
    assert_eq!(check(1_000_300), Ok(()));
    assert_eq!(check(999_700), Ok(()));
    assert_eq!(check(1_000_301), Err(VerifyFault::TooOld { age_seconds: 301 }));
    assert_eq!(check(999_699), Err(VerifyFault::TooNew { ahead_seconds: 301 }));
    for timestamp in [i64::MIN, i64::MAX] {
        assert!(check_time(timestamp, at(1_000_000), TOLERANCE).is_err(), "{timestamp} was taken");
    }
    // Whoever is tolerant without end takes every time, and no sum overflows.
    assert_eq!(check_time(i64::MIN, at(0), Duration::MAX), Ok(()));
}

#[test]
fn a_message_is_signed_with_the_newest_secrets_first_and_at_most_five() {
    let secrets: Vec<SigningSecret> = (0..7).map(secret).collect();
    let message = Message { id: "evt_1", timestamp: 1, body: &[b"{}"] };
    let header = sign(&secrets, &message);
    let signatures: Vec<&str> = header.split(' ').collect();
    assert_eq!(signatures.len(), MAX_SECRETS);
    for (signature, secret) in signatures.iter().zip(&secrets) {
        assert_eq!(sign(std::slice::from_ref(secret), &message), *signature);
    }
    for (known, taken) in secrets.iter().zip([true, true, true, true, true, false, false]) {
        let verdict = check_signature(std::slice::from_ref(known), &message, &header);
        assert_eq!(verdict.is_ok(), taken, "five secrets sign, the others are over");
    }
    assert_eq!(sign(&[], &message), "");
}

#[test]
fn secrets_have_the_specifications_form_and_length() {
    let fresh = secret(3).text();
    assert_eq!((fresh.expose().len(), &fresh.expose()[..6]), (50, "whsec_"));
    for length in [24, 25, 26, 32, 63, 64] {
        let text = format!("whsec_{}", STANDARD.encode(vec![7; length]));
        let read = SigningSecret::parse(&text).unwrap();
        assert_eq!(read.text().expose(), text);
        let unpadded = SigningSecret::parse(text.trim_end_matches('=')).unwrap();
        assert_eq!(unpadded.text().expose(), text, "without padding");
    }
    let own = STANDARD.encode([7; 32]);
    let (short, long) = (STANDARD.encode([7; 23]), STANDARD.encode([7; 65]));
    for bad in ["", "whsec_", &own, &format!("whsk_{own}"), &format!("whsec_{short}"), &format!("whsec_{long}")] {
        assert!(SigningSecret::parse(bad).is_err(), "{bad:?} was taken");
    }
    let spaced = format!("whsec_{own}\n");
    let refused = SigningSecret::parse(&spaced).err().unwrap();
    assert!(!refused.0.contains(&own), "the refusal shows the secret");
}

proptest! {
    #[test]
    fn what_is_signed_in_pieces_verifies_whole_and_changed_it_does_not(
        key in proptest::collection::vec(any::<u8>(), SECRET_BYTES),
        id in "[a-zA-Z0-9_-]{1,64}",
        timestamp in any::<u32>(),
        body in proptest::collection::vec(any::<u8>(), 1..300),
        (split, flipped) in (any::<proptest::sample::Index>(), any::<proptest::sample::Index>()),
    ) {
        let secrets = [SigningSecret::parse(&format!("whsec_{}", STANDARD.encode(&key))).unwrap(), secret(9)];
        let timestamp = i64::from(timestamp);
        let (first, rest) = body.split_at(split.index(body.len()));
        let header = sign(&secrets, &Message { id: &id, timestamp, body: &[first, rest] });
        let whole = Message { id: &id, timestamp, body: &[&body] };
        prop_assert_eq!(verify(&secrets[..1], &whole, &header, at(timestamp), TOLERANCE), Ok(()));
        prop_assert_eq!(verify(&secrets[1..], &whole, &header, at(timestamp), TOLERANCE), Ok(()));
        let mut changed = body.clone();
        changed[flipped.index(body.len())] ^= 0x80;
        let changed = Message { body: &[&changed], ..whole };
        prop_assert_eq!(check_signature(&secrets, &changed, &header), Err(VerifyFault::Mismatch));
    }

    #[test]
    fn no_header_makes_the_check_panic_or_pass(header in "(v1,[A-Za-z0-9+/=]{0,60}[ ,]?|\\PC{0,20}){0,6}") {
        let message = Message { id: "evt_1", timestamp: 1, body: &[b"{}"] };
        prop_assert!(check_signature(&[secret(1)], &message, &header).is_err());
    }
}
