//! Says whether a media token is good, and if not, every reason why. Another project's token looks like a bad signature.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Permission, ProjectState, TokenText, ban_of, check_room, mint::own_attributes, signer_of};
use crate::{
    error::Result,
    id::ProjectId,
    media::{
        room::{self, RoomName},
        token::{self, Jti, PROJECT_ATTRIBUTE, TokenClaims},
    },
    model::revocation::SubjectKind,
    op::{Cx, Meta, Operation, Planned, Scope},
    repo::revocations::Issued,
    time::Timestamp,
};

/// Why a token is bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum ReasonCode {
    /// It is not a JWT.
    Malformed,
    /// It is not signed for this project, or was changed.
    BadSignature,
    /// It has no `jti` of Pulse: LiveKit renewed it for a connected client, or somebody else made it.
    NotIssuedByPulse,
    /// Its time is over.
    Expired,
    /// Its time has not come.
    NotYetValid,
    /// It was revoked.
    Revoked,
    /// Its identity is banned.
    Banned,
    /// Its project is suspended.
    ProjectSuspended,
    /// Its project was deleted.
    ProjectDeleted,
}

/// One reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reason {
    /// A stable word.
    pub code: ReasonCode,
    /// A sentence.
    pub detail: String,
}

/// What a token says, in Pulse's words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ShownClaims {
    /// The token's id.
    pub jti: Option<String>,
    /// The room, as the customer knows it.
    pub room_name: RoomName,
    /// Who joins.
    pub identity: String,
    /// What the participant is called.
    pub name: Option<String>,
    /// Send audio and video.
    pub can_publish: bool,
    /// Receive audio and video.
    pub can_subscribe: bool,
    /// Send data messages.
    pub can_publish_data: bool,
    /// Which tracks may be sent; empty: all.
    pub can_publish_sources: Vec<String>,
    /// Not shown to others.
    pub hidden: bool,
    /// The customer's text.
    pub metadata: Option<String>,
    /// The customer's attributes.
    pub attributes: BTreeMap<String, String>,
    /// When it was made.
    pub issued_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// Whether a token is good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Validation {
    /// Whether it is.
    pub valid: bool,
    /// Every reason why it is not.
    pub reasons: Vec<Reason>,
    /// What it says; absent when its signature is not this project's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claims: Option<ShownClaims>,
}

/// Say whether a media token of the project is good, and if not, why.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ValidateToken {
    /// The project; a project's key implies it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_id: Option<ProjectId>,
    /// The token.
    pub token: TokenText,
}

impl Operation for ValidateToken {
    type Output = Validation;
    const META: Meta = Meta::query(
        "tokens.validate",
        "/v1/tokens/validate",
        &[Permission::TokensMint],
        "Say whether a media token of the project is good, and if not, why",
    );

    fn scope(&self) -> Scope {
        Scope::CallerProject(self.project_id)
    }

    async fn plan(&self, cx: &Cx<'_>) -> Result<Planned<Validation>> {
        let verdict = judge(cx, &self.token.0).await?;
        Ok(Planned::read(Validation {
            valid: verdict.reasons.is_empty(),
            reasons: verdict.reasons,
            claims: verdict.claims,
        }))
    }
}

/// A token of this project that Pulse made.
pub(super) struct Judged {
    pub(super) claims: TokenClaims,
    pub(super) jti: Jti,
    pub(super) room: RoomName,
}

/// What was found out about a token.
#[derive(Default)]
pub(super) struct Verdict {
    pub(super) reasons: Vec<Reason>,
    pub(super) claims: Option<ShownClaims>,
    pub(super) judged: Option<Judged>,
}

impl Verdict {
    fn because(&mut self, code: ReasonCode, detail: impl Into<String>) {
        self.reasons.push(Reason { code, detail: detail.into() });
    }

    fn only(code: ReasonCode, detail: &str) -> Self {
        Self { reasons: vec![Reason { code, detail: detail.to_owned() }], ..Self::default() }
    }
}

/// Looks at everything that can be wrong with a token.
pub(super) async fn judge(cx: &Cx<'_>, text: &str) -> Result<Verdict> {
    let tenant = cx.tenant()?;
    let signer = signer_of(&tenant.project, &cx.parts.settings.livekit, &cx.parts.sealer)?;
    if token::decode_unverified(text).is_none() {
        return Ok(Verdict::only(ReasonCode::Malformed, "it is not a LiveKit token"));
    }
    let strange = || Verdict::only(ReasonCode::BadSignature, "it is not signed for this project, or was changed");
    let Some(claims) = token::decode_signed(&signer, text) else { return Ok(strange()) };
    let wire = &claims.livekit.video.room;
    let room = if signer.shared {
        room::split(wire).filter(|(project, _)| *project == tenant.project.id).map(|(_, room)| room)
    } else {
        wire.parse().ok()
    };
    let Some(room) = room else { return Ok(strange()) };
    check_room(cx, Some(&room))?;
    let mut verdict = Verdict::default();
    let jti = Jti::parse(&claims.jti).filter(|_| {
        claims.livekit.attributes.get(PROJECT_ATTRIBUTE).is_some_and(|id| *id == tenant.project.id.to_string())
    });
    if jti.is_none() {
        verdict.because(
            ReasonCode::NotIssuedByPulse,
            "it has no id of Pulse: LiveKit renewed it, or somebody else made it",
        );
    }
    judge_times(cx, &claims, &mut verdict);
    match tenant.project.state {
        _ if tenant.org.deleted_at.is_some() => verdict.because(ReasonCode::ProjectDeleted, "its project was deleted"),
        ProjectState::Deleted => verdict.because(ReasonCode::ProjectDeleted, "its project was deleted"),
        ProjectState::Suspended => verdict.because(ReasonCode::ProjectSuspended, "its project is suspended"),
        ProjectState::Active => {}
    }
    if let Some(detail) = revoked(cx, tenant.project.id, &claims, jti, &room).await? {
        verdict.because(ReasonCode::Revoked, detail);
    }
    if let Some(ban) = ban_of(cx, &claims.livekit.sub, &room).await? {
        let why = ban.reason.map(|reason| format!(": {reason}")).unwrap_or_default();
        verdict.because(ReasonCode::Banned, format!("its identity was banned at {}{why}", ban.created_at));
    }
    verdict.claims = Some(shown(&claims, &room));
    verdict.judged = jti.map(|jti| Judged { claims, jti, room });
    Ok(verdict)
}

fn moment(seconds: usize) -> Timestamp {
    Timestamp::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX))
}

fn judge_times(cx: &Cx<'_>, claims: &TokenClaims, verdict: &mut Verdict) {
    let (begin, end) = (moment(claims.livekit.nbf), moment(claims.livekit.exp));
    if end <= cx.now {
        verdict.because(ReasonCode::Expired, format!("it ended at {end}"));
    }
    if begin > cx.now {
        verdict.because(ReasonCode::NotYetValid, format!("it begins at {begin}"));
    }
}

/// Why a revocation hits the token, if one does. A token of Pulse counts as issued when its family was, so that a refresh
/// does not outlive the revocation.
async fn revoked(
    cx: &Cx<'_>,
    project: ProjectId,
    claims: &TokenClaims,
    jti: Option<Jti>,
    room: &RoomName,
) -> Result<Option<String>> {
    let issued = Issued { jti, identity: &claims.livekit.sub, room, at: moment(claims.livekit.nbf) };
    let hit = cx.parts.revocations.hitting(project, &issued, cx.now).await?;
    Ok(hit.map(|hit| {
        let what = match hit.kind {
            SubjectKind::Jti => "it was revoked",
            SubjectKind::Identity => "the tokens of its identity were revoked",
            SubjectKind::Room => "the tokens of its room were revoked",
            SubjectKind::Project => "all tokens of the project were revoked",
        };
        let why = hit.reason.map(|reason| format!(": {reason}")).unwrap_or_default();
        format!("{what} at {}{why}", hit.created_at)
    }))
}

fn shown(claims: &TokenClaims, room: &RoomName) -> ShownClaims {
    let (livekit, video) = (&claims.livekit, &claims.livekit.video);
    let text = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    ShownClaims {
        jti: text(&claims.jti),
        room_name: room.clone(),
        identity: livekit.sub.clone(),
        name: text(&livekit.name),
        can_publish: video.can_publish(),
        can_subscribe: video.can_subscribe(),
        can_publish_data: video.can_publish_data(),
        can_publish_sources: video.can_publish_sources.clone(),
        hidden: video.hidden,
        metadata: text(&livekit.metadata),
        attributes: own_attributes(&livekit.attributes).map(|(key, value)| (key.clone(), value.clone())).collect(),
        issued_at: moment(livekit.nbf),
        expires_at: moment(livekit.exp),
    }
}
