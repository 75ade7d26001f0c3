//! Files that only their owner reads: replaced as a whole, and the one that hands the operator's token over.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use crate::secret::Secret;

/// The mode of a file that only its owner reads.
pub const PRIVATE: u32 = 0o600;

/// Puts a file with this text and mode in the place of the one at `path`, if there is one: readers see the old one or
/// the new one, and a crash leaves one of them whole. A missing folder is made, for its owner alone.
pub fn replace_file(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    through_partial(path, text, mode, |partial| fs::rename(partial, path))
}

/// Makes a file with this text that only its owner reads. One that exists is left alone and is an error. The file is
/// there whole or not at all, whenever the machine stops and whoever looks at the same time.
pub fn create_private(path: &Path, text: &str) -> io::Result<()> {
    through_partial(path, text, PRIVATE, |partial| fs::hard_link(partial, path))
}

/// Writes a file beside `path` to its end, and has it put into its place.
fn through_partial(path: &Path, text: &str, mode: u32, put: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(format!(".partial-{}", std::process::id()));
    let partial = PathBuf::from(partial);
    // What an earlier process with this id left behind.
    let _ = fs::remove_file(&partial);
    let written = write_synced(&partial, text, mode).and_then(|()| put(&partial));
    let _ = fs::remove_file(&partial);
    written?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::File::open(folder)?.sync_all()
}

fn write_synced(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(text.as_bytes())?;
    // What the process's mask took away is given back: the mode is the caller's decision.
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.sync_all()
}

/// The file in which the operator's token lies until it is replaced: where it was made, nobody else may have seen it.
#[derive(Clone, Debug)]
pub struct OperatorTokenFile(PathBuf);

impl OperatorTokenFile {
    /// The file at this path.
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes the token.
    pub fn write(&self, token: &Secret) -> io::Result<()> {
        replace_file(&self.0, &format!("{}\n", token.expose()), PRIVATE)
    }

    /// The token in it; `None` when there is none.
    pub fn read(&self) -> Option<Secret> {
        fs::read_to_string(&self.0).ok().map(|text| Secret::new(text.trim()))
    }

    /// Removes it.
    pub fn remove(&self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_file_has_the_mode_that_was_asked_for_and_leaves_nothing_beside_it() {
        let folder = std::env::temp_dir().join(format!("pulse-files-{}", std::process::id()));
        let path = folder.join("deep/file");
        for (text, mode) in [("one", 0o600), ("two", 0o644)] {
            replace_file(&path, text, mode).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode);
        }
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "a partial file is left");
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_created_file_is_whole_or_not_there_and_never_written_over() {
        let folder = std::env::temp_dir().join(format!("pulse-created-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("file");
        // What a process that died in the middle has left behind.
        fs::write(folder.join(format!("file.partial-{}", std::process::id())), "ha").unwrap();
        create_private(&path, "whole").unwrap();
        assert_eq!(create_private(&path, "other").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "whole");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, PRIVATE);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "a partial file is left");
        fs::remove_dir_all(folder).unwrap();
    }
}
