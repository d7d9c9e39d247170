//! Which configurations are refused.

use super::*;
use crate::{Algorithm, IssuerSettings, SetupError};

const TENANT_A: &str = "11111111-2222-3333-4444-555555555555";
const TEMPLATE: &str = "https://login.microsoftonline.com/{tenantid}/v2.0";

fn build(issuers: Vec<IssuerSettings>) -> Result<Verifier, SetupError> {
    Verifier::new(issuers, 1024, clock())
}

fn inline() -> IssuerSettings {
    settings(KeySource::Inline(key_set(&[Signer::es256("k").jwk()])))
}

fn entra(issuer: &str, tenants: &[&str]) -> IssuerSettings {
    IssuerSettings {
        profile: Profile::EntraV2,
        issuer: issuer.into(),
        tenants: tenants.iter().map(|tenant| (*tenant).to_owned()).collect(),
        ..inline()
    }
}

#[test]
fn two_issuers_for_one_iss_are_refused() {
    let second = || IssuerSettings { name: "second".parse().unwrap(), ..inline() };
    assert!(matches!(build(vec![inline(), second()]), Err(SetupError::DuplicateIssuer { .. })));
    let of_template = entra(TEMPLATE, &[TENANT_A]);
    let concrete =
        IssuerSettings { issuer: TEMPLATE.replace("{tenantid}", TENANT_A).as_str().into(), ..second() };
    assert!(matches!(build(vec![of_template, concrete]), Err(SetupError::DuplicateIssuer { .. })));
    let same_name = IssuerSettings { issuer: "https://other.example.com".into(), ..inline() };
    assert!(matches!(build(vec![inline(), same_name]), Err(SetupError::DuplicateName(_))));
}

#[test]
fn a_slash_more_is_another_issuer() {
    let slash = IssuerSettings {
        name: "slash".parse().unwrap(),
        issuer: format!("{ISSUER}/").as_str().into(),
        ..inline()
    };
    assert!(build(vec![inline(), slash]).is_ok());
}

#[test]
fn tenants_of_entra_are_named_one_by_one() {
    for everybody in ["common", "organizations"] {
        let issuer = format!("https://login.microsoftonline.com/{everybody}/v2.0");
        assert!(matches!(build(vec![entra(&issuer, &[])]), Err(SetupError::AnyTenant(_))));
    }
    assert!(matches!(build(vec![entra(TEMPLATE, &[])]), Err(SetupError::Tenants(_))));
    assert!(matches!(build(vec![entra(ISSUER, &[TENANT_A])]), Err(SetupError::Tenants(_))));
    for bad in ["contoso.com", "11111111-2222-3333-4444-55555555555G", ""] {
        assert!(matches!(build(vec![entra(TEMPLATE, &[bad])]), Err(SetupError::TenantId { .. })), "{bad}");
    }
    assert!(build(vec![entra(TEMPLATE, &[TENANT_A])]).is_ok());
}

#[test]
fn the_token_limit_is_bounded() {
    for limit in [0, 64 * 1024 + 1] {
        assert!(matches!(Verifier::new(vec![], limit, clock()), Err(SetupError::TokenLimit(_))));
    }
}

#[test]
fn an_inline_key_set_must_have_a_usable_key() {
    for document in ["{}".to_owned(), key_set(&[]), "no JSON".to_owned()] {
        let built = build(vec![settings(KeySource::Inline(document))]);
        assert!(matches!(built, Err(SetupError::Keys { .. })));
    }
    let other_algorithm = IssuerSettings { algorithms: vec![Algorithm::RS256], ..inline() };
    assert!(matches!(build(vec![other_algorithm]), Err(SetupError::Keys { .. })));
}

#[test]
fn a_url_that_may_not_be_fetched_is_refused_at_the_start() {
    let with = |keys: KeySource| build(vec![settings(keys)]);
    assert!(matches!(
        with(KeySource::Uri("http://login.example.com/jwks".parse().unwrap())),
        Err(SetupError::Url { .. })
    ));
    assert!(with(KeySource::Discovery).is_ok());
    let plain =
        IssuerSettings { issuer: "http://login.example.com".into(), ..settings(KeySource::Discovery) };
    assert!(matches!(build(vec![plain]), Err(SetupError::Url { .. })));
    let nowhere = IssuerSettings { issuer: "corp".into(), ..settings(KeySource::Discovery) };
    assert!(matches!(build(vec![nowhere]), Err(SetupError::IssuerUrl { .. })));
}

#[test]
fn a_private_authority_must_be_readable() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    let mut issuer = settings(KeySource::Discovery);
    issuer.network.ca = Some(path.clone());
    assert!(matches!(build(vec![issuer.clone()]), Err(SetupError::Authority { .. })));
    std::fs::write(&path, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    assert!(matches!(build(vec![issuer]), Err(SetupError::Client { .. })));
}

#[test]
fn the_order_of_the_algorithms_means_nothing() {
    let with = |algorithms| vec![IssuerSettings { algorithms, ..settings(KeySource::Discovery) }];
    let before = build(with(vec![Algorithm::ES256, Algorithm::RS256])).unwrap();
    let after =
        before.reconfigured(with(vec![Algorithm::RS256, Algorithm::ES256, Algorithm::RS256]), 1024).unwrap();
    assert!(Arc::ptr_eq(&before.issuers[0].keys, &after.issuers[0].keys));
}
