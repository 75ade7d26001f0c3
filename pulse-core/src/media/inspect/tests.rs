use serde_json::json;

use super::*;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

fn jwt(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.c2ln", part(header), part(claims))
}

fn codes(claims: &Value) -> Vec<String> {
    let seen = inspect(&jwt(&json!({ "alg": "HS256" }), claims), NOW).unwrap();
    seen.findings.into_iter().map(|finding| finding.code).collect()
}

fn good() -> Value {
    json!({
        "iss": "APIkey", "sub": "ada", "jti": "x.0", "nbf": 1_799_999_990, "exp": 1_800_003_600,
        "video": { "roomJoin": true, "room": "daily", "canPublish": false, "canSubscribe": true, "canPublishData": false },
    })
}

#[test]
fn a_token_that_says_everything_has_no_findings() {
    assert_eq!(codes(&good()), Vec::<String>::new());
}

#[test]
fn every_trap_is_found() {
    let with = |path: &str, value: Value| {
        let mut claims = good();
        *claims.pointer_mut(path).expect("a claim to change") = value;
        codes(&claims)
    };
    assert_eq!(with("/exp", json!(null)), ["no_end"]);
    assert_eq!(with("/exp", json!(1_799_999_000)), ["expired"]);
    assert_eq!(with("/exp", json!(1_799_999_970)), ["in_leeway"]);
    assert_eq!(with("/exp", json!(1_800_090_000)), ["long_life"]);
    assert_eq!(with("/nbf", json!(1_800_000_100)), ["not_yet"]);
    assert_eq!(with("/video/room", json!("")), ["any_room"]);
    assert_eq!(with("/video/canPublish", json!(null)), ["absent_means_yes"]);
    assert_eq!(
        with("/video/canPublishData", json!(null)),
        Vec::<String>::new(),
        "data follows canPublish, which is false"
    );
    assert_eq!(with("/video/roomJoin", json!(false)), ["no_join"]);
    assert_eq!(with("/sub", json!("")), ["no_identity"]);
    assert_eq!(with("/jti", json!(null)), ["no_jti"]);
    assert_eq!(with("/iss", json!(null)), ["no_key"]);
    let adding = |name: &str, value: Value| {
        let mut claims = good();
        claims[name] = value;
        codes(&claims)
    };
    assert_eq!(adding("kind", json!("agent")), ["kind"]);
    assert_eq!(adding("roomConfig", json!({ "egress": { "room": {} } })), ["config_egress"]);
    assert_eq!(adding("roomConfig", json!({ "agents": [{ "api_secret": "x" }] })), ["config_secret"]);
    let mut wide = good();
    for grant in ["roomCreate", "roomList", "roomRecord", "roomAdmin", "canUpdateOwnMetadata"] {
        wide["video"][grant] = json!(true);
    }
    assert_eq!(codes(&wide), ["server_wide", "server_wide", "server_wide", "room_admin", "own_metadata"]);
    let unsigned = inspect(&jwt(&json!({ "alg": "none" }), &good()), NOW).unwrap();
    assert_eq!(unsigned.findings[0].code, "not_signed");
}

#[test]
fn the_words_say_what_the_grants_do() {
    let means = inspect(&jwt(&json!({ "alg": "HS256" }), &good()), NOW).unwrap().means;
    assert_eq!(means[0], "\"ada\" may join the room \"daily\"");
    assert_eq!(means[1], "may not send audio and video");
    assert_eq!(means[2], "may receive audio and video of others");
    assert_eq!(means[3], "may not send data messages");
}

#[test]
fn texts_that_are_no_tokens_are_refused() {
    for bad in ["", "a.b", "a.b.c", "e30.e30", "W10.W10.x", &"x".repeat(300_000)] {
        assert!(inspect(bad, NOW).is_err(), "{bad:.20} was taken");
    }
}

#[test]
fn a_signature_is_good_with_its_own_key_pair_only() {
    let _ = jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER.install_default();
    let key = jsonwebtoken::EncodingKey::from_secret(b"secret");
    let token = jsonwebtoken::encode(&jsonwebtoken::Header::default(), &good(), &key).unwrap();
    let verdict = |key: &str, secret: &str, now: Timestamp| verify(&token, key, &Secret::new(secret), now).unwrap();
    assert!(verdict("APIkey", "secret", NOW).valid);
    assert_eq!(verdict("APIkey", "other", NOW).signature, "bad");
    assert_eq!(verdict("APIother", "secret", NOW).reasons, ["it says that the key APIkey made it"]);
    let signed = |change: fn(&mut Value)| {
        let mut claims = good();
        change(&mut claims);
        let token = jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap();
        verify(&token, "APIkey", &Secret::new("secret"), NOW).unwrap().reasons
    };
    assert_eq!(
        signed(|claims| claims["video"]["roomJoin"] = json!(false)),
        ["it does not let anybody join: roomJoin is not true"]
    );
    assert_eq!(signed(|claims| claims["sub"] = json!("")), ["it has no identity"]);
    let late = verdict("APIkey", "secret", Timestamp::from_secs(1_800_003_661));
    assert_eq!((late.valid, late.signature.as_str()), (false, "good"));
}
