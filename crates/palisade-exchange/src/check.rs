//! Whether what was issued is what was asked for.
//!
//! A provider is trusted to issue tokens, and not to have understood us: one that ignores an audience answers with a token
//! for somebody else, one that widens scopes with more than the policies permitted. So a result is a token like any other
//! until it is verified: issuer, signature, times; and then held against the order: the audience and no other, the same
//! subject, scopes within those asked for, and the actor whose token was sent. Only [`check`] makes an [`Issued`], and [`restored`] of
//! what another replica has checked.

use std::{collections::BTreeSet, time::Duration};

use palisade_model::{Audience, RawToken, Reason, Scope, Scopes, Timestamp};
use palisade_pdp::{Issued, Order};
use palisade_token::{Expectation, Marks, TokenError, VerifiedToken};
use zeroize::Zeroizing;

use crate::{
    ExchangeSettings, ResultCheck, TokenType,
    breaker::Health,
    failure::{Failed, UNCHECKED},
    provider::Dialect,
    response::{self, Granted, LONGEST_LIFE},
    shared::seal::Kept,
    wire,
};

/// How long a token is taken to live whose provider does not say.
const UNKNOWN_LIFETIME: Duration = Duration::from_secs(60);
/// Scopes that say which claims a provider shows, and give no authority over anything.
const WITHOUT_AUTHORITY: [&str; 3] = ["openid", "profile", "email"];

/// Checks a result.
pub(crate) async fn check(
    settings: &ExchangeSettings,
    order: &Order,
    granted: Granted,
    acting: Option<&VerifiedToken>,
    now: Timestamp,
) -> Result<Issued, Failed> {
    check_types(settings, &granted)?;
    check_is_new(order, &granted)?;
    if let Some(scopes) = &granted.scopes {
        check_scopes(settings, order, scopes)?;
    }
    let lives = granted.expires_in.map(|seconds| now.plus(Duration::from_secs(seconds)));
    let permitted_until = now.plus(order.lifetime());
    match settings.result {
        ResultCheck::Opaque => {
            let expires_at = lives.unwrap_or_else(|| now.plus(UNKNOWN_LIFETIME));
            alive(expires_at, now)?;
            Ok(Issued {
                token_id: token_id(&granted.token),
                scopes: granted.scopes.unwrap_or_else(|| order.scopes().clone()),
                actors: Vec::new(),
                good_until: expires_at.min(permitted_until).min(order.authority().expires_at),
                expires_at,
                marks: marks(None, acting),
                token: granted.token,
            })
        }
        ResultCheck::Verified => {
            verified(settings, order, granted.token, acting, (lives, permitted_until), now).await
        }
    }
}

/// What was issued is of no use any more, either, when the token of the actor that it was issued to is revoked.
fn marks(issued: Option<&VerifiedToken>, acting: Option<&VerifiedToken>) -> Marks {
    let of = |token: Option<&VerifiedToken>| token.map(VerifiedToken::marks).cloned().unwrap_or_default();
    of(issued).and(&of(acting))
}

/// What another replica has checked and sealed for the same order, held against the order here, too. Where a token can be
/// verified it is: a key of the shared store is not enough to put in somebody else's, and what this replica's issuers no
/// longer stand for is not handed on.
pub(crate) async fn restored(
    settings: &ExchangeSettings,
    order: &Order,
    kept: Kept,
    now: Timestamp,
) -> Result<Issued, Failed> {
    let Kept { token, scopes, actors, token_id, expires_at, written_at, good_until: _ } = kept;
    if !response::is_token(&token) || *token == order.token().expose() {
        return Err(Failed::refused("what is shared is no token for this order"));
    }
    check_scopes(settings, order, &scopes)?;
    let acting = acting(settings, order, now).await?;
    // Its lifetime began where it was issued.
    let permitted_until = written_at.plus(order.lifetime());
    match settings.result {
        ResultCheck::Opaque => {
            let expires_at = expires_at.min(now.plus(LONGEST_LIFE));
            let good_until = expires_at.min(permitted_until).min(order.authority().expires_at);
            let marks = marks(None, acting.as_ref());
            Ok(Issued { token, scopes, actors, token_id, expires_at, good_until, marks })
        }
        ResultCheck::Verified => {
            let lives = (Some(expires_at), permitted_until);
            verified(settings, order, token, acting.as_ref(), lives, now).await
        }
    }
}

/// A token that is verified and held against the order. `lives` is what was said beside it.
async fn verified(
    settings: &ExchangeSettings,
    order: &Order,
    token: Zeroizing<String>,
    acting: Option<&VerifiedToken>,
    (lives, permitted_until): (Option<Timestamp>, Timestamp),
    now: Timestamp,
) -> Result<Issued, Failed> {
    let verified = verify(settings, order, &token, now).await?;
    let authority = verified.authority();
    check_subject(settings, order, &verified)?;
    check_scopes(settings, order, &authority.scopes)?;
    check_actor(settings, &verified, acting)?;
    let expires_at = lives.map_or(authority.expires_at, |lives| lives.min(authority.expires_at));
    alive(expires_at, now)?;
    Ok(Issued {
        token_id: authority.token_id.clone(),
        scopes: authority.scopes.clone(),
        actors: authority.actors.clone(),
        good_until: expires_at.min(permitted_until).min(order.authority().expires_at),
        expires_at,
        marks: marks(Some(&verified), acting),
        token,
    })
}

/// A token that has ended, or ends as it comes, is of no use to anybody: within the leeway of its issuer it could be used once,
/// and would be asked for again with every call.
fn alive(expires_at: Timestamp, now: Timestamp) -> Result<(), Failed> {
    if expires_at > now { Ok(()) } else { Err(Failed::refused("the issued token has no life left")) }
}

/// `token_type`, and `issued_token_type` where the dialect has it (RFC 8693 section 2.2.1).
fn check_types(settings: &ExchangeSettings, granted: &Granted) -> Result<(), Failed> {
    if !granted.token_type.eq_ignore_ascii_case("Bearer") {
        return Err(Failed::refused("the issued token is no bearer token"));
    }
    let access_token = [TokenType::AccessToken.urn(), TokenType::Jwt.urn()];
    match (settings.provider.dialect(), granted.issued_token_type.as_deref()) {
        (_, Some(issued)) if access_token.contains(&issued) => Ok(()),
        (Dialect::OnBehalfOf | Dialect::IdJag, None) => Ok(()),
        (Dialect::TokenExchange, None) => Err(Failed::refused("the provider does not say what it issued")),
        (_, Some(_)) => Err(Failed::refused("what was issued is no access token")),
    }
}

/// INVARIANT: a token of one issuer is never taken to another's server.
fn check_is_new(order: &Order, granted: &Granted) -> Result<(), Failed> {
    if *granted.token == order.token().expose() {
        return Err(Failed::refused("the provider answered with the subject's own token"));
    }
    Ok(())
}

/// Whether the first step of an ID-JAG brought one.
pub(crate) fn check_assertion(order: &Order, granted: &Granted) -> Result<(), Failed> {
    check_is_new(order, granted)?;
    let is_assertion = granted.issued_token_type.as_deref() == Some(wire::ID_JAG);
    if is_assertion && granted.token_type.eq_ignore_ascii_case("N_A") {
        Ok(())
    } else {
        Err(Failed::refused("what was issued is no identity assertion"))
    }
}

async fn verify(
    settings: &ExchangeSettings,
    order: &Order,
    token: &str,
    now: Timestamp,
) -> Result<VerifiedToken, Failed> {
    let audiences = BTreeSet::from([Audience::from(settings.token_audience.as_str())]);
    let issuers = [settings.issued_by.clone()];
    let expected = Expectation { audiences: &audiences, any_audience: false, issuers: &issuers };
    let token = RawToken::new(token);
    let verified = order.verifier().verify(&token, &expected, now).await;
    let verified = verified.map_err(|error| not_accepted("the issued token is not accepted", &error))?;
    // One that is for others, too, could be passed on by the upstream to them.
    if verified.authority().audience != audiences {
        return Err(Failed::refused("the issued token is for other audiences, too"));
    }
    Ok(verified)
}

/// Whether an id of the issuer that was asked and one of the issuer that issued are alike behind the issuer's name.
fn same_id(settings: &ExchangeSettings, asked: &str, got: &str) -> bool {
    fn local<'a>(id: &'a str, issuer: &str) -> Option<&'a str> {
        id.strip_prefix(issuer)?.strip_prefix('/')
    }
    let asked = local(asked, settings.issuer.name.as_str());
    asked.is_some() && asked == local(got, settings.issued_by.as_str())
}

/// The actor's token, where one is sent. It is the configuration's, and proven as any other is before it is sent: one that has
/// ended, or that is revoked, does not leave. For whom it is does not matter here. Where nothing that is issued is read, the
/// actor's need not be readable, either: what is no access token of the issuer is sent, and no list can name it.
pub(crate) async fn acting(
    settings: &ExchangeSettings,
    order: &Order,
    now: Timestamp,
) -> Result<Option<VerifiedToken>, Failed> {
    let Some(actor) = &settings.actor else { return Ok(None) };
    let (none, issuers) = (BTreeSet::new(), [settings.issuer.name.clone()]);
    let expected = Expectation { audiences: &none, any_audience: true, issuers: &issuers };
    let verified = order.verifier().verify(&RawToken::new(actor.token.as_str()), &expected, now).await;
    match verified {
        Ok(verified) => Ok(Some(verified)),
        Err(error) if settings.result == ResultCheck::Opaque && !says_it_is_over(&error) => Ok(None),
        Err(error) => {
            let failed = not_accepted("the actor's own token is not accepted", &error);
            Err(Failed { health: Health::Unasked, good_for: Some(UNCHECKED), ..failed })
        }
    }
}

/// Whether a token that was read is not to be used any more, or nobody could find out.
fn says_it_is_over(error: &TokenError) -> bool {
    matches!(
        error.reason,
        Reason::TokenRevoked | Reason::TokenExpired | Reason::IssuerKeysUnavailable | Reason::Overloaded
    )
}

/// Where an actor's token was sent, it is that one who acts now.
fn check_actor(
    settings: &ExchangeSettings,
    issued: &VerifiedToken,
    acting: Option<&VerifiedToken>,
) -> Result<(), Failed> {
    if settings.actor.is_none() {
        return Ok(());
    }
    let acts = issued.authority().actors.first().zip(acting);
    if acts.is_some_and(|(acts, acting)| same_id(settings, &acting.subject().id, acts)) {
        Ok(())
    } else {
        Err(Failed::refused("the issued token has another actor, or none"))
    }
}

/// A token that is not accepted. An outage of ours or of its issuer says nothing about it.
fn not_accepted(what: &str, error: &TokenError) -> Failed {
    let detail = format!("{what}: {error}");
    if matches!(error.reason, Reason::IssuerKeysUnavailable | Reason::Overloaded) {
        Failed::unchecked(detail)
    } else {
        Failed::refused(detail)
    }
}

/// The same kind of principal with the same name. Where the issuer is another, what stands behind the issuer is compared.
fn check_subject(settings: &ExchangeSettings, order: &Order, issued: &VerifiedToken) -> Result<(), Failed> {
    let (asked, got) = (order.subject(), issued.subject());
    if asked.kind == got.kind && same_id(settings, &asked.id, &got.id) {
        Ok(())
    } else {
        Err(Failed::refused("the issued token has another subject"))
    }
}

fn check_scopes(settings: &ExchangeSettings, order: &Order, issued: &Scopes) -> Result<(), Failed> {
    let within = |scope: &Scope| {
        let harmless = WITHOUT_AUTHORITY.contains(&scope.as_str());
        harmless || wire::unprefixed(settings, scope).is_some_and(|scope| order.scopes().contains(&scope))
    };
    // `.default` stands for all that was consented to, and is only possible where the result cannot be read.
    let all = order.scopes().iter().any(|scope| scope.as_str() == ".default");
    if all || issued.iter().all(within) {
        Ok(())
    } else {
        Err(Failed::refused("the provider issued more scopes than were asked for"))
    }
}

fn token_id(token: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, token.as_bytes());
    format!("sha256:{}", hex::encode(digest))
}
