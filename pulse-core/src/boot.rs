//! Puts a control plane together over a store: the secrets that belong to the store, their fingerprints, the operator's
//! token, and in embedded mode the files beside the database.
//!
//! The store records fingerprints of the pepper and the master key. Whoever comes with others is refused before anything
//! is written, because keys would not verify and sealed secrets would not open.

mod embedded;
pub mod open;
mod webhook_urls;

use std::{path::PathBuf, sync::Arc};

use serde::{Deserialize, Serialize};

pub use embedded::EmbeddedFiles;

use crate::{
    access::{key, pepper::Peppers, seal::Sealer},
    entropy::Entropy,
    error::{Code, Error, Result},
    media::engine::MediaEngine,
    metrics::Metrics,
    outbound::Outbound,
    parts::{Ingredients, Settings},
    plane::ControlPlane,
    repo::{self, Document, operator_token::OperatorToken},
    secret::Secret,
    store::{Batch, Collection, CommitMode, Outcome, SharedStore, schema},
    time::Clock,
};

const FINGERPRINTS_ID: &str = "fingerprints";
/// The least length of an operator's token that is given, in visible characters.
pub const MIN_ADMIN_TOKEN_CHARS: usize = 32;

/// Which secrets a store was made with.
#[derive(Debug, Serialize, Deserialize)]
struct Fingerprints {
    pepper: String,
    master_key: String,
    #[serde(skip)]
    version: u64,
}

impl Document for Fingerprints {
    const COLLECTION: &'static Collection = &schema::META;
    const KIND: &'static str = "fingerprints";

    fn document_id(&self) -> String {
        FINGERPRINTS_ID.to_owned()
    }
    fn version(&self) -> u64 {
        self.version
    }
    fn set_version(&mut self, version: u64) {
        self.version = version;
    }
}

/// Secrets that the settings give.
#[derive(Clone, Default)]
#[expect(missing_debug_implementations, reason = "holds secrets")]
pub struct GivenSecrets {
    /// `API_KEY_PEPPER`.
    pub pepper: Option<Secret>,
    /// `API_KEY_PEPPER_PREVIOUS`.
    pub previous_pepper: Option<Secret>,
    /// `PULSE_MASTER_KEY`.
    pub master_key: Option<Secret>,
    /// `PULSE_ADMIN_TOKEN`.
    pub admin_token: Option<Secret>,
}

/// What a plane is put together from.
#[expect(missing_debug_implementations, reason = "holds secrets")]
pub struct Assembly {
    /// An engine; it is prepared here.
    pub store: SharedStore,
    /// For a store of one machine, the database's path, beside which secrets are kept; `None` for MongoDB.
    pub beside: Option<PathBuf>,
    /// Whether the store lives only as long as the process, so that nothing is kept in files.
    pub in_memory: bool,
    /// Secrets from the settings.
    pub secrets: GivenSecrets,
    /// This installation.
    pub settings: Settings,
    /// What leaves Pulse.
    pub outbound: Outbound,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Series.
    pub metrics: Metrics,
    /// Answers in place of every media server, in tests.
    pub engine: Option<Arc<dyn MediaEngine>>,
}

/// A plane, and the operator's token if it was made just now.
#[expect(missing_debug_implementations, reason = "holds a secret")]
pub struct Assembled {
    /// The plane.
    pub plane: ControlPlane,
    /// The operator's token, which nobody has seen yet.
    pub fresh_admin_token: Option<Secret>,
}

/// Prepares the store and puts a plane over it. `make_operator_token` says whether a missing operator's token is made, and
/// what an older version left is completed: the daemon does so, a local command line has no use for either.
pub async fn assemble(assembly: Assembly, make_operator_token: bool) -> Result<Assembled> {
    let Assembly { store, beside, in_memory, secrets, mut settings, outbound, clock, entropy, metrics, engine } =
        assembly;
    open::install_cryptography();
    store.prepare().await?;
    let recorded: Option<Fingerprints> = repo::get(&store, FINGERPRINTS_ID).await?;
    let (pepper, master_key) =
        embedded::secrets(&secrets, beside.as_deref(), in_memory, recorded.is_none(), entropy.as_ref())?;
    let peppers = Peppers::new(&pepper, secrets.previous_pepper.as_ref())?;
    let sealer = Sealer::new(&master_key)?;
    check_fingerprints(&store, recorded, &peppers, &sealer).await?;
    if let Some(token) = &secrets.admin_token {
        check_admin_token(token)?;
    }
    settings.operator_token_given = secrets.admin_token.is_some();
    let asked = clock.monotonic();
    let store_time = (store.now(clock.now()).await?, asked);
    let ingredients =
        Ingredients { store, store_time, peppers, sealer, outbound, clock, entropy, metrics, settings, engine };
    let plane = ControlPlane::new(ingredients);
    let parts = plane.parts();
    if make_operator_token {
        let made = webhook_urls::give_endpoints(parts).await?;
        if made > 0 {
            tracing::info!(made, "webhook endpoints were made for the webhook_url of projects that had none");
        }
    }
    parts.keyring.confirm(parts.store.generation().await?);
    forget_replaced_token(&plane).await?;
    let fresh_admin_token = match &secrets.admin_token {
        Some(token) => {
            parts.keyring.give_operator_token(token);
            None
        }
        None if make_operator_token => first_operator_token(&plane).await?,
        None => None,
    };
    Ok(Assembled { plane, fresh_admin_token })
}

async fn check_fingerprints(
    store: &SharedStore,
    recorded: Option<Fingerprints>,
    peppers: &Peppers,
    sealer: &Sealer,
) -> Result<()> {
    let refused = |variable: &str| {
        Err(Error::new(Code::Misconfigured, format!("{variable} is not the one that this store was made with"))
            .hint("Use the value that the store was made with. Nothing was written."))
    };
    let Some(mut recorded) = recorded else {
        let mut batch = Batch::new();
        let mine = Fingerprints {
            pepper: peppers.fingerprint().to_owned(),
            master_key: sealer.fingerprint().to_owned(),
            version: 0,
        };
        mine.insert_into(&mut batch)?;
        return match store.commit(batch, CommitMode::Apply).await? {
            Outcome::Committed { .. } => Ok(()),
            // Another process was first: it decides.
            _ => match repo::get::<Fingerprints>(store, FINGERPRINTS_ID).await? {
                Some(theirs) if theirs.master_key != sealer.fingerprint() => refused("PULSE_MASTER_KEY"),
                Some(theirs) if theirs.pepper != peppers.fingerprint() => refused("API_KEY_PEPPER"),
                _ => Ok(()),
            },
        };
    };
    if recorded.master_key != sealer.fingerprint() {
        return refused("PULSE_MASTER_KEY");
    }
    if recorded.pepper == peppers.fingerprint() {
        return Ok(());
    }
    if !peppers.knows(&recorded.pepper) {
        return refused("API_KEY_PEPPER");
    }
    // A new pepper beside its predecessor: the store goes over to it.
    peppers.fingerprint().clone_into(&mut recorded.pepper);
    let mut batch = Batch::new();
    recorded.replace_in(&mut batch)?;
    store.commit(batch, CommitMode::Apply).await.map(drop)
}

fn check_admin_token(token: &Secret) -> Result<()> {
    let text = token.expose();
    let strong = text.chars().count() >= MIN_ADMIN_TOKEN_CHARS && text.chars().all(|c| c.is_ascii_graphic());
    if strong && text.len() <= 255 {
        return Ok(());
    }
    Err(Error::new(
        Code::Misconfigured,
        format!("PULSE_ADMIN_TOKEN is not {MIN_ADMIN_TOKEN_CHARS} to 255 visible ASCII characters"),
    )
    .hint("Make one with: openssl rand -base64 32"))
}

/// Makes the operator's token when the store has none.
async fn first_operator_token(plane: &ControlPlane) -> Result<Option<Secret>> {
    let parts = plane.parts();
    if OperatorToken::read(&parts.store).await?.is_some() {
        return Ok(None);
    }
    let secret = key::generate_admin(parts.entropy.as_ref());
    let token = OperatorToken { digest: parts.keyring.digest(&secret), created_at: parts.clock.now(), version: 0 };
    let mut batch = Batch::new();
    token.insert_into(&mut batch)?;
    // When another daemon was first, its token holds.
    let made = matches!(parts.store.commit(batch, CommitMode::Apply).await?, Outcome::Committed { .. });
    Ok(made.then_some(secret))
}

/// Removes the file that handed the operator's token out, when that token was replaced or is one of another store.
pub async fn forget_replaced_token(plane: &ControlPlane) -> Result<()> {
    let parts = plane.parts();
    let Some(file) = &parts.settings.operator_token_file else { return Ok(()) };
    // While the settings give the token, the store's is not looked at.
    let Some(token) = file.read().filter(|_| !parts.settings.operator_token_given) else { return Ok(()) };
    if !parts.keyring.is_operator(token.expose()).await? {
        file.remove();
    }
    Ok(())
}
