use std::collections::BTreeMap;

use super::*;
use crate::outbound::Trust;

fn values(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn environment(pairs: &[(&str, &str)]) -> Result<Settings, Vec<ConfigFault>> {
    Settings::resolve(&Sources::new().with(SourceKind::Environment, values(pairs)))
}

fn shown<'a>(settings: &'a Settings, name: &str) -> &'a Shown {
    settings.shown.iter().find(|row| row.name == name).unwrap()
}

#[test]
fn a_flag_wins_over_the_environment_over_the_env_file_over_the_config_file() {
    let mut sources = Sources::new();
    let order = [SourceKind::ConfigFile, SourceKind::EnvFile, SourceKind::Environment, SourceKind::Flag];
    for (port, kind) in order.into_iter().enumerate() {
        sources = sources.with(kind, values(&[("PULSE_LISTEN", &format!("127.0.0.1:{port}"))]));
        let settings = Settings::resolve(&sources).ok().unwrap();
        assert_eq!((usize::from(settings.listen.port()), shown(&settings, "PULSE_LISTEN").source), (port, kind));
    }
    let settings = environment(&[("PULSE_LISTEN", "  ")]).ok().unwrap();
    assert_eq!(settings.listen.to_string(), "127.0.0.1:8080", "an empty value counts as not set");
}

#[test]
fn port_means_every_address_and_loopback_in_development() {
    let listen = |pairs: &[(&str, &str)]| environment(pairs).ok().unwrap().listen.to_string();
    assert_eq!(listen(&[("PORT", "9000")]), "0.0.0.0:9000");
    assert_eq!(listen(&[("PORT", "9000"), ("PULSE_DEV", "true")]), "127.0.0.1:9000");
    assert_eq!(listen(&[("PORT", "9000"), ("PULSE_LISTEN", "127.0.0.1:1")]), "127.0.0.1:1");
    let faults = environment(&[("PULSE_DEV", "true"), ("PULSE_LISTEN", "0.0.0.0:1")]).err().unwrap();
    assert_eq!(faults[0].name, "PULSE_LISTEN");
}

#[test]
fn customers_may_name_what_is_not_public_only_when_the_operator_says_so_or_in_development() {
    let policy = |pairs: &[(&str, &str)]| environment(pairs).ok().unwrap().address_policy();
    let saves = |policy: &AddressPolicy, url: &str| policy.check_url(&url.parse().unwrap(), Trust::Tenant).is_ok();
    let (inside, plain) = ("https://10.1.2.3/in", "http://hooks.example/in");
    let none = policy(&[]);
    assert!(!saves(&none, inside) && !saves(&none, plain) && !saves(&none, "https://localhost/"));
    let opened = policy(&[("PULSE_WEBHOOK_ALLOW_NETWORKS", "10.0.0.0/8"), ("PULSE_WEBHOOK_ALLOW_HTTP", "true")]);
    assert!(saves(&opened, inside) && saves(&opened, plain) && !saves(&opened, "https://192.168.0.1/"));
    let dev = policy(&[("PULSE_DEV", "true")]);
    assert!(saves(&dev, "http://localhost:3000/hooks") && saves(&dev, "http://[::1]/") && !saves(&dev, inside));
    let strict = policy(&[("PULSE_DEV", "true"), ("PULSE_WEBHOOK_ALLOW_HTTP", "false")]);
    assert!(!saves(&strict, "http://localhost:3000/hooks"), "what is set wins over what --dev brings");
    let shut = policy(&[("PULSE_WEBHOOK_ALLOW_NETWORKS", "10.0.0.0/8"), ("PULSE_OUTBOUND_ONLY", "loopback")]);
    assert!(!saves(&shut, inside), "PULSE_OUTBOUND_ONLY stands above it");
}

#[test]
fn every_fault_is_told_at_once_and_none_shows_a_value() {
    let faults = environment(&[
        ("PULSE_LISTEN", "here-secret"),
        ("PULSE_STORE", "postgres://here-secret"),
        ("API_KEY_PEPPER", "here-secret"),
        ("PULSE_MASTER_KEY", "here-secret"),
        ("PULSE_ADMIN_TOKEN", "here-secret"),
        ("LIVEKIT_API_KEY", "here-secret"),
        ("CORS_ORIGINS", "*"),
        ("PULSE_OUTBOUND_ONLY", "here-secret"),
        ("PULSE_TLS_CERT", "here-secret"),
        ("REDIS_URL", "here-secret"),
    ])
    .err()
    .unwrap();
    let names: Vec<&str> = faults.iter().map(|fault| fault.name.as_str()).collect();
    for name in [
        "PULSE_LISTEN",
        "PULSE_STORE",
        "API_KEY_PEPPER",
        "PULSE_MASTER_KEY",
        "PULSE_ADMIN_TOKEN",
        "CORS_ORIGINS",
        "PULSE_OUTBOUND_ONLY",
        "REDIS_URL",
        "PULSE_TLS_KEY",
        "LIVEKIT_API_SECRET",
    ] {
        assert!(names.contains(&name), "{name} is not among {names:?}");
    }
    assert!(!faults_error(&faults).message().contains("here-secret"));
}

#[test]
fn https_needs_somebody_who_takes_tls_off() {
    let faults = |more: &[(&str, &str)]| -> Vec<String> {
        let found = environment(&[&[("PULSE_HTTPS", "true")][..], more].concat()).err().unwrap_or_default();
        found.into_iter().map(|fault| fault.to_string()).collect()
    };
    let nobody: [&[(&str, &str)]; 2] = [&[], &[("PULSE_TRUSTED_PROXIES", " , ")]];
    for more in nobody {
        let found = faults(more);
        assert!(found.len() == 1 && found[0].starts_with("PULSE_HTTPS (environment) needs"), "{found:?}");
        assert!(["PULSE_TRUSTED_PROXIES", "PULSE_TLS_CERT"].iter().all(|name| found[0].contains(name)), "{found:?}");
    }
    assert!(faults(&[("PULSE_TRUSTED_PROXIES", "10.0.0.0/8")]).is_empty());
    assert!(faults(&[("PULSE_TLS_CERT", "chain.pem"), ("PULSE_TLS_KEY", "key.pem")]).is_empty());
    let bad = faults(&[("PULSE_TRUSTED_PROXIES", "the-proxy")]);
    assert!(bad.len() == 1 && bad[0].starts_with("PULSE_TRUSTED_PROXIES"), "told once: {bad:?}");
    assert!(environment(&[("PULSE_HTTPS", "false")]).is_ok());
}

#[test]
fn mongodb_needs_its_secrets_and_names_win_over_each_other_as_documented() {
    let faults = environment(&[("MONGO_URI", "mongodb://u:p@h/db")]).err().unwrap();
    assert_eq!(
        faults.iter().map(|fault| fault.name.as_str()).collect::<Vec<_>>(),
        ["API_KEY_PEPPER", "PULSE_MASTER_KEY"]
    );
    let settings = environment(&[("MONGO_URI", "mongodb://u:p@h/db"), ("PULSE_STORE", "memory:")]).ok().unwrap();
    assert!(matches!(settings.store, StoreLocation::Memory));
    let row = shown(&settings, "MONGO_URI");
    assert_eq!((row.value.as_str(), row.note.as_deref()), ("mongodb://<set>@h/db", Some("PULSE_STORE wins")));
}

#[test]
fn the_table_has_each_name_and_flag_once_and_its_defaults_are_valid() {
    for (position, setting) in TABLE.iter().enumerate() {
        assert!(TABLE[..position].iter().all(|earlier| earlier.name != setting.name), "{} stands twice", setting.name);
        let twice = |earlier: &Setting| earlier.flag.is_some() && earlier.flag == setting.flag;
        assert!(!TABLE[..position].iter().any(twice), "{:?} stands twice", setting.flag);
        assert!(setting.flag.is_none() || !setting.secret, "{} is a secret with a flag", setting.name);
        for default in
            [Some(setting.default), setting.dev_default].into_iter().flatten().filter(|text| !text.is_empty())
        {
            assert_eq!(value::check(setting.kind, default), Ok(()), "{}", setting.name);
        }
    }
}

#[test]
fn a_check_shows_no_secret() {
    let secret = "0123456789abcdef0123456789abcdef";
    let settings = environment(&[
        ("API_KEY_PEPPER", secret),
        ("PULSE_ADMIN_TOKEN", secret),
        ("REDIS_URL", "redis://user:0123456789abcdef0123456789abcdef@h:1"),
        ("JWT_SECRET", secret),
        ("GIN_MODE", "release"),
    ])
    .ok()
    .unwrap();
    let text = check_table(&settings);
    assert!(!text.contains(secret), "{text}");
    assert!(text.contains("not used yet") && text.contains("ignored"), "{text}");
}

#[test]
fn redis_is_outside_of_the_networks_only_when_it_says_so_itself() {
    let faults = |url: &str| {
        let found = environment(&[("PULSE_OUTBOUND_ONLY", "10.0.0.0/8"), ("REDIS_URL", url)]).err().unwrap_or_default();
        found.into_iter().map(|fault| fault.to_string()).collect::<Vec<_>>()
    };
    for url in ["redis://10.1.2.3", "rediss://redis.internal/1"] {
        assert_eq!(faults(url), [""; 0], "{url}");
    }
    let refused = faults("redis://user:0123456789abcdef@192.0.2.7:6379");
    assert!(refused.len() == 1 && refused[0].contains("PULSE_OUTBOUND_ONLY"), "{refused:?}");
    assert!(!refused[0].contains("0123456789abcdef"), "{refused:?}");
}

#[test]
fn a_shown_connection_string_holds_nothing_secret() {
    for (uri, shown) in [
        ("mongodb://u:pa/ss@h:1,i:2/db", "mongodb://<set>@h:1,i:2/db"),
        ("mongodb://u:p@ss?w@h/db", "mongodb://<set>@h/db"),
        (
            "mongodb+srv://h/db?replicaSet=rs&tlsCertificateKeyFilePassword=word&authMechanismProperties=AWS_SESSION_TOKEN:word",
            "mongodb+srv://h/db?replicaSet=<set>&tlsCertificateKeyFilePassword=<set>&authMechanismProperties=<set>",
        ),
        ("rediss://:pa/ss@h:1/2", "rediss://<set>@h:1/2"),
        ("https://lk.example/a", "https://lk.example/a"),
        ("sqlite:/data/pulse.db", "sqlite:/data/pulse.db"),
    ] {
        assert_eq!(without_credentials(uri), shown);
    }
}

#[test]
fn the_reconciler_and_the_keys_of_webhooks_are_as_they_are_set() {
    let pipeline = |pairs: &[(&str, &str)]| environment(pairs).ok().unwrap().pipeline;
    assert_eq!(pipeline(&[]).reconcile_every, Duration::from_secs(30));
    assert_eq!(pipeline(&[("PULSE_RECONCILE_SECONDS", "7")]).reconcile_every, Duration::from_secs(7));
    let keys = pipeline(&[("LIVEKIT_WEBHOOK_KEYS", "APIold:an-old-secret,APInew:a-new-secret")]).webhook_keys;
    let names: Vec<&str> = keys.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["APIold", "APInew"]);
}
