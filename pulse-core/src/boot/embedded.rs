//! The files beside an embedded database: `<db>.keys` with the pepper and the master key, `<db>.admin-token` with the
//! operator's token. Made once, for an empty store, readable by their owner alone.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};

use super::GivenSecrets;
use crate::{
    access::seal::Sealer,
    entropy::Entropy,
    error::{Code, Error, Result},
    files::create_private,
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
    let made = || {
        let pepper = given.pepper.clone().unwrap_or_else(|| random(entropy));
        (pepper, given.master_key.clone().unwrap_or_else(|| Sealer::generate(entropy)))
    };
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
                match create_private(&files.keys, &text) {
                    Ok(()) => (pepper, master_key),
                    // Another process was first: its secrets hold.
                    Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {
                        read(&files.keys)?.ok_or_else(|| unusable(&files.keys, "is gone again"))?
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SeededEntropy;

    /// A folder of this test, gone with it.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("pulse-embedded-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn names(&self) -> Vec<String> {
            fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn texts(given: &GivenSecrets, db: &Path, empty: bool) -> (String, String) {
        let (pepper, master_key) = secrets(given, Some(db), false, empty, &SeededEntropy::new(1)).unwrap();
        (pepper.expose().to_owned(), master_key.expose().to_owned())
    }

    #[test]
    fn the_file_records_the_secrets_that_are_used() {
        let folder = Folder::new("used");
        let db = folder.0.join("pulse.db");
        let given =
            GivenSecrets { pepper: Some(Secret::new("a pepper that the settings give")), ..GivenSecrets::default() };
        let used = texts(&given, &db, true);
        assert_eq!(used.0, "a pepper that the settings give");
        assert_eq!(texts(&GivenSecrets::default(), &db, false), used, "the next start needs no settings");
        assert_eq!(folder.names(), ["pulse.db.keys"], "nothing else is left");
    }

    #[test]
    fn starters_at_once_agree_on_the_secrets() {
        let folder = Folder::new("race");
        let db = folder.0.join("pulse.db");
        let path = EmbeddedFiles::beside(&db).keys;
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                loop {
                    // Whoever sees the file sees all of it.
                    if let Some(found) = read(&path).unwrap() {
                        break found.1.expose().to_owned();
                    }
                }
            });
            let (_, master_key) = texts(&GivenSecrets::default(), &db, true);
            assert_eq!(reader.join().unwrap(), master_key);
        });
    }
}
