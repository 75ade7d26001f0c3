//! `pulse token`.

use pulse_core::{
    media::token::decode_unverified,
    ops::tokens::{CreateToken, RefreshToken, RevokeTokens, TokenText, ValidateToken},
};

use super::{DONE, change::confirm, token_offline};
use crate::{
    args::{Of, token, values::Span},
    client::{CallOptions, Client},
    exit::{Exit, Failure, Outcome},
    input, names,
    session::Session,
    ui::View,
};

const VIEW: View =
    View::new(&["token", "server_url", "room_name", "identity", "expires_at"], &["region", "fallback_urls"])
        .id("token");
const VALIDATION: View = View::new(&["valid", "reasons"], &[]).id("valid").detail(&[
    "valid",
    "reasons",
    "claims.room_name",
    "claims.identity",
    "claims.name",
    "claims.can_publish",
    "claims.can_subscribe",
    "claims.can_publish_data",
    "claims.can_publish_sources",
    "claims.hidden",
    "claims.jti",
    "claims.issued_at",
    "claims.expires_at",
]);
const REVOCATION: View =
    View::new(&["id", "kind", "value", "before", "reason", "expires_at"], &["project_id", "created_at"]).id("id");

/// How the result of a command is shown.
pub(super) fn view(command: &token::Token) -> &'static View {
    match command {
        token::Token::Create(_) | token::Token::Refresh(_) => &VIEW,
        token::Token::Validate(_) => &VALIDATION,
        token::Token::Revoke(_) => &REVOCATION,
        token::Token::Inspect(_) => &token_offline::INSPECTION,
        token::Token::Lint(_) => &token_offline::FINDING,
        token::Token::Verify(_) => &token_offline::VERDICT,
    }
}

pub(super) async fn run(session: &Session, command: token::Token) -> Outcome {
    match command {
        token::Token::Create(args) => create(session, *args).await,
        token::Token::Validate(args) => {
            let client = session.client().await?;
            let project_id = project(session, client, &args.of).await?;
            let op = ValidateToken { project_id, token: TokenText(input::token(&args.token)?) };
            let verdict = client.ask(&op).await?;
            session.printer.document(&VALIDATION, &verdict)?;
            Ok(if verdict.valid { Exit::Done } else { Exit::Found })
        }
        token::Token::Refresh(args) => {
            let client = session.client().await?;
            let project_id = project(session, client, &args.of).await?;
            let token = TokenText(input::token(&args.token)?);
            let op = RefreshToken { project_id, token, ttl_seconds: args.ttl.map(Span::seconds) };
            session.printer.document(&VIEW, &client.ask(&op).await?)?;
            DONE
        }
        token::Token::Revoke(args) => revoke(session, args).await,
        token::Token::Inspect(args) => token_offline::inspect(session, &args),
        token::Token::Lint(args) => token_offline::lint(session, &args),
        token::Token::Verify(args) => token_offline::verify(session, &args),
    }
}

/// The project that is named; a project's key needs none.
async fn project(session: &Session, client: &Client, of: &Of) -> Result<Option<pulse_core::id::ProjectId>, Failure> {
    let default = session.default_project();
    match of.project.as_deref().or(default.as_deref()) {
        Some(text) => names::project(session, client, text, of.org.as_deref(), false).await.map(Some),
        None => Ok(None),
    }
}

async fn create(session: &Session, args: token::Create) -> Outcome {
    let client = session.client().await?;
    let op = CreateToken {
        project_id: project(session, client, &args.of).await?,
        room_name: args.room,
        identity: args.identity,
        name: args.name,
        preset: args.preset,
        can_publish: args.can_publish,
        can_subscribe: args.can_subscribe,
        can_publish_data: args.can_publish_data,
        can_publish_sources: (!args.sources.is_empty()).then_some(args.sources),
        hidden: args.hidden,
        metadata: args.metadata,
        attributes: args.attributes.into_iter().collect(),
        ttl_seconds: args.ttl.map(Span::seconds),
        region: args.region,
        room_config: args.room_config_file.as_deref().map(input::json).transpose()?,
    };
    session.printer.document(&VIEW, &client.ask(&op).await?)?;
    DONE
}

async fn revoke(session: &Session, args: token::Revoke) -> Outcome {
    let client = session.client().await?;
    let from_token = args.token.as_deref().map(|path| {
        let claims = decode_unverified(input::secret(path)?.expose()).filter(|claims| !claims.jti.is_empty());
        let claims = claims.ok_or_else(|| Failure::usage("this is not a token that Pulse made: it has no jti"))?;
        Ok::<_, Failure>(claims.jti)
    });
    let op = RevokeTokens {
        project_id: project(session, client, &args.of).await?,
        jti: from_token.transpose()?.or(args.jti),
        identity: args.identity,
        room_name: args.room,
        all: args.every.then_some(true),
        before: args.before.map(|moment| moment.from(session.now())),
        reason: args.reason,
    };
    let options = CallOptions::from(&args.change);
    if args.every {
        confirm(session, client, &op, options, "Revoke every token of the project?").await?;
    }
    session.printer.answer(&REVOCATION, client.call(&op, options).await?)?;
    DONE
}
