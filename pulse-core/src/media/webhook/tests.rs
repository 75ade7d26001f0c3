use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::media::recorded::{KEY, Recorded, nth, recorded, secret};

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

fn keys() -> WebhookKeys {
    WebhookKeys::new(vec![(KEY.to_owned(), secret())])
}

fn judge(webhook: &Recorded, now: Timestamp) -> Result<Verified, Refusal> {
    verify(&keys(), Some(webhook.authorization.as_bytes()), webhook.body.as_bytes(), now)
}

/// A token with these parts, signed with the right secret.
fn token(header: &Value, claims: &Value) -> String {
    signed(&secret(), header, claims)
}

fn signed(secret: &Secret, header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(header), part(claims));
    let signature = mac(secret, signed.as_bytes()).finalize().into_bytes();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn claims(body: &str) -> Value {
    claims_at(body.as_bytes(), NOW)
}

fn claims_at(body: &[u8], now: Timestamp) -> Value {
    let now = now.as_secs();
    json!({ "iss": KEY, "exp": now + 300, "nbf": now, "iat": now, "sha256": STANDARD.encode(Sha256::digest(body)) })
}

fn with(change: impl FnOnce(&mut Value)) -> Result<Verified, Refusal> {
    let mut claims = claims("{}");
    change(&mut claims);
    let token = token(&json!({ "alg": "HS256" }), &claims);
    verify(&keys(), Some(token.as_bytes()), b"{}", NOW)
}

#[test]
fn every_recorded_webhook_is_livekits() {
    let all = recorded();
    assert_eq!(all.len(), 51);
    for webhook in all {
        let verified =
            judge(&webhook, webhook.received_at).unwrap_or_else(|refusal| panic!("{}: {refusal}", webhook.name));
        assert!((0..2_000).contains(&verified.skew), "{} was {} ms under way", webhook.name, verified.skew);
    }
}

#[test]
fn a_recorded_webhook_with_one_byte_changed_is_not() {
    for webhook in recorded() {
        for at in [0, webhook.body.len() / 2, webhook.body.len() - 1] {
            let mut body = webhook.body.clone().into_bytes();
            body[at] ^= 1;
            let judged = verify(&keys(), Some(webhook.authorization.as_bytes()), &body, webhook.received_at);
            assert_eq!(judged, Err(Refusal::BodyMismatch), "{} with another byte {at}", webhook.name);
        }
        let mut longer = webhook.body.clone();
        longer.push(' ');
        let judged = judge(&Recorded { body: longer, ..webhook.clone() }, webhook.received_at);
        assert_eq!(judged, Err(Refusal::BodyMismatch));

        let signature = webhook.authorization.rfind('.').unwrap() + 1;
        let mut authorization = webhook.authorization.clone();
        let other = if &authorization[signature..=signature] == "A" { "B" } else { "A" };
        authorization.replace_range(signature..=signature, other);
        let judged = judge(&Recorded { authorization, ..webhook.clone() }, webhook.received_at);
        assert_eq!(judged, Err(Refusal::BadSignature), "{} with another signature", webhook.name);
    }
}

#[test]
fn the_key_is_chosen_among_several_and_may_have_two_secrets() {
    let webhook = nth(1);
    let judge_with = |pairs: &[(&str, &str)]| {
        let pairs = pairs.iter().map(|(name, secret)| ((*name).to_owned(), Secret::new(*secret))).collect();
        let authorization = Some(webhook.authorization.as_bytes());
        verify(&WebhookKeys::new(pairs), authorization, webhook.body.as_bytes(), webhook.received_at)
    };
    let right = crate::media::recorded::SECRET;
    assert!(judge_with(&[("APIother", "other"), (KEY, right)]).is_ok());
    assert!(judge_with(&[(KEY, "the secret before"), (KEY, right)]).is_ok());
    assert_eq!(judge_with(&[(KEY, "other")]), Err(Refusal::BadSignature));
    assert_eq!(judge_with(&[(KEY, "other"), ("APIother", right)]), Err(Refusal::BadSignature));
    assert_eq!(judge_with(&[("APIother", right)]), Err(Refusal::UnknownKey));
    assert_eq!(judge_with(&[]), Err(Refusal::UnknownKey));
}

#[test]
fn settings_that_are_not_set_let_nobody_in() {
    let keys = WebhookKeys::new(vec![(String::new(), Secret::new("")), (KEY.to_owned(), Secret::new(""))]);
    assert!(keys.is_empty());
    for name in ["", KEY] {
        let mut claims = claims("{}");
        claims["iss"] = json!(name);
        let forged = signed(&Secret::new(""), &json!({ "alg": "HS256" }), &claims);
        assert_eq!(verify(&keys, Some(forged.as_bytes()), b"{}", NOW), Err(Refusal::UnknownKey));
    }
}

#[test]
fn clocks_may_be_a_minute_apart_and_no_more() {
    let webhook = nth(7);
    let skew = judge(&webhook, webhook.received_at).unwrap().skew;
    let issued_at = (webhook.received_at.as_millis() - skew) / 1_000;
    let at = |seconds: i64| judge(&webhook, Timestamp::from_secs(issued_at + seconds)).map(|_| ());
    assert_eq!(at(300), Ok(()), "at its end");
    assert_eq!(at(359), Ok(()));
    assert_eq!(at(360), Ok(()), "a minute after its end");
    assert!(matches!(at(361), Err(Refusal::Expired { skew }) if skew > 360_000), "{:?}", at(361));
    assert_eq!(at(-60), Ok(()), "a minute early");
    assert!(matches!(at(-61), Err(Refusal::NotYetValid { skew }) if skew < -60_000), "{:?}", at(-61));
    let skew = |seconds: i64| judge(&webhook, Timestamp::from_secs(issued_at + seconds)).unwrap().skew;
    assert_eq!((skew(30), skew(-30)), (30_000, -30_000));
}

#[test]
fn only_a_bare_hs256_token_is_an_authorization() {
    let webhook = nth(1);
    let judged = |authorization: &[u8]| {
        verify(&keys(), Some(authorization), webhook.body.as_bytes(), webhook.received_at).map(|_| ())
    };
    let right = webhook.authorization.as_str();
    assert_eq!(judged(right.as_bytes()), Ok(()));
    assert_eq!(verify(&keys(), None, b"", NOW), Err(Refusal::MissingAuthorization));
    assert_eq!(judged(b""), Err(Refusal::MissingAuthorization));
    let malformed: [&[u8]; 9] = [
        format!("Bearer {right}").as_bytes(),
        format!(" {right}").as_bytes(),
        format!("{right}.").as_bytes(),
        format!("{right}=").as_bytes(),
        &[right.as_bytes(), &b"A".repeat(MAX_AUTHORIZATION_BYTES)].concat(),
        right.rsplit_once('.').unwrap().0.as_bytes(),
        b"garbage",
        b"..",
        &[0xff; 40],
    ]
    .map(|value| &*value.to_vec().leak());
    for authorization in malformed {
        assert_eq!(judged(authorization), Err(Refusal::Malformed), "{}", authorization.escape_ascii());
    }
}

#[test]
fn other_algorithms_are_refused_whatever_they_are_signed_with() {
    for header in [
        json!({ "alg": "none" }),
        json!({ "alg": "None" }),
        json!({ "alg": "RS256", "typ": "JWT" }),
        json!({ "alg": "HS384" }),
        json!({ "alg": "hs256" }),
        json!({ "alg": "HS256", "crit": ["b64"], "b64": false }),
        json!({ "typ": "JWT" }),
        json!(["HS256"]),
    ] {
        let signed = token(&header, &claims("{}"));
        assert_eq!(verify(&keys(), Some(signed.as_bytes()), b"{}", NOW), Err(Refusal::Malformed), "{header}");
        let unsigned = format!("{}.", signed.rsplit_once('.').unwrap().0);
        assert_eq!(verify(&keys(), Some(unsigned.as_bytes()), b"{}", NOW), Err(Refusal::Malformed), "{header}");
    }
    let unsigned = token(&json!({ "alg": "HS256" }), &claims("{}"));
    let unsigned = format!("{}.", unsigned.rsplit_once('.').unwrap().0);
    assert_eq!(verify(&keys(), Some(unsigned.as_bytes()), b"{}", NOW), Err(Refusal::BadSignature));
}

#[test]
fn the_claims_have_to_vouch_for_the_body() {
    assert!(with(|_| {}).is_ok());
    let remove = |name: &'static str| with(move |claims| drop(claims.as_object_mut().unwrap().remove(name)));
    assert_eq!(remove("sha256"), Err(Refusal::BodyMismatch), "a participant's token was taken for a webhook's");
    assert_eq!(with(|claims| claims["sha256"] = json!("")), Err(Refusal::BodyMismatch));
    assert_eq!(with(|claims| claims["sha256"] = json!(null)), Err(Refusal::BodyMismatch));
    let hash = Sha256::digest(b"{}");
    assert_eq!(with(|claims| claims["sha256"] = json!(hex::encode(hash))), Err(Refusal::BodyMismatch));
    assert_eq!(with(|claims| claims["sha256"] = json!(STANDARD.encode(&hash[..31]))), Err(Refusal::BodyMismatch));
    assert_eq!(with(|claims| claims["sha256"] = json!(1)), Err(Refusal::Malformed));
    assert_eq!(remove("exp"), Err(Refusal::Malformed), "a token without an end was accepted");
    assert_eq!(remove("iss"), Err(Refusal::Malformed));
}

#[test]
fn times_may_lack_one_of_two_and_be_as_odd_as_numbers_are() {
    let remove = |names: &'static [&str]| {
        with(move |claims| names.iter().for_each(|name| drop(claims.as_object_mut().unwrap().remove(*name))))
    };
    assert_eq!(remove(&["iat"]).map(|verified| verified.skew), Ok(0));
    assert_eq!(remove(&["nbf"]).map(|verified| verified.skew), Ok(0));
    assert_eq!(remove(&["nbf", "iat"]), Err(Refusal::Malformed));
    assert!(matches!(with(|claims| claims["exp"] = json!(i64::MIN)), Err(Refusal::Expired { skew: 0 })));
    assert!(with(|claims| claims["exp"] = json!(i64::MAX)).is_ok());
    assert!(matches!(with(|claims| claims["nbf"] = json!(i64::MAX)), Err(Refusal::NotYetValid { .. })));
    assert!(with(|claims| claims["iat"] = json!(i64::MIN)).is_ok());
    assert_eq!(with(|claims| claims["exp"] = json!("1800000300")), Err(Refusal::Malformed));
}

#[test]
fn only_what_livekit_signed_for_this_body_tells_of_the_clocks() {
    let late = |change: &dyn Fn(&mut Value)| {
        let mut claims = claims("{}");
        change(&mut claims);
        let token = token(&json!({ "alg": "HS256" }), &claims);
        verify(&keys(), Some(token.as_bytes()), b"{}", NOW.plus(Duration::from_secs(3_600)))
    };
    let refused = late(&|_| {}).unwrap_err();
    assert_eq!((refused, refused.skew()), (Refusal::Expired { skew: 3_600_000 }, Some(3_600_000)));
    // A participant has a token that is signed with the same secret, and may present it long after its end.
    for of_a_participant in [json!(null), json!("")] {
        let refused = late(&|claims| claims["sha256"] = of_a_participant.clone()).unwrap_err();
        assert_eq!((refused, refused.skew()), (Refusal::BodyMismatch, None));
    }
    let forged = signed(&Secret::new("another"), &json!({ "alg": "HS256" }), &claims("{}"));
    let refused = verify(&keys(), Some(forged.as_bytes()), b"{}", NOW.plus(Duration::from_secs(3_600)));
    assert_eq!(refused, Err(Refusal::BadSignature));
}

#[test]
fn refusals_have_words_of_their_own() {
    let all = [
        Refusal::MissingAuthorization,
        Refusal::Malformed,
        Refusal::UnknownKey,
        Refusal::BadSignature,
        Refusal::BodyMismatch,
        Refusal::Expired { skew: 360_001 },
        Refusal::NotYetValid { skew: -60_001 },
    ];
    let words: std::collections::BTreeSet<_> = all.map(Refusal::name).into();
    assert_eq!(words.len(), all.len());
    assert!(words.iter().all(|word| word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')));
}

/// Three parts of a token that look as if they could be right.
fn token_like() -> impl Strategy<Value = Vec<u8>> {
    let header = prop_oneof![
        Just(r#"{"alg":"HS256"}"#.to_owned()),
        Just(r#"{"alg":"none"}"#.to_owned()),
        "\\{\"alg\":\"[A-Z0-9a-z]{0,6}\"\\}",
    ];
    let claims = (any::<i64>(), any::<i64>(), "[ -~]{0,60}").prop_map(|(exp, iat, sha256)| {
        json!({ "iss": KEY, "exp": exp, "nbf": iat, "iat": iat, "sha256": sha256 }).to_string()
    });
    (header, claims, prop::collection::vec(any::<u8>(), 0..40)).prop_map(|(header, claims, signature)| {
        let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        format!("{}.{}.{}", part(header.as_bytes()), part(claims.as_bytes()), part(&signature)).into_bytes()
    })
}

proptest! {
    #[test]
    fn no_authorization_that_was_not_made_with_the_secret_is_accepted(
        authorization in prop_oneof![prop::collection::vec(any::<u8>(), 0..400), token_like()],
        body in prop::collection::vec(any::<u8>(), 0..100),
        now in any::<i64>(),
    ) {
        prop_assert!(verify(&keys(), Some(&authorization), &body, Timestamp::from_millis(now)).is_err());
    }

    #[test]
    fn no_byte_of_a_recorded_authorization_may_be_another(number in 1..=51_usize, at in any::<prop::sample::Index>(), other in any::<u8>()) {
        let webhook = nth(number);
        let mut authorization = webhook.authorization.clone().into_bytes();
        let at = at.index(authorization.len());
        prop_assume!(authorization[at] != other);
        authorization[at] = other;
        prop_assert!(verify(&keys(), Some(&authorization), webhook.body.as_bytes(), webhook.received_at).is_err());
    }

    #[test]
    fn what_is_signed_is_verified_at_that_time_and_only_for_that_body(
        body in prop::collection::vec(any::<u8>(), 0..200),
        other in prop::collection::vec(any::<u8>(), 0..200),
        seconds in 1_i64..100_000_000_000,
    ) {
        let now = Timestamp::from_secs(seconds);
        let authorization = token(&json!({ "alg": "HS256" }), &claims_at(&body, now));
        let verified = verify(&keys(), Some(authorization.as_bytes()), &body, now);
        prop_assert_eq!(verified, Ok(Verified { skew: 0 }));
        if other != body {
            prop_assert_eq!(verify(&keys(), Some(authorization.as_bytes()), &other, now), Err(Refusal::BodyMismatch));
        }
    }
}
