//! A token endpoint that knows its clients by their certificates (RFC 8705).

use std::sync::Arc;

use palisade_pdp::FailureKind;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    server::WebPkiClientVerifier,
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::mpsc,
};
use tokio_rustls::TlsAcceptor;
use zeroize::Zeroizing;

use super::fixture::{Asked, CORP, StandIn, client, good, issued, once, signed};
use crate::{ClientAuth, Provider};

struct Authority {
    pem: String,
    der: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new([]).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let own = parameters.self_signed(&key).unwrap();
        Self { pem: own.pem(), der: own.der().to_vec(), issuer: Issuer::new(parameters, key) }
    }

    fn signs(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &self.issuer);
        (certificate.unwrap(), key)
    }
}

/// Serves one answer to clients with a certificate of the authority, and tells what they sent.
async fn serve(authority: &Authority) -> (u16, mpsc::UnboundedReceiver<(usize, String)>) {
    let mut roots = RootCertStore::empty();
    roots.add(authority.der.clone().into()).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let clients =
        WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(&provider)).build().unwrap();
    let (certificate, key) = authority.signs("localhost");
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_client_cert_verifier(clients)
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (told, came) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let certificates = stream.get_ref().1.peer_certificates().map_or(0, <[_]>::len);
            let mut request = vec![0; 16 * 1024];
            let length = stream.read(&mut request).await.unwrap_or(0);
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            let _ = told.send((certificates, request));
            let body = issued(&signed(CORP, &json!({}))).to_string();
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n",
                body.len()
            );
            let _ = stream.write_all(format!("{head}connection: close\r\n\r\n{body}").as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    (port, came)
}

#[tokio::test]
async fn a_client_proves_itself_by_its_certificate() {
    let authority = Authority::new();
    let (port, mut came) = serve(&authority).await;
    let mut settings = StandIn::start(good).await.settings(Provider::Rfc8693);
    settings.client = client(ClientAuth::Certificate);
    settings.token_endpoint = Some(format!("https://localhost:{port}/token").parse().unwrap());
    settings.route.authorities = Some(authority.pem.clone().into_bytes());
    let refused = once(settings.clone(), &Asked::default()).await.result.unwrap_err();
    assert_eq!(refused.kind, FailureKind::Unavailable, "without a certificate: {refused:?}");

    let (certificate, key) = authority.signs("gw");
    let identity = format!("{}{}", certificate.pem(), key.serialize_pem());
    settings.route.identity = Some(Zeroizing::new(identity.into_bytes()));
    once(settings, &Asked::default()).await.result.unwrap();
    let (certificates, request) = came.recv().await.unwrap();
    assert_eq!(certificates, 1);
    let request = request.to_lowercase();
    assert!(!request.contains("authorization:") && !request.contains("client_secret"), "{request}");
}
