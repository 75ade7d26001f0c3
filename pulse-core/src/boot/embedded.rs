//! The files beside an embedded database: `<db>.keys` with the pepper and the master key, `<db>.admin-token` with the
//! operator's token. Made once, for an empty store, readable by their owner alone.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};

use super::GivenSecrets;
use crate::{
    access::seal::Sealer,
    entropy::Entropy,
    error::{Code, Error, Result},
    secret::Secret,
};

/// The paths beside a database.
#[derive(Clone, Debug)]
pub struct EmbeddedFiles {
    /// The pepper and the master key.
    pub keys: PathBuf,
    /// The operator's token, when it was made where no terminal could show it.
    pub admin_token: PathBuf,
}

impl EmbeddedFiles {
    /// The paths beside the database at `db`.
    pub fn beside(db: &Path) -> Self {
        let with = |ending: &str| {
            let mut name = db.as_os_str().to_owned();
            name.push(ending);
            PathBuf::from(name)
        };
        Self { keys: with(".keys"), admin_token: with(".admin-token") }
    }
}

/// Writes a new file that only its owner can read; a file that exists is left alone and is an error.
pub fn write_private(path: &Path, text: &str) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// The pepper and the master key: what is given, else what the file beside the store has, else, for an empty store, new
/// ones. A store with documents and no secrets is an error, because new ones would not fit it.
pub(super) fn secrets(
    given: &GivenSecrets,
    beside: Option<&Path>,
    in_memory: bool,
    empty: bool,
    entropy: &dyn Entropy,
) -> Result<(Secret, Secret)> {
    if let (Some(pepper), Some(master_key)) = (&given.pepper, &given.master_key) {
        return Ok((pepper.clone(), master_key.clone()));
    }
    let made = || (random(entropy), Sealer::generate(entropy));
    let (pepper, master_key) = match beside.map(EmbeddedFiles::beside) {
        None if in_memory => made(),
        None => return Err(missing(given)),
        Some(files) => match read(&files.keys)? {
            Some(secrets) => secrets,
            None if !empty => {
                return Err(missing(given)
                    .hint(format!("The store was made with secrets that stood in {}.", files.keys.display())));
            }
            None => {
                let (pepper, master_key) = made();
                let text = format!("API_KEY_PEPPER={}\nPULSE_MASTER_KEY={}\n", pepper.expose(), master_key.expose());
                match write_private(&files.keys, &text) {
                    Ok(()) => (pepper, master_key),
                    // Another process was first: its secrets hold.
                    Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {
                        read(&files.keys)?.ok_or_else(|| unusable(&files.keys, "is incomplete"))?
                    }
                    Err(cause) => return Err(unusable(&files.keys, "cannot be written").because(cause)),
                }
            }
        },
    };
    Ok((given.pepper.clone().unwrap_or(pepper), given.master_key.clone().unwrap_or(master_key)))
}

fn missing(given: &GivenSecrets) -> Error {
    let variable = if given.pepper.is_none() { "API_KEY_PEPPER" } else { "PULSE_MASTER_KEY" };
    Error::new(Code::Misconfigured, format!("{variable} is not set"))
        .hint("Make one with: openssl rand -base64 32. Keep it with your other secrets: the store needs the same one each time.")
}

fn unusable(path: &Path, what: &str) -> Error {
    Error::new(Code::Misconfigured, format!("{} {what}", path.display())).hint("Look at the file and its permissions.")
}

fn random(entropy: &dyn Entropy) -> Secret {
    let mut bytes = zeroize::Zeroizing::new([0_u8; 32]);
    entropy.fill(bytes.as_mut_slice());
    Secret::new(STANDARD.encode(bytes.as_slice()))
}

fn read(path: &Path) -> Result<Option<(Secret, Secret)>> {
    use std::os::unix::fs::PermissionsExt as _;
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(unusable(path, "cannot be read").because(cause)),
    };
    let mode =
        fs::metadata(path).map_err(|cause| unusable(path, "cannot be read").because(cause))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(unusable(path, "can be read by others").hint(format!("chmod 600 {}", path.display())));
    }
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.map(Secret::new).ok_or_else(|| unusable(path, &format!("has no {name}")))
    };
    Ok(Some((value("API_KEY_PEPPER")?, value("PULSE_MASTER_KEY")?)))
}
