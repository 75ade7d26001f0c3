//! `pulse webhook verify | sign`: they need no target.

use std::{path::Path, time::Duration};

use pulse_core::{
    deliver::sign::{
        self, ID_HEADER, MAX_SECRETS, Message, SIGNATURE_HEADER, SigningSecret, TIMESTAMP_HEADER, VerifyFault,
    },
    entropy::{Entropy as _, SystemEntropy},
    time::Timestamp,
};
use serde::Serialize;

use super::DONE;
use crate::{
    args::webhook::offline::{Secrets, Sign, Verify},
    exit::{Exit, Failure, Outcome},
    input,
    session::Session,
    ui::View,
};

pub(super) const VERDICT: View =
    View::new(&["valid", "signature", "id", "signed_at", "age_seconds", "reasons"], &[]).id("valid");
pub(super) const SIGNED: View = View::new(&[ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER], &[]).id(SIGNATURE_HEADER);

/// Whether a receiver takes a webhook.
#[derive(Debug, Serialize)]
struct Verdict {
    valid: bool,
    /// `good`, `bad`, or `missing` where there is none of a known version.
    signature: &'static str,
    id: String,
    signed_at: Timestamp,
    age_seconds: i64,
    reasons: Vec<String>,
}

/// The headers of Standard Webhooks.
#[derive(Debug, Serialize)]
struct Headers {
    #[serde(rename = "webhook-id")]
    id: String,
    #[serde(rename = "webhook-timestamp")]
    timestamp: i64,
    #[serde(rename = "webhook-signature")]
    signature: String,
}

pub(super) fn verify(session: &Session, args: &Verify) -> Outcome {
    one_stdin(&[Some(&args.body), args.secrets.secret_file.as_deref(), args.headers_file.as_deref()])?;
    let secrets = secrets(session, &args.secrets)?;
    let headers = match (&args.headers_file, &args.id, args.timestamp, &args.signature) {
        (Some(path), ..) => headers(&input::text(path)?)?,
        (None, Some(id), Some(timestamp), Some(signature)) => {
            Headers { id: id.clone(), timestamp, signature: signature.clone() }
        }
        (None, ..) => {
            return Err(Failure::usage("the webhook's headers are not given, or not all of them")
                .hint("Use --headers-file FILE, or --id, --timestamp and --signature."));
        }
    };
    let body = input::bytes(&args.body)?;
    let now = args.now.map_or_else(|| session.now(), |moment| moment.from(session.now()));
    let verdict = judge(&secrets, headers, &body, now, args.tolerance.0);
    session.printer.document(&VERDICT, &verdict)?;
    Ok(if verdict.valid { Exit::Done } else { Exit::Found })
}

pub(super) fn sign(session: &Session, args: &Sign) -> Outcome {
    one_stdin(&[Some(&args.body), args.secrets.secret_file.as_deref()])?;
    let secrets = secrets(session, &args.secrets)?;
    if secrets.len() > MAX_SECRETS {
        return Err(Failure::usage(format!("a webhook is signed with at most {MAX_SECRETS} secrets")));
    }
    let id = args.id.clone().unwrap_or_else(new_id);
    if id.is_empty() || id.bytes().any(|b| !b.is_ascii_graphic() || b == b'.') {
        return Err(Failure::usage(
            "--id is letters, digits and other visible characters of ASCII, without a full stop",
        ));
    }
    let timestamp = args.timestamp.unwrap_or_else(|| session.now().as_secs());
    let body = input::bytes(&args.body)?;
    let signature = sign::sign(&secrets, &Message { id: &id, timestamp, body: &[&body] });
    let printer = &session.printer;
    if printer.is_prose() {
        printer
            .text(&format!("{ID_HEADER}: {id}\n{TIMESTAMP_HEADER}: {timestamp}\n{SIGNATURE_HEADER}: {signature}\n"))?;
    } else {
        printer.document(&SIGNED, &Headers { id, timestamp, signature })?;
    }
    DONE
}

/// Stdin can be read once.
fn one_stdin(paths: &[Option<&Path>]) -> Result<(), Failure> {
    let stdin = paths.iter().flatten().filter(|path| path.as_os_str() == "-");
    if stdin.count() > 1 { Err(Failure::usage("only one of the files can be stdin")) } else { Ok(()) }
}

/// The secrets of a file, else of the variable, white space between two.
fn secrets(session: &Session, args: &Secrets) -> Result<Vec<SigningSecret>, Failure> {
    let text = match &args.secret_file {
        Some(path) => Some(input::text(path)?),
        None => session.env.get("PULSE_WEBHOOK_SECRET").map(str::to_owned),
    };
    let found = text.unwrap_or_default().split_whitespace().map(SigningSecret::parse).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|refused| Failure::usage(refused.to_string()))?;
    if found.is_empty() {
        return Err(Failure::usage("no secret is given").hint("Use --secret-file FILE, or PULSE_WEBHOOK_SECRET."));
    }
    Ok(found)
}

/// The three headers among the lines of a request; the line of the request itself and other headers are passed by, and
/// the first empty line after a header ends them.
fn headers(text: &str) -> Result<Headers, Failure> {
    let lines = text.lines().map(str::trim_end).skip_while(|line| line.is_empty());
    let fields: Vec<(&str, &str)> =
        lines.take_while(|line| !line.is_empty()).filter_map(|line| line.split_once(':')).collect();
    let value = |name: &str| {
        let found = fields.iter().find(|(field, _)| field.trim().eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.trim()).ok_or_else(|| Failure::usage(format!("the headers have no {name}")))
    };
    let timestamp = value(TIMESTAMP_HEADER)?;
    let timestamp = timestamp
        .parse()
        .map_err(|_| Failure::usage(format!("{TIMESTAMP_HEADER} is not a number of seconds: {timestamp}")))?;
    Ok(Headers { id: value(ID_HEADER)?.to_owned(), timestamp, signature: value(SIGNATURE_HEADER)?.to_owned() })
}

/// What a receiver says, and why.
fn judge(secrets: &[SigningSecret], headers: Headers, body: &[u8], now: Timestamp, tolerance: Duration) -> Verdict {
    let Headers { id, timestamp, signature } = headers;
    let check =
        |body: &[u8]| sign::check_signature(secrets, &Message { id: &id, timestamp, body: &[body] }, &signature);
    let signed = check(body);
    let timely = sign::check_time(timestamp, now, tolerance);
    let trimmed = body.trim_ascii_end();
    let reason = match signed {
        Err(VerifyFault::Mismatch) if trimmed.len() < body.len() && check(trimmed).is_ok() => {
            Some("it fits the body without the white space at its end: give it byte for byte as it came".to_owned())
        }
        other => other.err().map(|fault| fault.to_string()),
    };
    let reasons: Vec<String> = reason.into_iter().chain(timely.err().map(|fault| fault.to_string())).collect();
    Verdict {
        valid: reasons.is_empty(),
        signature: match signed {
            Ok(()) => "good",
            Err(VerifyFault::NoSignature) => "missing",
            Err(_) => "bad",
        },
        signed_at: Timestamp::from_secs(timestamp),
        age_seconds: now.as_secs().saturating_sub(timestamp),
        id,
        reasons,
    }
}

/// An id that no other message has.
fn new_id() -> String {
    let mut random = [0; 16];
    SystemEntropy::default().fill(&mut random);
    format!("msg_{:032x}", u128::from_be_bytes(random))
}
