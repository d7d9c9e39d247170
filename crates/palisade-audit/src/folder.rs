//! The folder of the log: one process at a time, readable and writable by its user only.
//!
//! ```text
//! lock                              held while a process has the log open
//! key                               the installation's key, 32 random bytes
//! pending                           refusals that are counted and not yet records
//! exported.json                     how far the OTLP receiver has acknowledged
//! decisions-<sequence>.jsonl        segments of decisions and events
//! refusals-<sequence>.jsonl         segments of refusals before a subject is known
//! owner                             made and removed at the start, to see whose files are made here
//! <segment>.torn                    the torn end of a segment, after a crash
//! ```

use std::{
    fs::{self, DirBuilder, File, Metadata, OpenOptions, TryLockError},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use aws_lc_rs::rand;
use thiserror::Error;

use crate::log::AuditError;

const KEY_BYTES: usize = 32;

/// Creates the folder if it is not there, takes its lock, and makes sure that nobody else can write there: who can
/// could swap a file of the log for another.
pub(crate) fn claim(folder: &Path) -> Result<File, AuditError> {
    // Without a slash at its end, which would follow a symbolic link.
    let folder: &Path = &folder.components().collect::<PathBuf>();
    let failed = |action, path: &Path| {
        let path = path.to_owned();
        move |error| AuditError::io(action, &path, error)
    };
    if fs::symlink_metadata(folder).is_ok_and(|metadata| metadata.is_symlink()) {
        return Err(unsafe_folder(folder, FolderProblem::Link));
    }
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed("create", folder))?;
    let path = folder.join("lock");
    let lock =
        private().write(true).create(true).truncate(false).open(&path).map_err(failed("open", &path))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(AuditError::InUse { path: folder.to_owned() }),
        Err(TryLockError::Error(error)) => return Err(AuditError::io("lock", &path, error)),
    }
    let user = effective_user(folder).map_err(failed("write in", folder))?;
    let metadata = fs::symlink_metadata(folder).map_err(failed("read", folder))?;
    match problem(&metadata, user) {
        Some(problem) => Err(unsafe_folder(folder, problem)),
        None => Ok(lock),
    }
}

/// Why a folder is not safe to keep the log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum FolderProblem {
    /// It is a symbolic link.
    #[error("is a symbolic link: name the folder that it leads to in `audit.path`")]
    Link,
    /// It belongs to another user.
    #[error(
        "belongs to another user: run `chown` on it, or name a folder in `audit.path` that is not there yet"
    )]
    Owner,
    /// Its group or others may write in it.
    #[error(
        "can be written by others: run `chmod go-w` on it, or name a folder in `audit.path` that is not there yet"
    )]
    Writable,
}

fn unsafe_folder(folder: &Path, problem: FolderProblem) -> AuditError {
    AuditError::Folder { path: folder.to_owned(), problem }
}

fn problem(folder: &Metadata, user: u32) -> Option<FolderProblem> {
    if folder.is_symlink() {
        Some(FolderProblem::Link)
    } else if folder.uid() != user {
        Some(FolderProblem::Owner)
    } else if folder.mode() & 0o022 != 0 {
        Some(FolderProblem::Writable)
    } else {
        None
    }
}

/// The user that files of this process belong to, as the file system sees it. Only the holder of the lock asks.
fn effective_user(folder: &Path) -> io::Result<u32> {
    let path = folder.join("owner");
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    // Only a file that was not there before says who made it.
    let user = private().write(true).create_new(true).open(&path)?.metadata()?.uid();
    fs::remove_file(&path)?;
    Ok(user)
}

/// The installation's key; made of random bytes when the folder is first used.
pub(crate) fn key(folder: &Path) -> Result<[u8; KEY_BYTES], AuditError> {
    let path = folder.join("key");
    let mut key = [0; KEY_BYTES];
    match private().read(true).open(&path) {
        Ok(mut file) => {
            let mut read = Vec::new();
            file.read_to_end(&mut read).map_err(|error| AuditError::io("read", &path, error))?;
            read.try_into().map_err(|_| AuditError::Key { path })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            rand::fill(&mut key).map_err(|_| AuditError::Random)?;
            replace_durably(&path, &key).map_err(|error| AuditError::io("write", &path, error))?;
            Ok(key)
        }
        Err(error) => Err(AuditError::io("read", &path, error)),
    }
}

/// Options for a file that only its user may read, and that is no symbolic link.
pub(crate) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600).custom_flags(libc::O_NOFOLLOW);
    options
}

/// Replaces a file whole: a reader sees the old content or the new.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    private().write(true).create(true).truncate(true).open(&new)?.write_all(content)?;
    fs::rename(&new, path)
}

/// Replaces a file whole, and brings it to the disk.
pub(crate) fn replace_durably(path: &Path, content: &[u8]) -> io::Result<()> {
    replace(path, content)?;
    File::open(path)?.sync_all()?;
    path.parent().map_or(Ok(()), sync)
}

/// Makes the entries of a folder last.
pub(crate) fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn problem_of(folder: &Path) -> FolderProblem {
        let error = claim(folder).unwrap_err();
        let AuditError::Folder { path, problem } = error else { panic!("{error}") };
        assert_eq!(path, folder.components().collect::<PathBuf>());
        problem
    }

    #[test]
    fn a_folder_that_others_can_write_to_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for (mode, refused) in [(0o770, true), (0o702, true), (0o1777, true), (0o755, false), (0o2700, false)]
        {
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
            if refused {
                assert_eq!(problem_of(folder.path()), FolderProblem::Writable, "{mode:o}");
            } else {
                claim(folder.path()).unwrap();
            }
        }
    }

    #[test]
    fn a_folder_of_another_user_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let metadata = fs::metadata(folder.path()).unwrap();
        assert_eq!(problem(&metadata, metadata.uid()), None);
        assert_eq!(problem(&metadata, metadata.uid() + 1), Some(FolderProblem::Owner));
        assert_eq!(effective_user(folder.path()).unwrap(), metadata.uid());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn symbolic_links_are_not_followed() {
        let parent = tempfile::tempdir().unwrap();
        let (real, link) = (parent.path().join("real"), parent.path().join("link"));
        fs::create_dir(&real).unwrap();
        for target in [&real, &parent.path().join("nowhere")] {
            symlink(target, &link).unwrap();
            assert_eq!(problem_of(&link), FolderProblem::Link);
            assert_eq!(problem_of(&link.join("")), FolderProblem::Link, "with a slash at the end");
            fs::remove_file(&link).unwrap();
        }
        assert!(!parent.path().join("nowhere").exists());
        for name in ["lock", "key"] {
            let other = parent.path().join(name);
            fs::write(&other, [7; KEY_BYTES]).unwrap();
            symlink(&other, real.join(name)).unwrap();
            let error = claim(&real).map(drop).and_then(|()| key(&real).map(drop)).unwrap_err();
            assert!(matches!(error, AuditError::Io { .. }), "{error}");
            assert_eq!(fs::read(&other).unwrap(), [7; KEY_BYTES]);
            fs::remove_file(real.join(name)).unwrap();
        }
    }
}
