//! Programs of Debian's packages, which are unpacked and not installed.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::components_dir;

/// Why there are none on this machine, if they were left out when the components were installed.
pub(super) fn skipped() -> Result<Option<String>> {
    Ok(fs::read_to_string(components_dir()?.join("debian.skipped")).ok())
}

/// A program of Debian's packages, with the libraries that were unpacked beside it.
pub(super) fn program(path: &str) -> Result<Command> {
    let root = components_dir()?.join("debian/usr");
    let mut libraries: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(root.join("lib"))? {
        libraries
            .extend(Some(entry?.path()).filter(|path| path.display().to_string().ends_with("-linux-gnu")));
    }
    let mut command = Command::new(root.join(path));
    command.env("LD_LIBRARY_PATH", std::env::join_paths(libraries)?);
    Ok(command)
}
