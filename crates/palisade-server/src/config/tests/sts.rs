//! The section `sts`.

use super::*;

/// A private key of P-256 in PEM.
fn private_key() -> String {
    use base64::Engine;
    let kind = &aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED_SIGNING;
    let der = aws_lc_rs::signature::EcdsaKeyPair::generate(kind).unwrap().to_pkcs8v1().unwrap();
    let body = base64::engine::general_purpose::STANDARD.encode(der.as_ref());
    format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n")
}

#[tokio::test]
async fn a_token_service_is_an_issuer_and_every_slip_in_it_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        path.display().to_string()
    };
    let key = file("sts.pem", &private_key());
    let secret = file("secret", "0123456789abcdef0123456789abcdef\n");
    let short = file("short", "too short");
    let text = format!(
        "listen: {{public: {{base_url: \"https://auth.example.com\"}}}}\nsts:\n  name: sts\n  keys: [{{file: {key}}}]\n  issuers: [corp]\n  \
         clients: {{gateway: {{secret: {{file: {secret}}}, exchange: [orders]}}}}\n  audiences: {{orders: {{audience: \"https://orders.example.com\"}}}}\n"
    );
    let sample = format!("{SAMPLE}{text}").replacen("issuers: [corp]}", "issuers: [corp, sts]}", 1);
    let built = check(&sample).unwrap();
    assert!(built.warnings.is_empty(), "{:?}", built.warnings);
    let sts = built.snapshot.sts.as_ref().unwrap();
    assert!(sts.authenticate("gateway", "0123456789abcdef0123456789abcdef").is_some());
    let files = built.snapshot.resources.by_name("files").unwrap();
    assert_eq!(
        files.metadata.document["authorization_servers"],
        serde_json::json!(["https://login.example.com"]),
        "nobody logs in at the token service"
    );
    for (from, to, expected) in [
        ("base_url: \"https://auth.example.com\"", "", "needs `listen.public.base_url`"),
        ("https://auth.example.com", "https://auth.example.com/", "without path"),
        ("https://auth.example.com", "http://auth.example.com", "without path"),
        ("name: sts", "name: corp", "the name of another issuer"),
        ("issuers: [corp]\n", "issuers: []\n", "at least one"),
        ("issuers: [corp]\n", "issuers: [sts]\n", "there is no issuer `sts`"),
        ("exchange: [orders]", "exchange: [other]", "has no `other`"),
        ("gateway:", "\"a b\":", "is no client id"),
        (&secret, &short, "at least 32 characters"),
        (&key, &short, "not a private key of P-256"),
        (&format!("[{{file: {key}}}]"), "[]", "at least one key"),
        (&format!("[{{file: {key}}}]"), &format!("[{{file: {key}}}, {{file: {key}}}]"), "given twice"),
        ("orders.example.com\"}", "orders.example.com\", lifetime: 2h}", "from 1s to 1h"),
        (
            "orders: {audience",
            "\"orders\": {audience: \"\", scopes: []}, x: {audience",
            "name what the tokens are for",
        ),
    ] {
        assert!(sample.contains(from), "{from}");
        let problem = check(&sample.replacen(from, to, 1)).map(|_| ()).unwrap_err();
        assert!(problem.contains(expected), "{to}: {problem}");
    }
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    assert!(check(&sample).unwrap().warnings[0].contains("everybody on this machine may read"));
    let remote =
        SAMPLE.replacen("\"}", "\"}\n  remote: {issuer: \"https://sts.example.com\", profile: palisade}", 1);
    assert!(check(&remote).map(|_| ()).unwrap_err().contains("origins"));
    let own = SAMPLE.replacen("login.example.com\"}", "login.example.com\", origins: [corp]}", 1);
    assert!(check(&own).map(|_| ()).unwrap_err().contains("origins"));
}
