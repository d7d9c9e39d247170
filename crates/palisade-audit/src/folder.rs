//! The folder of the log: one process at a time, readable by its user only.
//!
//! ```text
//! lock                              held while a process has the log open
//! key                               the installation's key, 32 random bytes
//! pending                           refusals that are counted and not yet records
//! exported.json                     how far the OTLP receiver has acknowledged
//! decisions-<sequence>.jsonl        segments of decisions and events
//! refusals-<sequence>.jsonl         segments of refusals before a subject is known
//! <segment>.torn                    the torn end of a segment, after a crash
//! ```

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

use aws_lc_rs::rand;

use crate::log::AuditError;

const KEY_BYTES: usize = 32;

/// Creates the folder if it is not there, and takes its lock.
pub(crate) fn claim(folder: &Path) -> Result<File, AuditError> {
    let failed = |error| AuditError::io("create", folder, error);
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    let path = folder.join("lock");
    let lock = private().write(true).create(true).truncate(false).open(&path);
    let lock = lock.map_err(|error| AuditError::io("open", &path, error))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(AuditError::InUse { path: folder.to_owned() }),
        Err(TryLockError::Error(error)) => Err(AuditError::io("lock", &path, error)),
    }
}

/// The installation's key; made of random bytes when the folder is first used.
pub(crate) fn key(folder: &Path) -> Result<[u8; KEY_BYTES], AuditError> {
    let path = folder.join("key");
    let mut key = [0; KEY_BYTES];
    match File::open(&path) {
        Ok(mut file) => {
            let mut read = Vec::new();
            file.read_to_end(&mut read).map_err(|error| AuditError::io("read", &path, error))?;
            read.try_into().map_err(|_| AuditError::Key { path })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            rand::fill(&mut key).map_err(|_| AuditError::Random)?;
            let written =
                replace(&path, &key).and_then(|()| File::open(&path)?.sync_all()).and_then(|()| sync(folder));
            written.map_err(|error| AuditError::io("write", &path, error))?;
            Ok(key)
        }
        Err(error) => Err(AuditError::io("read", &path, error)),
    }
}

/// Options for a file that only its user may read.
pub(crate) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

/// Replaces a file whole: a reader sees the old content or the new.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    private().write(true).create(true).truncate(true).open(&new)?.write_all(content)?;
    fs::rename(&new, path)
}

/// Makes the entries of a folder last.
pub(crate) fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
