//! docs/SCALING.md and the compose file beside it say what is true.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use futures_util::TryStreamExt as _;
use mongodb::{Client, bson::doc, results::CollectionSpecification};
use pulse_core::config::setting;
use pulse_tests::{
    daemon::{Daemon, DaemonOptions, run},
    peers::{mongo::Mongo, python},
    temporary_folder,
};
use serde_json::Value;

use crate::operations::{block, line, read};

/// The compose file as Compose reads it, but for variables: anchors are followed and what is merged is merged.
fn compose() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/compose.yaml");
    let program = "import json, sys, yaml; json.dump(yaml.safe_load(open(sys.argv[1])), sys.stdout)";
    let output = python::command().args(["-c", program]).arg(path).output().expect("Python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// The services whose names begin so, by name.
fn services<'a>(compose: &'a Value, name: &str) -> BTreeMap<&'a str, &'a Value> {
    let all = compose["services"].as_object().expect("services").iter();
    all.filter(|(known, _)| known.starts_with(name)).map(|(known, service)| (known.as_str(), service)).collect()
}

/// A service's words of this name.
fn words<'a>(service: &'a Value, name: &str) -> Vec<&'a str> {
    let list = service[name].as_array().unwrap_or_else(|| panic!("{name} is no list: {service}"));
    list.iter().map(|word| word.as_str().expect("a text")).collect()
}

/// Runs the commands that make the secrets, in this folder; what is in the file that they make.
fn secrets(folder: &Path) -> BTreeMap<String, String> {
    let script = block(&read("docs/SCALING.md"), "sh");
    let made = Command::new("sh").args(["-eu", "-c", &script]).current_dir(folder).output().expect("sh runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let key = fs::read_to_string(folder.join("mongo.key")).expect("a key file");
    // MongoDB takes no more characters, and no other ones.
    assert!((6..=1_024).contains(&key.split_whitespace().collect::<String>().len()), "{key}");
    let text = fs::read_to_string(folder.join(".env")).expect("a file of secrets");
    text.lines().filter_map(|line| line.split_once('=')).map(|(name, value)| (name.into(), value.into())).collect()
}

/// Puts the values into a text where Compose would: for `${NAME:?}`.
fn interpolated(text: &str, values: &BTreeMap<String, String>) -> String {
    let mut parts = text.split("${");
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, rest) = part.split_once(":?}").unwrap_or_else(|| panic!("{text}: a variable that may be missing"));
        whole += values.get(name).unwrap_or_else(|| panic!("{name} is not among the secrets that are made"));
        whole += rest;
    }
    whole
}

/// What a check of the settings shows of each.
fn shown(output: &std::process::Output) -> BTreeMap<String, String> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let rows = text.lines().filter_map(|line| line.split_once(char::is_whitespace));
    rows.map(|(name, rest)| (name.to_owned(), rest.split_whitespace().collect::<Vec<_>>().join(" "))).collect()
}

#[test]
fn the_daemons_of_the_compose_file_have_settings_that_pulse_knows_and_takes() {
    let (compose, folder) = (compose(), temporary_folder("compose"));
    let secrets = secrets(folder.path());
    let daemons = services(&compose, "pulsed");
    assert_eq!(daemons.keys().copied().collect::<Vec<_>>(), ["pulsed1", "pulsed2", "pulsed3"]);
    let first = &daemons["pulsed1"]["environment"];
    for (name, daemon) in &daemons {
        assert_eq!(&daemon["environment"], first, "{name} has other settings than the first");
        for setting_name in daemon["environment"].as_object().expect("settings").keys() {
            assert!(setting(setting_name).is_some(), "{name}: {setting_name} is no setting of Pulse");
        }
    }
    let settings = first.as_object().expect("settings").iter();
    let settings: Vec<(&str, String)> = settings
        .map(|(name, value)| (name.as_str(), interpolated(value.as_str().expect("a text"), &secrets)))
        .collect();
    let environment: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();

    let shown = shown(&run(folder.path(), &["--check"], &environment));

    for (name, _) in &environment {
        assert!(shown[*name].ends_with(" environment"), "{name}: {}", shown[*name]);
    }
    let drain: u64 =
        shown["PULSE_DRAIN_TIMEOUT"].split(' ').next().and_then(|text| text.parse().ok()).expect("seconds");
    let patience =
        daemons["pulsed1"]["stop_grace_period"].as_str().and_then(|text| text.strip_suffix('s')?.parse().ok());
    assert!(patience > Some(drain + 5), "Compose kills what is still draining: {patience:?} against {drain} s");
}

#[test]
fn the_compose_file_has_the_servers_that_its_daemons_are_told_of() {
    let compose = compose();
    let settings = &services(&compose, "pulsed")["pulsed1"]["environment"];
    let uri = settings["MONGO_URI"].as_str().expect("a text");
    let (_, place) = uri.split_once('@').expect("a login");
    let (hosts, rest) = place.split_once('/').expect("a database");
    assert_eq!(rest, "pulse?replicaSet=rs0");
    let members = services(&compose, "mongo");
    assert_eq!(
        hosts.split(',').collect::<Vec<_>>(),
        members.keys().map(|name| format!("{name}:27017")).collect::<Vec<_>>()
    );
    for (name, member) in &members {
        let command = words(member, "command").join(" ");
        assert!(command.starts_with("mongod ") && command.contains("--replSet rs0"), "{name}: {command}");
        assert!(command.contains("--keyFile /etc/mongo-key"), "{name} lets everybody in: {command}");
        assert!(words(member, "entrypoint")[2].contains(" /etc/mongo-key\n"), "{name} has no key");
        let secret = words(member, "secrets")[0];
        assert_eq!(compose["secrets"][secret]["file"], "mongo.key", "{name}");
        assert_eq!(words(member, "volumes"), [format!("{name}:/data/db")]);
        assert!(member["ports"].is_null(), "{name} can be reached from outside");
    }
    let redis = settings["REDIS_URL"].as_str().expect("a text");
    assert!(redis.ends_with("@redis:6379/0"), "{redis}");
    let redis = services(&compose, "redis")["redis"];
    assert!(words(redis, "command").contains(&"--requirepass") && redis["ports"].is_null(), "{redis}");
    let network = &compose["networks"]["default"]["ipam"]["config"][0];
    assert_eq!(settings["PULSE_TRUSTED_PROXIES"], network["gateway"]);
}

#[test]
fn the_unit_starts_a_daemon_over_mongodb_with_the_documented_files() {
    let (document, unit, folder) = (read("docs/SCALING.md"), read("docs/pulsed.service"), temporary_folder("unit"));
    secrets(folder.path());
    let mut env = fs::read_to_string(folder.path().join(".env")).expect("a file of secrets");
    env += &block(&document, "env");
    fs::write(folder.path().join("secrets.env"), env).expect("a file");
    fs::write(folder.path().join("pulse.toml"), block(&document, "toml")).expect("a file");
    let command = line(&unit, "ExecStart").replace("/etc/pulse/", "");
    let flags: Vec<&str> = command.split_whitespace().skip(1).chain(["--check"]).collect();

    let shown = shown(&run(folder.path(), &flags, &[]));

    for secret in ["API_KEY_PEPPER", "PULSE_MASTER_KEY", "PULSE_ADMIN_TOKEN", "LIVEKIT_API_SECRET"] {
        assert_eq!(shown[secret], "<set> env file", "{secret}");
    }
    assert!(shown["MONGO_URI"].contains("mongo3.internal:27017/pulse?replicaSet=<set>"), "{}", shown["MONGO_URI"]);
    assert_eq!(shown["REDIS_URL"], "redis://<set>@redis.internal:6379/0 env file");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_two_roles_are_enough_and_a_daemon_that_is_given_its_secrets_keeps_no_file() {
    let document = read("docs/SCALING.md");
    assert!(
        document.contains(r#"createUser({ user: "pulse", pwd: MONGO_PASSWORD, roles: ["readWrite", "dbAdmin"] })"#)
    );
    let mongo = Mongo::guarded("pulse", "the-password-of-pulse", &["readWrite", "dbAdmin"]).await;
    let folder = temporary_folder("roles");
    let options = || DaemonOptions::new().over_mongodb(mongo.uri("pulse"));
    let daemon = Daemon::start_in(folder.path(), options()).await;
    let client = daemon.client();
    assert_eq!(client.get("/ready").await.status, 200);
    let project = client.project("Pro").await;
    let path = format!("/v1/projects/{}", project["id"].as_str().expect("an id"));
    daemon.stop().await;
    // As if an older version had declared less.
    let database = Client::with_uri_str(mongo.uri("pulse")).await.expect("a client").database("pulse");
    database.run_command(doc! { "collMod": "projects", "validator": {} }).await.expect("a validator is taken away");

    let daemon = Daemon::start_in(folder.path(), options()).await;

    assert_eq!(daemon.client().get(&path).await.status, 200);
    let found = database.list_collections().filter(doc! { "name": "projects" }).await.expect("a list");
    let found: Vec<CollectionSpecification> = found.try_collect().await.expect("collections");
    let validator = found.first().and_then(|projects| projects.options.validator.as_ref());
    assert!(validator.is_some_and(|validator| validator.contains_key("$jsonSchema")), "{validator:?}");
    database.watch().await.expect("changes can be followed");
    assert!(!folder.path().join("pulse-data").exists(), "a file was kept");
}
