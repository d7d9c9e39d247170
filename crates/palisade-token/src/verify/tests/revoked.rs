//! A revoked token is refused on every use, however often it was accepted before.

use std::sync::Arc;

use super::*;
use crate::{FIRST_TOKEN, IssuerSettings, Revocations, VIA};

const STS: &str = "https://sts.example.com";

fn list(entries: &Value) -> Option<Arc<Revocations>> {
    Some(Arc::new(Revocations::read(entries.to_string().as_bytes()).unwrap()))
}

fn time(seconds: i64) -> String {
    Timestamp::from_unix_seconds(NOW + seconds).to_string()
}

/// An issuer and a token service that speaks for its subjects, with their lists.
struct Two {
    signer: Signer,
    verifier: Verifier,
}

impl Two {
    fn new() -> Self {
        let signer = Signer::es256("k");
        let verifier = verifier(Self::issuers(&signer, &json!([]), &json!([])));
        Self { signer, verifier }
    }

    fn issuers(signer: &Signer, corp: &Value, sts: &Value) -> Vec<IssuerSettings> {
        let keys = || KeySource::Inline(key_set(&[signer.jwk()]));
        let corp = IssuerSettings { revocations: list(corp), ..settings(keys()) };
        let sts = IssuerSettings {
            profile: Profile::Palisade,
            keys: keys(),
            origins: vec!["corp".parse().unwrap()],
            revocations: list(sts),
            ..IssuerSettings::new("sts".parse().unwrap(), STS.into())
        };
        vec![corp, sts]
    }

    /// The same with other lists, as after a reload.
    fn with(&self, corp: &Value, sts: &Value) -> Verifier {
        self.verifier.reconfigured(Self::issuers(&self.signer, corp, sts), 16 * 1024).unwrap()
    }

    /// A token that the token service has issued for one of the issuer's, in the name of the agent.
    fn exchanged(&self, changes: Value) -> String {
        self.signer.token(changed(
            json!({
                "iss": STS, "sub": "corp/alice", "client_id": "c1", "jti": "d1", "sub_profile": "user",
                "sub_id": {"format": "iss_sub", "iss": ISSUER, "sub": "alice"},
                "act": {"iss": STS, "sub": "c1", "act": {"iss": ISSUER, "sub": "agent"}},
                FIRST_TOKEN: {"iat": NOW - 600, "jti": "id-1", "sid": "s1", "client_id": "app"},
            }),
            changes,
        ))
    }
}

async fn outcome(verifier: &Verifier, token: &str) -> Option<Reason> {
    let audiences = BTreeSet::from([Audience::from(AUDIENCE)]);
    let issuers = ["corp".parse().unwrap(), "sts".parse().unwrap()];
    let expected = Expectation { audiences: &audiences, any_audience: false, issuers: &issuers };
    let (raw, now) = (RawToken::new(token), Timestamp::from_unix_seconds(NOW));
    let plain = verifier.verify(&raw, &expected, now).await.map_err(|error| error.reason).err();
    let reissued = verifier.verify_to_reissue(&raw, &expected, now).await;
    assert_eq!(reissued.map_err(|error| error.reason).err(), plain, "a token service is told the same");
    plain
}

#[tokio::test]
async fn a_known_token_is_refused_once_a_list_names_it_and_accepted_once_none_does() {
    let two = Two::new();
    let token = two.signer.token(json!({"sid": "s1"}));
    assert_eq!(outcome(&two.verifier, &token).await, None);
    for entry in [
        json!({"subject": "alice"}),
        json!({"subject": "alice", "before": time(0)}),
        json!({"client": "app"}),
        json!({"client": "app", "before": time(0)}),
        json!({"session": "s1"}),
        json!({"token": "id-1"}),
    ] {
        let revoking = two.with(&json!([entry]), &json!([]));
        for _ in 0..2 {
            assert_eq!(outcome(&revoking, &token).await, Some(Reason::TokenRevoked), "{entry}");
        }
        // Known to a configuration before and after, and refused all the same.
        assert_eq!(outcome(&two.with(&json!([]), &json!([])), &token).await, None);
    }
    for entry in [
        json!({"subject": "bob"}),
        json!({"subject": "alice", "before": time(-200)}),
        json!({"client": "alice"}),
        json!({"session": "s2"}),
        json!({"token": "s1"}),
    ] {
        assert_eq!(outcome(&two.with(&json!([entry]), &json!([])), &token).await, None, "{entry}");
        // A list is about its own issuer.
        let everything =
            json!([{"subject": "alice"}, {"client": "app"}, {"session": "s1"}, {"token": "id-1"}]);
        assert_eq!(outcome(&two.with(&json!([]), &everything), &token).await, None, "{entry}");
    }
}

#[tokio::test]
async fn a_token_in_the_cache_is_held_against_the_list_on_every_use() {
    let signer = Signer::es256("k");
    let entry = json!([{"subject": "alice", "before": time(-1_000)}]);
    let verifier = verifier_with(&[signer.jwk()], |settings| settings.revocations = list(&entry));
    let token = signer.token(json!({}));
    assert!(check(&verifier, &token).await.is_ok());
    assert_eq!(verifier.shared.cache.len(), 1);
    // The same facts, under a list of the same epoch: what is kept of a token is no verdict about it.
    let mut issuers: Vec<Issuer> = Vec::new();
    for issuer in verifier.issuers.iter() {
        let settings =
            IssuerSettings { revocations: list(&json!([{"subject": "alice"}])), ..issuer.settings.clone() };
        issuers.push(Issuer { settings, keys: Arc::clone(&issuer.keys) });
    }
    let revoking = Verifier { issuers: issuers.into(), ..verifier.clone() };
    assert_eq!(refusal(&revoking, &token).await, Reason::TokenRevoked);
    assert_eq!(verifier.shared.cache.len(), 1, "it was answered from the cache");
}

#[tokio::test]
async fn a_token_without_a_time_or_an_id_can_be_revoked_too() {
    let signer = Signer::es256("k");
    let with = |entry: Value| {
        verifier_with(&[signer.jwk()], |settings| {
            settings.profile = Profile::Okta;
            settings.revocations = list(&json!([entry]));
        })
    };
    let token = signer.token(json!({"cid": "app", "client_id": null, "iat": null, "jti": null}));
    let ancient = with(json!({"subject": "alice", "before": "1990-01-01T00:00:00Z"}));
    assert_eq!(refusal(&ancient, &token).await, Reason::TokenRevoked);
    let digest = hex::encode(RawToken::new(token.as_str()).digest());
    let by_digest = with(json!({"token": format!("sha256:{digest}")}));
    assert_eq!(refusal(&by_digest, &token).await, Reason::TokenRevoked);
}

#[tokio::test]
async fn to_exchange_a_token_does_not_save_it() {
    let two = Two::new();
    let token = two.exchanged(json!({}));
    assert_eq!(outcome(&two.verifier, &token).await, None);
    for entry in [
        json!({"subject": "alice"}),
        // The token for it was issued later; the one that it was issued for was not.
        json!({"subject": "alice", "before": time(-300)}),
        json!({"client": "app"}),
        json!({"client": "app", "before": time(-300)}),
        json!({"client": "agent"}),
        json!({"session": "s1"}),
        json!({"token": "id-1"}),
    ] {
        let revoking = two.with(&json!([entry]), &json!([]));
        assert_eq!(outcome(&revoking, &token).await, Some(Reason::TokenRevoked), "{entry}");
    }
    for entry in [json!({"client": "c1"}), json!({"token": "d1"}), json!({"client": "c1", "before": time(0)})]
    {
        let revoking = two.with(&json!([]), &json!([entry]));
        assert_eq!(outcome(&revoking, &token).await, Some(Reason::TokenRevoked), "{entry}");
    }
    for entry in [json!({"subject": "bob"}), json!({"client": "c1"}), json!({"token": "d1"})] {
        assert_eq!(outcome(&two.with(&json!([entry]), &json!([])), &token).await, None, "{entry}");
    }
    // Of one that does not say what it was issued for nothing is known, and every entry with a time holds.
    let silent = two.exchanged(json!({FIRST_TOKEN: null}));
    let earlier = json!([{"subject": "alice", "before": time(-300)}]);
    assert_eq!(outcome(&two.with(&earlier, &json!([])), &silent).await, Some(Reason::TokenRevoked));
    assert_eq!(outcome(&two.with(&json!([]), &json!([])), &silent).await, None);
    // Records write the id of a token so.
    let written = two.with(&json!([{"token": "jti:id-1"}]), &json!([]));
    assert_eq!(outcome(&written, &token).await, Some(Reason::TokenRevoked));
    for bad in [json!("x"), json!({"iat": "now"}), json!({"sid": 5})] {
        let refused = outcome(&two.verifier, &two.exchanged(json!({FIRST_TOKEN: bad}))).await;
        assert_eq!(refused, Some(Reason::TokenClaimsInvalid), "{bad}");
    }
}

#[tokio::test]
async fn a_token_ends_with_every_token_that_its_authority_went_through() {
    let two = Two::new();
    let token = two.exchanged(json!({VIA: [
        {"iss": ISSUER, "iat": NOW - 500, "jti": "agents", "sid": "s2", "client_id": "agent"},
        {"iss": STS, "iat": NOW - 400, "jti": "d0", "client_id": "c0"},
        {"iss": "https://elsewhere.example.com", "jti": "e"},
    ]}));
    assert_eq!(outcome(&two.verifier, &token).await, None);
    let none = json!([]);
    for entry in [
        json!({"token": "agents"}),
        json!({"session": "s2"}),
        json!({"subject": "agent"}),
        json!({"subject": "agent", "before": time(-450)}),
        json!({"client": "agent", "before": time(-450)}),
    ] {
        let revoking = two.with(&json!([entry]), &none);
        assert_eq!(outcome(&revoking, &token).await, Some(Reason::TokenRevoked), "{entry}");
    }
    for entry in
        [json!({"token": "d0"}), json!({"client": "c0"}), json!({"client": "c0", "before": time(-350)})]
    {
        let revoking = two.with(&none, &json!([entry]));
        assert_eq!(outcome(&revoking, &token).await, Some(Reason::TokenRevoked), "{entry}");
    }
    // What the agent did before its token was issued is another token's.
    let earlier = json!([{"subject": "agent", "before": time(-600)}]);
    assert_eq!(outcome(&two.with(&earlier, &none), &token).await, None);
    let unshown = two.exchanged(json!({}));
    assert_eq!(outcome(&two.with(&earlier, &none), &unshown).await, Some(Reason::TokenRevoked));
    for (entry, of_sts) in
        [(json!({"token": "d0"}), false), (json!({"token": "agents"}), true), (json!({"token": "e"}), false)]
    {
        let entry = json!([entry]);
        let lists = if of_sts { (&none, &entry) } else { (&entry, &none) };
        assert_eq!(outcome(&two.with(lists.0, lists.1), &token).await, None, "{entry}");
    }
    for bad in [
        json!("x"),
        json!({}),
        json!([5]),
        json!([{"jti": "j"}]),
        json!([{"iss": ISSUER, "iat": "now"}]),
        json!(vec![json!({"iss": ISSUER}); 16]),
    ] {
        let refused = outcome(&two.verifier, &two.exchanged(json!({VIA: bad}))).await;
        assert_eq!(refused, Some(Reason::TokenClaimsInvalid), "{bad}");
    }
}

#[tokio::test]
async fn a_user_of_one_tenant_is_named_with_it() {
    let tenants = ["11111111-2222-3333-4444-555555555555", "22222222-2222-3333-4444-555555555555"];
    let signer = Signer::es256("k");
    let template = "https://login.microsoftonline.com/{tenantid}/v2.0";
    let verifier = |entry: Value| {
        verifier_with(&[signer.jwk()], |settings| {
            settings.profile = Profile::EntraV2;
            settings.issuer = template.into();
            settings.tenants = tenants.map(str::to_owned).to_vec();
            settings.revocations = list(&json!([entry]));
        })
    };
    let token = |tenant: &str| {
        let iss = template.replace("{tenantid}", tenant);
        let claims =
            json!({"iss": iss, "tid": tenant, "azp": "app", "scp": "a", "client_id": null, "scope": null});
        signer.token(claims)
    };
    let one = verifier(json!({"subject": format!("{}/alice", tenants[0])}));
    assert_eq!(refusal(&one, &token(tenants[0])).await, Reason::TokenRevoked);
    assert!(check(&one, &token(tenants[1])).await.is_ok());
    let client = verifier(json!({"client": format!("{}/app", tenants[1])}));
    assert!(check(&client, &token(tenants[0])).await.is_ok());
    assert_eq!(refusal(&client, &token(tenants[1])).await, Reason::TokenRevoked);
}
