//! `handles` as the keys that bind sessions and tasks to subjects.

use std::{path::PathBuf, sync::Arc};

use palisade_exchange::shared::seal::read_key;
use palisade_pdp::HandleKeys;
use zeroize::Zeroizing;

use super::{build::Builder, types::Handles, values::Secret};

impl Builder<'_> {
    /// The keys of a configuration; none where it has none.
    pub(super) fn handle_keys(&mut self) -> Arc<HandleKeys> {
        let keys = &self.config.handles.keys;
        if keys.len() > 2 {
            self.problem("handles.keys: one, or two while keys are changed".to_owned());
        }
        let mut read = Vec::new();
        for (place, secret) in keys.iter().enumerate() {
            let text = secret.read().map(Zeroizing::new);
            let key = text.and_then(|text| {
                let wrong = || "a key is 32 random bytes, in base64 or hex".to_owned();
                read_key(text.trim()).ok_or_else(wrong)
            });
            match key {
                Ok(key) => read.push(Zeroizing::new(key.to_vec())),
                Err(why) => self.problem(format!("handles.keys.{place}: {why}")),
            }
        }
        Arc::new(HandleKeys::new(read))
    }
}

/// The files that they are in.
pub(super) fn files(handles: &Handles) -> impl Iterator<Item = PathBuf> {
    handles.keys.iter().filter_map(|secret| match secret {
        Secret::File(path) => Some(path.clone()),
        Secret::Env(_) => None,
    })
}

/// The same, to be resolved against the file that names them.
pub(super) fn files_mut(handles: &mut Handles) -> impl Iterator<Item = &mut PathBuf> {
    handles.keys.iter_mut().filter_map(Secret::path_mut)
}
