//! The token service of `palisade dev`: its key and its client's secret are made on the first start, and kept in the state
//! folder. `palisade serve` makes none: there they are files of the configuration.

use std::path::Path;

use aws_lc_rs::{
    rand::{SecureRandom, SystemRandom},
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use palisade_policy::SourceFile;

use super::{DevError, write_private};
use crate::config::{sts, types::Config};

/// The client that stands for the sample server.
pub const CLIENT: &str = "demo";
/// What it may ask for.
pub const AUDIENCE: &str = "orders";

/// Names the files of the state folder, and makes those that are not there.
pub(super) fn complete(config: &mut Config, state: &Path) -> Result<(), DevError> {
    for file in config.sts.iter_mut().flat_map(sts::files_mut) {
        *file = state.join(&*file);
        if file.exists() {
            continue;
        }
        let is_key = file.extension().is_some_and(|extension| extension == "pem");
        let text = if is_key { key()? } else { secret()? };
        write_private(file, &text).map_err(|source| DevError::Write { path: file.clone(), source })?;
    }
    Ok(())
}

/// The secret of the client, to be shown to whoever started the service.
///
/// # Errors
/// When the service was never started.
pub fn client_secret(state: &Path) -> Result<String, DevError> {
    let path = state.join("sts-demo.secret");
    std::fs::read_to_string(&path).map_err(|source| DevError::Read { path, source })
}

/// Users may be acted for by the sample server at one other service.
pub(super) fn policy() -> SourceFile {
    let text = format!(
        "@id(\"dev-exchange\")\npermit (\n  principal is User,\n  action == OAuth::Action::\"exchange\",\n  \
         resource == OAuth::Audience::\"{AUDIENCE}\"\n)\nwhen {{ context.requester == Client::\"sts/{CLIENT}\" }};\n"
    );
    SourceFile { path: "dev.cedar".to_owned(), text }
}

fn key() -> Result<String, DevError> {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|_| DevError::Key)?;
    let body = STANDARD.encode(pair.to_pkcs8v1()?.as_ref());
    Ok(format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n"))
}

fn secret() -> Result<String, DevError> {
    let mut secret = [0; 32];
    SystemRandom::new().fill(&mut secret).map_err(|_| DevError::Key)?;
    Ok(hex::encode(secret))
}
