//! `pulse token inspect | lint | verify`: they need no target.

use pulse_core::{
    media::inspect::{self, Inspection, Severity},
    secret::Secret,
};

use super::DONE;
use crate::{
    args::token::{FailOn, Inspect, Lint, Verify},
    exit::{Exit, Failure, Outcome},
    input,
    session::Session,
    ui::View,
};

pub(super) const INSPECTION: View = View::new(&["identity", "room"], &[]).id("jti").detail(&[
    "algorithm",
    "key",
    "identity",
    "name",
    "kind",
    "room",
    "project_id",
    "jti",
    "not_before",
    "expires_at",
    "life_seconds",
]);
pub(super) const FINDING: View = View::new(&["severity", "code", "detail"], &["field"]).id("code");
pub(super) const VERDICT: View = View::new(&["valid", "signature", "reasons"], &["expires_at"]).id("valid");

fn look(session: &Session, token: &str) -> Result<Inspection, Failure> {
    let token = input::token(token)?;
    Ok(inspect::inspect(&token, session.now())?)
}

pub(super) fn inspect(session: &Session, args: &Inspect) -> Outcome {
    let seen = look(session, &args.token)?;
    let printer = &session.printer;
    printer.document(&INSPECTION, &seen)?;
    if printer.is_prose() {
        let mut text = String::from("\nIt means:\n");
        seen.means.iter().for_each(|line| text.push_str(&format!("  - {line}\n")));
        if !seen.findings.is_empty() {
            text.push_str("\nLook at:\n");
        }
        for finding in &seen.findings {
            text.push_str(&format!("  - {}: {}\n", finding.severity.name(), finding.detail));
        }
        text.push_str("\nThe signature was not checked: pulse token verify does.\n");
        printer.text(&text)?;
    }
    DONE
}

pub(super) fn lint(session: &Session, args: &Lint) -> Outcome {
    let seen = look(session, &args.token)?;
    let mut list = session.printer.list(&FINDING)?;
    seen.findings.iter().try_for_each(|finding| list.row(finding))?;
    list.finish()?;
    let least = args.fail_on.map(|fail_on| match fail_on {
        FailOn::Warning => Severity::Warning,
        FailOn::Error => Severity::Error,
    });
    let bad = least.is_some_and(|least| seen.findings.iter().any(|finding| finding.severity >= least));
    Ok(if bad { Exit::Finding } else { Exit::Done })
}

pub(super) fn verify(session: &Session, args: &Verify) -> Outcome {
    let from_variable = || session.env.get("LIVEKIT_API_SECRET").map(Secret::new);
    let secret = args.secret_file.as_deref().map(input::secret).transpose()?.or_else(from_variable);
    let secret = secret
        .ok_or_else(|| Failure::usage("no secret is given").hint("Use --secret-file FILE, or LIVEKIT_API_SECRET."))?;
    let token = input::token(&args.token)?;
    let verdict = inspect::verify(&token, &args.key, &secret, session.now())?;
    session.printer.document(&VERDICT, &verdict)?;
    Ok(if verdict.valid { Exit::Done } else { Exit::Found })
}
