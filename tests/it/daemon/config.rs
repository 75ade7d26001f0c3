//! `--check`, usage errors, generated documents.

use std::path::Path;

use pulse_tests::{daemon::run, temporary_folder};

#[test]
fn a_check_shows_each_setting_with_its_source_and_no_secret() {
    let folder = temporary_folder("check");
    std::fs::write(
        folder.path().join("a.env"),
        "PULSE_MAX_REQUESTS=7\nPULSE_LISTEN=127.0.0.1:1\nREDIS_URL=redis://u:very-secret@h\n",
    )
    .unwrap();
    std::fs::write(folder.path().join("a.toml"), "pulse_max_requests = 8\npulse_purge_days = 9\n").unwrap();
    let environment = [("API_KEY_PEPPER", "very-secret-0123456789abcdef01234567"), ("PULSE_DATA", "elsewhere")];
    let checked =
        run(folder.path(), &["--check", "--env-file", "a.env", "--config", "a.toml", "--log", "debug"], &environment);
    let text = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert_eq!(checked.status.code(), Some(0), "{}", String::from_utf8_lossy(&checked.stderr));
    let row = |name: &str| {
        let line = text.lines().find(|line| line.split_whitespace().next() == Some(name)).unwrap_or_default();
        line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(row("PULSE_LOG"), "debug flag");
    assert_eq!(row("PULSE_DATA"), "elsewhere environment");
    assert_eq!(row("PULSE_LISTEN"), "127.0.0.1:0 environment");
    assert_eq!(row("PULSE_MAX_REQUESTS"), "7 env file");
    assert_eq!(row("PULSE_PURGE_DAYS"), "9 config file");
    assert_eq!(row("PULSE_BODY_TIMEOUT"), "10 default");
    assert_eq!(row("API_KEY_PEPPER"), "<set> environment");
    assert_eq!(row("REDIS_URL"), "redis://<set>@h env file");
    assert!(!text.contains("very-secret"), "{text}");
    assert!(!folder.path().join("elsewhere").exists(), "a check made files");
}

#[test]
fn a_check_and_a_start_tell_all_faults_at_once() {
    let folder = temporary_folder("faults");
    let environment = [
        ("PULSE_STORE", "postgres://x"),
        ("CORS_ORIGINS", "*"),
        ("PULSE_ADMIN_TOKEN", "short-secret"),
        ("LIVEKIT_API_KEY", "k"),
        ("PULSE_HTTPS", "true"),
    ];
    for flags in [&["--check", "--config", "missing.toml"][..], &["--config", "missing.toml"]] {
        let refused = run(folder.path(), flags, &environment);
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(2), "{flags:?}: {told}");
        let wrong = ["missing.toml", "PULSE_STORE", "CORS_ORIGINS", "PULSE_ADMIN_TOKEN", "LIVEKIT_API_SECRET"];
        for name in wrong.into_iter().chain(["PULSE_HTTPS (environment) needs PULSE_TRUSTED_PROXIES"]) {
            assert!(told.contains(name), "{flags:?}: {name} is not in {told}");
        }
        assert!(!told.contains("short-secret"), "{told}");
    }
    assert_eq!(run(folder.path(), &["--colour"], &[]).status.code(), Some(2));
}

#[test]
fn files_of_tls_that_cannot_be_used_are_told_before_the_store_is_opened() {
    const CERTIFICATE: &str = "names a file with no certificates that can be read";
    const KEY: &str = "names a file with no private key that can be read";
    let folder = temporary_folder("tls-faults");
    // On one line, as it comes out of a variable: what a reader of such files repeats in its error.
    std::fs::write(folder.path().join("bad.pem"), "-----BEGIN PRIVATE KEY----- hush hush -----END PRIVATE KEY-----\n")
        .unwrap();
    std::fs::write(folder.path().join("empty.pem"), "").unwrap();
    for (chain, key) in [("none.pem", "none.pem"), ("empty.pem", "bad.pem"), ("bad.pem", "empty.pem")] {
        let environment = [("PULSE_TLS_CERT", chain), ("PULSE_TLS_KEY", key), ("CORS_ORIGINS", "*")];
        for flags in [&["--check"][..], &[]] {
            let refused = run(folder.path(), flags, &environment);
            let told = String::from_utf8_lossy(&refused.stderr).into_owned();
            assert_eq!(refused.status.code(), Some(2), "{flags:?} with {chain}, {key}: {told}");
            for (name, detail) in [("PULSE_TLS_CERT", CERTIFICATE), ("PULSE_TLS_KEY", KEY), ("CORS_ORIGINS", "")] {
                assert!(told.contains(&format!("{name} {detail}")), "{flags:?} with {chain}, {key}: {told}");
            }
            // As text and as numbers.
            assert!(!told.contains("hush") && !told.contains("104, 117, 115, 104"), "{told}");
        }
    }
    let environment = [("PULSE_TLS_CERT", "none.pem"), ("PULSE_TLS_KEY", "none.pem")];
    let refused = run(folder.path(), &[], &environment);
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{told}");
    assert!(told.contains(CERTIFICATE) && told.contains("No such file"), "{told}");
    assert!(!folder.path().join("pulse-data").exists(), "the store was opened before the certificate was read");
}

#[test]
fn a_development_start_listens_on_loopback_only() {
    let folder = temporary_folder("loopback");
    let refused = run(folder.path(), &["--dev", "--listen", "0.0.0.0:0"], &[]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("loopback"));
}

#[test]
fn generated_documents_are_up_to_date() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let checked = run(root, &["generate", "--check"], &[]);
    assert!(checked.status.success(), "{}run: pulsed generate", String::from_utf8_lossy(&checked.stderr));
}
