//! The development issuer of `palisade dev`: a key that lives as long as the process, and tokens made with it.
//!
//! It exists on loopback only. [`crate::Service::start`] gets it as an embedded issuer from the command `dev`, and
//! `palisade serve` has no way to name it. The key is kept in a file that only its owner may read, so that `palisade
//! token mint` can make more tokens while the service runs.

pub mod demo;
pub mod token_service;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use aws_lc_rs::{
    rand::{SecureRandom, SystemRandom},
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use palisade_gateway::Upstream;
use palisade_model::{IssuerName, ResourceName, Scope, Timestamp};
use palisade_policy::{SourceFile, Sources};
use palisade_token::{IssuerSettings, KeySource};
use serde::{Deserialize, Serialize};
use serde_json::json;
use thiserror::Error;

use crate::{
    config::{ConfigError, Loaded, build::Embedded, load, values::ListenAddress},
    environment,
};

/// The `iss` of development tokens: a name that can never resolve (RFC 2606).
pub const ISSUER: &str = "https://issuer.palisade.invalid";
/// The name of the development issuer; it prefixes its users and roles.
pub const NAME: &str = "dev";
/// Where the public listener is.
pub const PUBLIC: &str = "http://127.0.0.1:7255";
/// The name of the sample resource.
pub const SAMPLE: &str = "demo";
/// The identifier of the sample resource.
pub const RESOURCE: &str = "http://127.0.0.1:7257/demo";

/// The key of a development issuer.
#[derive(Serialize, Deserialize)]
pub struct DevIssuer {
    /// PKCS #8, base64url.
    pkcs8: String,
    /// The key set document with the public half.
    jwks: String,
    /// The `kid`.
    kid: String,
}

/// Why there is no development issuer.
#[derive(Debug, Error)]
pub enum DevError {
    /// The key cannot be made or read.
    #[error("the development key is not usable")]
    Key,
    /// The file cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Nothing runs that the key could be from.
    #[error("cannot read {path}: start `palisade dev` first, it makes the key that tokens are signed with")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The token cannot be signed.
    #[error("the token cannot be signed")]
    Sign(#[from] jsonwebtoken::errors::Error),
    /// The sample catalogue cannot be read.
    #[error("the sample catalogue cannot be read: this is a defect")]
    Catalog,
    /// The embedded configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The state folder is not ours alone.
    #[error(
        "{path} is a link, open to others, or another user's: remove it, or set XDG_RUNTIME_DIR to a folder of your own"
    )]
    Foreign {
        /// The folder.
        path: PathBuf,
    },
    /// Something other than loopback was asked for.
    #[error("`palisade dev` listens on loopback only")]
    NotLoopback,
}

/// What a development token says.
#[derive(Debug, Clone)]
pub struct Claims {
    /// The user.
    pub user: String,
    /// The scopes.
    pub scopes: Vec<Scope>,
    /// The roles.
    pub roles: Vec<String>,
    /// The audience.
    pub audience: String,
    /// How long it lives.
    pub ttl: Duration,
}

impl DevIssuer {
    /// A new key.
    ///
    /// # Errors
    /// When the operating system has no randomness.
    pub fn generate() -> Result<Self, DevError> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|_| DevError::Key)?;
        let pkcs8 = pair.to_pkcs8v1()?;
        let mut kid = [0; 8];
        SystemRandom::new().fill(&mut kid).map_err(|_| DevError::Key)?;
        let kid = URL_SAFE_NO_PAD.encode(kid);
        // An uncompressed point (SEC 1 section 2.3.3): 0x04, then x and y of 32 bytes each.
        let point = pair.public_key().as_ref();
        let (Some(x), Some(y)) = (point.get(1..33), point.get(33..65)) else { return Err(DevError::Key) };
        let key = json!({
            "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": kid,
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        });
        let jwks = json!({ "keys": [key] }).to_string();
        Ok(Self { pkcs8: URL_SAFE_NO_PAD.encode(pkcs8.as_ref()), jwks, kid })
    }

    /// Reads the key of the running `palisade dev`.
    ///
    /// # Errors
    /// When there is none.
    pub fn load(path: &Path) -> Result<Self, DevError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| DevError::Read { path: path.to_owned(), source })?;
        serde_json::from_str(&text).map_err(|_| DevError::Key)
    }

    /// Keeps the key in a file that only its owner may read.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), DevError> {
        let write = || {
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
            write_private(path, &serde_json::to_string(self)?)
        };
        write().map_err(|source| DevError::Write { path: path.to_owned(), source })
    }

    /// A token (RFC 9068).
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn mint(&self, claims: &Claims, now: Timestamp) -> Result<String, DevError> {
        let pkcs8 = URL_SAFE_NO_PAD.decode(&self.pkcs8).map_err(|_| DevError::Key)?;
        let mut jti = [0; 12];
        SystemRandom::new().fill(&mut jti).map_err(|_| DevError::Key)?;
        let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::ES256);
        header.typ = Some("at+jwt".to_owned());
        header.kid = Some(self.kid.clone());
        let issued_at = now.unix_seconds();
        let scopes: BTreeSet<&str> = claims.scopes.iter().map(Scope::as_str).collect();
        let mut body = json!({
            "iss": ISSUER,
            "aud": claims.audience,
            "sub": claims.user,
            "client_id": "palisade-dev",
            "iat": issued_at,
            "exp": now.plus(claims.ttl).unix_seconds(),
            "jti": URL_SAFE_NO_PAD.encode(jti),
            "scope": scopes.into_iter().collect::<Vec<_>>().join(" "),
        });
        if let (Some(body), false) = (body.as_object_mut(), claims.roles.is_empty()) {
            body.insert("roles".to_owned(), json!(claims.roles));
        }
        Ok(jsonwebtoken::encode(&header, &body, &jsonwebtoken::EncodingKey::from_ec_der(&pkcs8))?)
    }

    /// What the service embeds for it: the issuer, the sample policies and the sample catalogue.
    ///
    /// # Errors
    /// Never, but for a defect of this file.
    pub fn embedded(&self) -> Result<Embedded, DevError> {
        let name: IssuerName = NAME.parse().map_err(|_| DevError::Key)?;
        let mut issuer = IssuerSettings::new(name, ISSUER.into());
        issuer.keys = KeySource::Inline(self.jwks.clone());
        Ok(Embedded {
            issuers: vec![issuer],
            sources: Some(sample_policies()),
            upstreams: upstreams()?,
            catalog: Some(sample_catalog()),
        })
    }
}

impl From<aws_lc_rs::error::Unspecified> for DevError {
    fn from(_: aws_lc_rs::error::Unspecified) -> Self {
        Self::Key
    }
}

impl std::fmt::Debug for DevIssuer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("DevIssuer(..)")
    }
}

/// Makes a file that only its owner may read.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

/// Where `palisade dev` keeps its key and its decision log: a folder of the user's own, below the runtime folder of
/// the session or else the folder for temporary files.
#[must_use]
pub fn state_folder() -> PathBuf {
    match environment::variable("XDG_RUNTIME_DIR") {
        Some(folder) if !folder.is_empty() => PathBuf::from(folder).join("palisade-dev"),
        Some(_) | None => {
            let user = environment::variable("USER").unwrap_or_else(|| "user".to_owned());
            std::env::temp_dir().join(format!("palisade-dev-{user}"))
        }
    }
}

/// Refuses a state folder that somebody else may write to, or has laid there: keys and logs go into it.
///
/// # Errors
/// When it is a link, or open to others than its owner, or not ours.
pub fn check_state_folder(state: &Path) -> Result<(), DevError> {
    let foreign = || DevError::Foreign { path: state.to_owned() };
    let found = std::fs::symlink_metadata(state).map_err(|_| foreign())?;
    // A file that we make has our user id: there is no other way to learn it without unsafe code.
    let probe = state.join(format!(".probe-{}", std::process::id()));
    let made = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&probe);
    let own = made.and_then(|file| file.metadata()).map_err(|_| foreign())?.uid();
    std::fs::remove_file(&probe).map_err(|_| foreign())?;
    if found.is_dir() && found.uid() == own && found.mode() & 0o077 == 0 { Ok(()) } else { Err(foreign()) }
}

/// The key file within the state folder.
#[must_use]
pub fn key_file(state: &Path) -> PathBuf {
    state.join("issuer-key.json")
}

/// The configuration of `palisade dev`, with its decision log in the state folder.
///
/// # Errors
/// When the embedded text is wrong, or an address is not on loopback.
pub fn configuration(state: &Path) -> Result<Loaded, DevError> {
    let mut loaded = load::read_text(Path::new("dev.yaml"), include_str!("dev.yaml"))?;
    loaded.config.audit.path = state.join("audit");
    token_service::complete(&mut loaded.config, state)?;
    let listen = &loaded.config.listen;
    let gateway = loaded.config.gateway.iter().map(|gateway| &gateway.address);
    let mut addresses: Vec<&ListenAddress> =
        vec![&listen.decision.address, &listen.public.address, &listen.admin.address];
    addresses.extend(gateway);
    if addresses.iter().all(|address| address.is_local()) { Ok(loaded) } else { Err(DevError::NotLoopback) }
}

fn sample_policies() -> Sources {
    let file = |path: &str, text: &str| SourceFile { path: path.to_owned(), text: text.to_owned() };
    Sources {
        policies: vec![
            file(
                "policies/five-tools/policy.cedar",
                include_str!("../../../policies/five-tools/policy.cedar"),
            ),
            token_service::policy(),
        ],
        entities: vec![file(
            "policies/five-tools/entities.json",
            include_str!("../../../policies/five-tools/entities.json"),
        )],
        ..Sources::default()
    }
}

/// The server behind the gateway.
fn upstreams() -> Result<BTreeMap<ResourceName, Upstream>, DevError> {
    let name: ResourceName = SAMPLE.parse().map_err(|_| DevError::Key)?;
    let server = demo::server(&sample_catalog().text).ok_or(DevError::Catalog)?;
    Ok(BTreeMap::from([(name, server)]))
}

fn sample_catalog() -> SourceFile {
    SourceFile {
        path: "policies/five-tools/tools.json".to_owned(),
        text: include_str!("../../../policies/five-tools/tools.json").to_owned(),
    }
}
