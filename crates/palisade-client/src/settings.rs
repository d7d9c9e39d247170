//! What a client is built from.

use std::{path::PathBuf, time::Duration};

use palisade_model::RawToken;
use tonic::{
    metadata::{Ascii, MetadataValue},
    transport::{Certificate, ClientTlsConfig, Endpoint},
};

use crate::{SetupError, wire::LONGEST};

/// How a client reaches the service.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// Where decision listeners are: `http://127.0.0.1:7254`, `https://palisade.example.com`, `unix:/run/palisade.sock`.
    /// Several are replicas of one service, with the same configuration.
    pub endpoints: Vec<String>,
    /// What this caller proves itself with. A caller that proves nothing is `local` on loopback, and nobody elsewhere.
    pub key: PepKey,
    /// A file of certificates (PEM) that TLS endpoints are verified against. None: the system's.
    pub ca_file: Option<PathBuf>,
    /// How long a call may take in all, with everything that is tried. A decision takes at most `limits.deadline` of the
    /// service, 150 ms as delivered; the way there and back comes to it.
    pub deadline: Duration,
    /// How long a TCP connection may take, and how long its TLS handshake.
    pub connect_timeout: Duration,
    /// Where questions, with the tokens in them, may go without TLS.
    pub plaintext: Plaintext,
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self {
            endpoints: Vec::new(),
            key: PepKey::None,
            ca_file: None,
            deadline: Duration::from_secs(1),
            connect_timeout: Duration::from_millis(300),
            plaintext: Plaintext::Loopback,
        }
    }
}

/// The key of a PEP, `peps.<name>.auth.key` of the configuration. It is sent as `x-palisade-key`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum PepKey {
    /// None is sent.
    #[default]
    None,
    /// This one. Nothing prints it.
    Text(RawToken),
    /// The one in this file, without white space at its end; read once.
    File(PathBuf),
}

/// Where questions may go without TLS.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Plaintext {
    /// To this machine.
    #[default]
    Loopback,
    /// Anywhere: something else, such as a mesh, encrypts the way.
    Anywhere,
}

/// How often a connection is asked whether it lives, and how long it may think.
const PING_EVERY: Duration = Duration::from_secs(5);
const PING_TIMEOUT: Duration = Duration::from_secs(3);

impl ClientSettings {
    pub(crate) fn check(&self) -> Result<(), SetupError> {
        if self.endpoints.is_empty() {
            return Err(SetupError::NoEndpoint);
        }
        for (what, time) in [("deadline", self.deadline), ("connect_timeout", self.connect_timeout)] {
            if time.is_zero() || time > LONGEST {
                return Err(SetupError::Bound { what, bounds: "more than nothing and at most one hour" });
            }
        }
        Ok(())
    }

    pub(crate) fn key(&self) -> Result<Option<MetadataValue<Ascii>>, SetupError> {
        let text = match &self.key {
            PepKey::None => return Ok(None),
            PepKey::Text(key) => key.expose().to_owned(),
            PepKey::File(path) => std::fs::read_to_string(path)
                .map_err(|source| SetupError::File { path: path.clone(), source })?
                .trim_end()
                .to_owned(),
        };
        let mut key: MetadataValue<Ascii> = text.parse().map_err(|_| SetupError::Key)?;
        if text.is_empty() {
            return Err(SetupError::Key);
        }
        key.set_sensitive(true);
        Ok(Some(key))
    }

    /// An endpoint as the transport takes it, which connects when it is first needed.
    pub(crate) fn transport(&self, endpoint: &str) -> Result<Endpoint, SetupError> {
        let wrong = |why| SetupError::Endpoint { endpoint: endpoint.to_owned(), why };
        let forms = "it is `http://host:port`, `https://host:port` or `unix:/path`";
        let transport = Endpoint::from_shared(endpoint.to_owned()).map_err(|_| wrong(forms))?;
        let transport = transport
            .connect_timeout(self.connect_timeout)
            .http2_keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_TIMEOUT)
            .keep_alive_while_idle(true);
        if let Some(path) = endpoint.strip_prefix("unix:") {
            let absolute = path.trim_start_matches("//").starts_with('/');
            return if absolute { Ok(transport) } else { Err(wrong("the path of a socket begins with `/`")) };
        }
        let uri = transport.uri().clone();
        let host = uri.host().ok_or_else(|| wrong(forms))?;
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(wrong("a gRPC service has no path or query"));
        }
        match uri.scheme_str() {
            Some("http") if self.plaintext == Plaintext::Anywhere || is_loopback(host) => Ok(transport),
            Some("http") => Err(SetupError::Plaintext { endpoint: endpoint.to_owned() }),
            Some("https") => self.tls(transport, endpoint),
            _ => Err(wrong(forms)),
        }
    }

    fn tls(&self, transport: Endpoint, endpoint: &str) -> Result<Endpoint, SetupError> {
        let tls = ClientTlsConfig::new().timeout(self.connect_timeout);
        let tls = match &self.ca_file {
            None => tls.with_native_roots(),
            Some(path) => {
                let pem =
                    std::fs::read(path).map_err(|source| SetupError::File { path: path.clone(), source })?;
                tls.ca_certificate(Certificate::from_pem(pem))
            }
        };
        transport
            .tls_config(tls)
            .map_err(|source| SetupError::Tls { endpoint: endpoint.to_owned(), source: source.into() })
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    address.map_or_else(|_| host.eq_ignore_ascii_case("localhost"), |address| address.is_loopback())
}
