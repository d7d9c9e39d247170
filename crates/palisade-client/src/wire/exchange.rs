//! Exchanges.

use std::time::Duration;

use palisade_model::RawToken;
use palisade_proto::v1;

use super::{Asked, LONGEST, Unreadable, call, decision_id, revision, timestamp};
use crate::{Exchange, ExchangeRefusal, Exchanged, IssuedToken, NoAnswer, ReasonCode};

impl Asked for Exchange {
    type Message = v1::ExchangeRequest;
    type Reply = v1::ExchangeResponse;
    type Answer = Exchanged;

    fn message(&self) -> v1::ExchangeRequest {
        v1::ExchangeRequest {
            resource: self.resource.clone(),
            token: self.token.expose().to_owned(),
            exchange: self.exchange.clone(),
            scopes: self.scopes.clone(),
        }
    }

    fn read(&self, reply: v1::ExchangeResponse) -> Result<Exchanged, Unreadable> {
        let id = decision_id(&reply.decision_id)?;
        let permitted = reply.outcome() == v1::Outcome::Permit;
        let policy_revision = revision(reply.policy_revision);
        match reply.access_token.filter(|token| !token.is_empty()) {
            Some(token) if permitted => Ok(Exchanged::Issued(IssuedToken {
                token: RawToken::new(token),
                scopes: reply.scopes,
                expires_at: reply.expires_at.map(timestamp),
                id: id.ok_or(Unreadable("a token has no record"))?,
                policy_revision,
            })),
            Some(_) => Err(Unreadable("it denies and brings a token")),
            None if permitted => Err(Unreadable("it permits and brings no token")),
            None => Ok(Exchanged::Refused(ExchangeRefusal {
                reason: ReasonCode(reply.reason),
                id,
                claims: reply.claims,
                retry_after: reply.retry_after.map(|seconds| Duration::from_secs(seconds.into())),
                policy_revision,
            })),
        }
    }

    asked_beside!();
}
