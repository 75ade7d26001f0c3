//! Who may do what over HTTP, and the headers that protect browsers.

use pulse_tests::daemon::{Daemon, DaemonOptions};

const ORIGIN: &str = "https://app.example";

#[tokio::test]
async fn several_credentials_are_one_or_none() {
    let daemon = Daemon::start(DaemonOptions::new()).await;
    let client = daemon.client();
    let project = client.project("Enterprise").await;
    let (key, secret) = (project["pulse_api_key"].as_str().unwrap(), project["pulse_api_secret"].as_str().unwrap());
    let pair = |request: reqwest::RequestBuilder| request.header("x-pulse-key", key).header("x-pulse-secret", secret);
    let me = || client.bare("GET", "/v1/me");

    assert_eq!(client.send(pair(me())).await.status, 200);
    assert_eq!(client.send(me().bearer_auth(secret)).await.status, 200);
    assert_eq!(client.send(me().basic_auth(key, Some(secret))).await.status, 200);
    assert_eq!(client.send(pair(me()).bearer_auth(secret)).await.status, 200, "the same twice is one");
    let refused = [
        pair(me()).bearer_auth(&daemon.admin_token),
        pair(me()).header("x-pulse-secret", secret),
        me().header("x-pulse-key", key),
        me().header("x-pulse-secret", secret),
        me().bearer_auth(key),
        me().header("authorization", secret),
        me().basic_auth(key, Some("wrong")),
        client.bare("GET", "/v1/projects"),
        client.bare("GET", "/metrics"),
    ];
    for (number, request) in refused.into_iter().enumerate() {
        let answer = client.send(request).await;
        assert_eq!((answer.status, answer.code().as_str()), (401, "unauthenticated"), "request {number}");
        assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"pulse\"", "request {number}");
    }
    assert_eq!(client.send(client.bare("GET", "/metrics").bearer_auth(secret)).await.status, 403);
    let metrics = client.get("/metrics").await;
    assert!(metrics.text.contains("pulse_requests_total{operation=\"me.get\",status=\"200\"}"), "{}", metrics.text);
}

#[tokio::test]
async fn every_answer_has_the_security_headers_and_cors_is_for_exact_origins() {
    let daemon = Daemon::start(DaemonOptions::new().env("CORS_ORIGINS", ORIGIN)).await;
    let client = daemon.client();
    for path in ["/health", "/v1/nothing", "/v1/projects"] {
        let answer = client.send(client.bare("GET", path).header("origin", ORIGIN)).await;
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("cache-control"), "no-store", "{path}");
        assert_eq!(answer.header("x-frame-options"), "DENY", "{path}");
        assert!(answer.header("content-security-policy").starts_with("default-src 'none'"), "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), ORIGIN, "{path}");
        assert_eq!(answer.header("strict-transport-security"), "", "{path}");
    }
    let preflight = |origin: &str| {
        let request = client.bare("OPTIONS", "/v1/tokens/create").header("origin", origin);
        client.send(request.header("access-control-request-method", "POST"))
    };
    let allowed = preflight(ORIGIN).await;
    assert_eq!((allowed.status, allowed.header("access-control-allow-origin")), (204, ORIGIN));
    assert!(allowed.header("access-control-allow-headers").contains("x-pulse-secret"));
    let stranger = preflight("https://evil.example").await;
    assert_eq!(
        (stranger.header("access-control-allow-origin"), stranger.header("access-control-allow-methods")),
        ("", "")
    );
    assert_eq!(allowed.header("access-control-allow-credentials"), "");
}

#[tokio::test]
async fn with_tls_in_front_other_requests_are_refused() {
    let options = DaemonOptions::new().env("PULSE_HTTPS", "true").env("PULSE_TRUSTED_PROXIES", "127.0.0.0/8");
    let daemon = Daemon::start(options).await;
    let client = daemon.client();
    let plain = client.get("/v1/organizations").await;
    assert_eq!((plain.status, plain.code().as_str()), (403, "forbidden"));
    let secure = client.send(client.request("GET", "/v1/organizations").header("x-forwarded-proto", "https")).await;
    assert_eq!(secure.status, 200, "{}", secure.text);
    assert!(secure.header("strict-transport-security").starts_with("max-age="));
    assert_eq!(client.get("/health").await.status, 200, "a probe of the machine itself");
}
