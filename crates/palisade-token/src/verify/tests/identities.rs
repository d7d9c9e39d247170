//! Who a token speaks for, by profile.

use super::*;

const TENANT_A: &str = "11111111-2222-3333-4444-555555555555";
const TENANT_B: &str = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee";
const V2: &str = "https://login.microsoftonline.com/{tenantid}/v2.0";

/// Verifies one token of a profile: the good claims with changes.
async fn verified(
    change: impl FnOnce(&mut crate::IssuerSettings),
    changes: Value,
) -> Result<VerifiedToken, Reason> {
    let signer = Signer::es256("k");
    let verifier = verifier_with(&[signer.jwk()], change);
    let media_type = if verifier.issuers[0].settings.profile == Profile::Rfc9068 { "at+jwt" } else { "JWT" };
    let header = changed(signer.header(), json!({ "typ": media_type }));
    let token = signer.sign(&header, &changed(claims(), changes));
    check(&verifier, &token).await.map_err(|error| error.reason)
}

fn entra(settings: &mut crate::IssuerSettings) {
    settings.profile = Profile::EntraV2;
    settings.issuer = V2.into();
    settings.tenants = vec![TENANT_A.to_owned(), TENANT_B.to_owned()];
}

fn entra_claims(tenant: &str, changes: Value) -> Value {
    let base = json!({
        "iss": V2.replace("{tenantid}", tenant), "tid": tenant, "ver": "2.0", "azp": "app", "scp": "files:read",
        "oid": "99999999-2222-3333-4444-555555555555", "client_id": null, "scope": null
    });
    let Value::Object(mut members) = base else { panic!("an object") };
    let Value::Object(changes) = changes else { panic!("an object") };
    members.extend(changes);
    Value::Object(members)
}

#[tokio::test]
async fn everything_of_an_issuer_is_named_by_it() {
    let claims = json!({
        "roles": ["admin", "dev"], "groups": "staff", "org": "acme", "department": ["a", "b"], "level": "1",
        "acr": "urn:strong", "amr": ["pwd", "otp"], "auth_time": NOW - 100,
        "act": {"sub": "agent", "act": {"sub": "gateway", "iss": ISSUER}},
        "scope": "files:read files:write"
    });
    let token = verified(
        |settings| {
            settings.claims = ClaimMap {
                tenant: Some("org".parse().unwrap()),
                tags: vec!["department".parse().unwrap(), "/level".parse().unwrap(), "none".parse().unwrap()],
                ..ClaimMap::default()
            };
        },
        claims,
    )
    .await
    .unwrap();
    let set = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect::<BTreeSet<_>>();
    let (subject, authority) = (token.subject(), token.authority());
    assert_eq!(subject.entity(), "User::\"corp/alice\"");
    assert_eq!(subject.roles, set(&["corp/admin", "corp/dev"]));
    assert_eq!(subject.groups, set(&["corp/staff"]));
    assert_eq!(subject.tenant.as_deref(), Some("corp/acme"));
    assert_eq!(subject.tags["department"], set(&["a", "b"]));
    assert_eq!(subject.tags["/level"], set(&["1"]));
    assert_eq!(subject.tags.len(), 2);
    assert_eq!(authority.client.as_deref(), Some("corp/app"));
    assert_eq!(authority.actors, ["corp/agent", "corp/gateway"]);
    assert_eq!(authority.acr.as_deref(), Some("urn:strong"));
    assert_eq!(authority.amr, set(&["pwd", "otp"]));
    assert_eq!(authority.auth_time, Some(Timestamp::from_unix_seconds(NOW - 100)));
    assert_eq!(authority.expires_at, Timestamp::from_unix_seconds(NOW + 600));
    assert!(authority.groups_complete);
    assert!(authority.scopes.contains("files:write"));
}

#[tokio::test]
async fn a_client_that_acts_as_itself_has_its_client_id() {
    let token = verified(|_| {}, json!({"sub": "app"})).await.unwrap();
    assert_eq!(token.subject().entity(), "Client::\"corp/app\"");
    let auth0 = json!({"sub": "app@clients", "azp": "app", "gty": "client-credentials"});
    let token = verified(|settings| settings.profile = Profile::Auth0, auth0).await.unwrap();
    assert_eq!(token.subject().entity(), "Client::\"corp/app\"");
    assert_eq!(token.authority().client.as_deref(), Some("corp/app"));
    let okta = json!({"sub": "app", "cid": "app", "scp": ["files:read"], "scope": null});
    let token = verified(|settings| settings.profile = Profile::Okta, okta).await.unwrap();
    assert_eq!(token.subject().kind, SubjectKind::Client);
    assert!(token.authority().scopes.contains("files:read"));
}

#[tokio::test]
async fn one_subject_in_two_tenants_is_two_users() {
    let a = verified(entra, entra_claims(TENANT_A, json!({}))).await.unwrap();
    let b = verified(entra, entra_claims(TENANT_B, json!({}))).await.unwrap();
    assert_eq!(a.subject().id, format!("corp/{TENANT_A}/alice"));
    assert_eq!(b.subject().id, format!("corp/{TENANT_B}/alice"));
    assert_eq!(a.subject().tenant, Some(format!("corp/{TENANT_A}")));
    assert_eq!(a.authority().client, Some(format!("corp/{TENANT_A}/app")));
}

#[tokio::test]
async fn a_tenant_that_is_not_listed_or_not_agreed_on_is_refused() {
    let other = "00000000-0000-0000-0000-000000000000";
    for (claims, reason) in [
        (entra_claims(other, json!({})), Reason::TokenIssuerUnknown),
        (entra_claims(TENANT_A, json!({"iss": V2})), Reason::TokenIssuerUnknown),
        (entra_claims(TENANT_A, json!({"tid": TENANT_B})), Reason::TokenClaimsInvalid),
        (entra_claims(TENANT_A, json!({"tid": null})), Reason::TokenClaimsInvalid),
        (entra_claims(TENANT_A, json!({"tid": "contoso.com"})), Reason::TokenClaimsInvalid),
        (entra_claims(TENANT_A, json!({"tid": 5})), Reason::TokenClaimsInvalid),
        (entra_claims(TENANT_A, json!({"ver": "1.0"})), Reason::TokenType),
        (entra_claims(TENANT_A, json!({"nonce": "n"})), Reason::TokenType),
        (entra_claims(TENANT_A, json!({"azp": null, "scp": null})), Reason::TokenSubjectAmbiguous),
    ] {
        assert_eq!(verified(entra, claims.clone()).await.err(), Some(reason), "{claims}");
    }
    let single = |settings: &mut crate::IssuerSettings| {
        settings.profile = Profile::EntraV2;
        settings.issuer = V2.replace("{tenantid}", TENANT_A).as_str().into();
    };
    assert!(verified(single, entra_claims(TENANT_A, json!({}))).await.is_ok());
    let disagreeing = entra_claims(TENANT_A, json!({"tid": TENANT_B}));
    assert_eq!(verified(single, disagreeing).await.err(), Some(Reason::TokenClaimsInvalid));
}

#[tokio::test]
async fn a_key_with_a_template_is_for_every_tenant_and_a_concrete_one_for_its_own() {
    let signer = Signer::es256("k");
    let concrete = V2.replace("{tenantid}", TENANT_A);
    for (limit, tenant, fits) in [
        (V2, TENANT_A, true),
        (V2, TENANT_B, true),
        (concrete.as_str(), TENANT_A, true),
        (&concrete, TENANT_B, false),
    ] {
        let verifier = verifier_with(&[changed(signer.jwk(), json!({ "issuer": limit }))], entra);
        let header = changed(signer.header(), json!({"typ": "JWT"}));
        let token = signer.sign(&header, &changed(claims(), entra_claims(tenant, json!({}))));
        assert_eq!(check(&verifier, &token).await.is_ok(), fits, "{limit} {tenant}");
    }
}

#[tokio::test]
async fn the_subject_claim_can_be_configured() {
    let oid = "99999999-2222-3333-4444-555555555555";
    let by_oid = |settings: &mut crate::IssuerSettings| {
        entra(settings);
        settings.subject_claim = Some("oid".to_owned());
    };
    let token = verified(by_oid, entra_claims(TENANT_A, json!({}))).await.unwrap();
    assert_eq!(token.subject().id, format!("corp/{TENANT_A}/{oid}"));
    let missing = entra_claims(TENANT_A, json!({"oid": null}));
    assert_eq!(verified(by_oid, missing).await.err(), Some(Reason::TokenClaimsInvalid));
}

#[tokio::test]
async fn version_one_of_entra_has_its_own_issuer_and_client() {
    let v1 = |settings: &mut crate::IssuerSettings| {
        settings.profile = Profile::EntraV1;
        settings.issuer = "https://sts.windows.net/{tenantid}/".into();
        settings.tenants = vec![TENANT_A.to_owned()];
    };
    let claims = entra_claims(
        TENANT_A,
        json!({"iss": format!("https://sts.windows.net/{TENANT_A}/"), "ver": "1.0", "appid": "app"}),
    );
    let token = verified(v1, claims).await.unwrap();
    assert_eq!(token.authority().client, Some(format!("corp/{TENANT_A}/app")));
    assert_eq!(verified(v1, entra_claims(TENANT_A, json!({}))).await.err(), Some(Reason::TokenIssuerUnknown));
}

#[tokio::test]
async fn keycloak_has_its_roles_in_the_realm() {
    let claims = json!({"azp": "app", "preferred_username": "alice", "typ": "Bearer", "realm_access": {"roles": ["admin"]}});
    let token = verified(|settings| settings.profile = Profile::Keycloak, claims.clone()).await.unwrap();
    assert_eq!(token.subject().roles, BTreeSet::from(["corp/admin".to_owned()]));
    let by_client = |settings: &mut crate::IssuerSettings| {
        settings.profile = Profile::Keycloak;
        settings.claims.roles = vec!["/resource_access/files/roles".parse().unwrap()];
    };
    assert!(verified(by_client, claims).await.unwrap().subject().roles.is_empty());
}

#[tokio::test]
async fn claims_of_a_wrong_type_are_refused() {
    for claims in [
        json!({"roles": {"admin": true}}),
        json!({"roles": [1]}),
        json!({"roles": true}),
        json!({"roles": [""]}),
        json!({"groups": ["a\u{0}"]}),
        json!({"acr": 1}),
        json!({"amr": 1}),
        json!({"auth_time": "x"}),
        json!({"act": "agent"}),
        json!({"act": {}}),
        json!({"act": {"sub": 1}}),
        json!({"act": {"sub": "a", "iss": "https://evil.example"}}),
        json!({"act": {"sub": "a", "iss": 5}}),
        json!({"act": {"sub": "a", "act": []}}),
        json!({"_claim_names": "groups"}),
    ] {
        assert_eq!(
            verified(|_| {}, claims.clone()).await.err(),
            Some(Reason::TokenClaimsInvalid),
            "{claims}"
        );
    }
}

#[tokio::test]
async fn a_chain_of_actors_ends_at_five() {
    let chain = |length: usize| {
        (0..length).fold(json!(null), |inner, place| {
            let actor = json!({"sub": format!("agent-{place}")});
            if inner.is_null() { actor } else { changed(actor, json!({ "act": inner })) }
        })
    };
    let token = verified(|_| {}, json!({"act": chain(5)})).await.unwrap();
    assert_eq!(token.authority().actors.len(), 5);
    assert_eq!(token.authority().actors[0], "corp/agent-4");
    let refused = verified(|_| {}, json!({"act": chain(6)})).await;
    assert_eq!(refused.err(), Some(Reason::TokenClaimsInvalid));
}

#[tokio::test]
async fn groups_that_are_elsewhere_are_refused_unless_ignored() {
    for claims in [
        json!({"_claim_names": {"groups": "src1"}, "_claim_sources": {"src1": {"endpoint": "https://evil.example"}}}),
        json!({"hasgroups": true}),
        json!({"hasgroups": "true"}),
    ] {
        assert_eq!(
            verified(|_| {}, claims.clone()).await.err(),
            Some(Reason::TokenGroupsOverage),
            "{claims}"
        );
        let ignored = |settings: &mut crate::IssuerSettings| settings.groups_overage = GroupsOverage::Ignore;
        assert!(!verified(ignored, claims).await.unwrap().authority().groups_complete);
    }
    for complete in [json!({"hasgroups": false}), json!({"_claim_names": {"other": "src1"}})] {
        assert!(verified(|_| {}, complete).await.unwrap().authority().groups_complete);
    }
}

#[tokio::test]
async fn a_token_without_jti_is_known_by_its_hash() {
    let token = verified(|settings| settings.profile = Profile::Okta, json!({"cid": "c", "jti": null}))
        .await
        .unwrap();
    let id = &token.authority().token_id;
    assert!(id.starts_with("sha256:") && id.len() == 7 + 64, "{id}");
}
