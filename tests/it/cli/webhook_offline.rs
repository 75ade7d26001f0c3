//! Webhooks without a server: signed, and checked as their receiver does.

use pulse_tests::cli::{Cli, Run};

/// The example of the specification's reference libraries.
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OTHER: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const BODY: &str = r#"{"test": 2432232314}"#;
const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
const TIMESTAMP: &str = "1614265330";
/// 60 s after the timestamp.
const NOW: &str = "2021-02-25T15:03:10Z";

/// A folder with the example's secret and body, and its headers among others.
fn example() -> Cli {
    let cli = Cli::new();
    let headers = format!(
        "POST /hooks HTTP/1.1\r\nHost: localhost:3000\r\nWebhook-Id: {ID}\r\nwebhook-timestamp:{TIMESTAMP}\r\n\
         WEBHOOK-SIGNATURE: v1a,AAAA {SIGNATURE}\r\n\r\nwebhook-id: of the body\r\n"
    );
    for (name, text) in [("secret.txt", SECRET), ("body.json", BODY), ("headers.txt", &headers)] {
        std::fs::write(cli.path(name), text).expect("a file can be written");
    }
    cli
}

fn verify(cli: &Cli, more: &[&str]) -> Run {
    let start = ["webhook", "verify", "body.json", "--headers-file", "headers.txt", "--now", NOW];
    cli.run(&[&start[..], more].concat())
}

#[test]
fn verify_says_good_or_why_not() {
    let cli = example();
    let good = verify(&cli, &["--secret-file", "secret.txt"]);
    assert_eq!(good.code, 0, "{}", good.shown());
    let late = cli.run(&[
        "webhook",
        "verify",
        "body.json",
        "--headers-file",
        "headers.txt",
        "--secret-file",
        "secret.txt",
        "--now",
        "2021-02-25T15:07:11Z",
    ]);
    assert_eq!(late.code, 1, "{}", late.shown());
    std::fs::write(cli.path("body.json"), format!("{BODY}\n")).expect("a file can be written");
    let changed = verify(&cli, &["--secret-file", "secret.txt"]);
    assert_eq!(changed.code, 1, "{}", changed.shown());
    insta::assert_snapshot!([good, late, changed].map(|run| run.shown()).join("\n"));
}

#[test]
fn verify_takes_the_headers_one_by_one_and_any_of_several_secrets() {
    let cli = example();
    std::fs::write(cli.path("secret.txt"), format!("{OTHER}\n{SECRET}\n")).expect("a file can be written");
    let check = |signature: &str, tolerance: &str| {
        let flags = ["--id", ID, "--timestamp", TIMESTAMP, "--signature", signature, "--tolerance", tolerance];
        let start = ["webhook", "verify", "-", "--secret-file", "secret.txt", "--now", NOW, "-o", "json"];
        let run = cli.run_with(&[&start[..], &flags].concat(), BODY);
        (run.code, run.json()["signature"].as_str().map(str::to_owned))
    };
    let said = |code: i32, word: &str| (code, Some(word.to_owned()));
    assert_eq!(check(SIGNATURE, "5m"), said(0, "good"));
    assert_eq!(check(SIGNATURE, "59s"), said(1, "good"), "it is a minute old");
    assert_eq!(check("v1,AAAA", "5m"), said(1, "bad"));
    assert_eq!(check("v2,AAAA", "5m"), said(1, "missing"));
}

#[test]
fn sign_makes_the_headers_that_verify_takes() {
    let cli = example();
    let sign = ["webhook", "sign", "body.json", "--secret-file", "secret.txt"];
    let fixed = [&sign[..], &["--id", ID, "--timestamp", TIMESTAMP]].concat();
    let expected = format!("webhook-id: {ID}\nwebhook-timestamp: {TIMESTAMP}\nwebhook-signature: {SIGNATURE}\n");
    assert_eq!(cli.run(&fixed).stdout, expected);
    let json = cli.run(&[&fixed[..], &["-o", "json"]].concat()).json();
    assert_eq!(json["webhook-signature"], SIGNATURE);
    assert_eq!(cli.ok(&[&fixed[..], &["-q"]].concat()), SIGNATURE);

    let fresh = cli.ok(&sign);
    std::fs::write(cli.path("headers.txt"), &fresh).expect("a file can be written");
    cli.ok(&["webhook", "verify", "body.json", "--headers-file", "headers.txt", "--secret-file", "secret.txt"]);
    assert_ne!(fresh.lines().next(), cli.ok(&sign).lines().next(), "two messages have the same id");
}

#[test]
fn secrets_come_from_a_file_stdin_or_the_environment_and_are_never_repeated() {
    let cli = example().env("PULSE_WEBHOOK_SECRET", SECRET);
    assert_eq!(verify(&cli, &[]).code, 0);
    assert_eq!(verify(&cli, &["--secret-file", "secret.txt"]).code, 0);
    let stdin = ["webhook", "verify", "body.json", "--headers-file", "headers.txt", "--now", NOW, "--secret-file", "-"];
    assert_eq!(cli.run_with(&stdin, OTHER).code, 1, "the file's secret counts, not the variable's");
    assert_eq!(cli.run_with(&stdin, "not-a-secret").code, 2);

    let flag = verify(&Cli::new(), &["--secret-file", SECRET]);
    assert!(flag.code == 2 && !flag.stderr.contains(&SECRET[6..]), "{}", flag.shown());
}

#[test]
fn what_is_missing_is_named() {
    let cli = example();
    std::fs::write(cli.path("few.txt"), format!("webhook-id: {ID}\nwebhook-timestamp: soon\n")).expect("a file");
    let refused = |arguments: &[&str]| {
        let run = cli.run(&[&["webhook"], arguments].concat());
        assert_eq!(run.code, 2, "{}", run.shown());
        run.shown()
    };
    insta::assert_snapshot!(
        [
            refused(&["verify", "body.json", "--headers-file", "headers.txt"]),
            refused(&["verify", "-", "--headers-file", "-", "--secret-file", "secret.txt"]),
            refused(&["verify", "body.json", "--headers-file", "few.txt", "--secret-file", "secret.txt"]),
            refused(&["verify", "body.json", "--secret-file", "secret.txt", "-o", "json"]),
            refused(&["sign", "body.json", "--secret-file", "secret.txt", "--id", "a.b"]),
        ]
        .join("\n")
    );
}
