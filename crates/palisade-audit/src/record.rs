//! The records: one decision, or one event of the service, as one JSON object.
//!
//! The types are the schema: `schemas/decision-record.schema.json` is generated from them, so a field that is not
//! here does not exist. Fields that have nothing to say are left out. Fields only grow within a major version, which
//! is why a reader ignores members it does not know.
//!
//! A record never holds a token, a secret, a query string or the value of an argument; its fields have no room for
//! any. Strings are cut where lines are written (`line`), not here.

use palisade_model::{
    DecisionId, IssuerName, PepName, PolicyRevision, Reason, ResourceName, Scopes, Surface, Timestamp,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{event::EventRecord, exchange::ExchangeRecord};

/// The version of the record schema.
pub const SCHEMA_VERSION: u32 = 1;

/// Who calls without a credential.
const ANONYMOUS: &str = "Anonymous::\"anonymous\"";

/// One line of the decision log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type")]
#[schemars(title = "Palisade decision log", description = "One line of the decision log.")]
pub enum Record {
    /// A decision.
    #[serde(rename = "palisade.decision")]
    Decision(Box<DecisionRecord>),
    /// Something that happened to the service.
    #[serde(rename = "palisade.event")]
    Event(Box<EventRecord>),
    /// The first line of a segment.
    #[serde(rename = "palisade.segment")]
    Segment(SegmentHeader),
}

/// What the line of a decision begins with.
const DECISION: &[u8] = br#"{"type":"palisade.decision","#;

impl Record {
    /// Reads a line of the log. What a line says decides, whatever the order of its members; but that of a decision is read at
    /// once where it begins as we write it: which type it is, is otherwise known after everything was kept beside.
    ///
    /// # Errors
    /// The line is no record.
    pub fn read(line: &[u8]) -> Result<Self, serde_json::Error> {
        if line.starts_with(DECISION) {
            return serde_json::from_slice(line).map(Self::Decision);
        }
        serde_json::from_slice(line)
    }

    /// When it happened.
    #[must_use]
    pub fn time(&self) -> Timestamp {
        match self {
            Self::Decision(record) => record.time,
            Self::Event(record) => record.time,
            Self::Segment(header) => header.time,
        }
    }
}

/// How a decision came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The policies permit it.
    Permit,
    /// The policies deny it, and it was let by because the resource is under observation.
    Observed,
    /// Denied.
    Deny,
    /// Denied, and a stronger token would be permitted.
    StepUp,
}

impl Outcome {
    /// The text form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Permit => "permit",
            Self::Observed => "observed",
            Self::Deny => "deny",
            Self::StepUp => "step_up",
        }
    }
}

/// One decision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DecisionRecord {
    /// The version of this schema.
    pub schema_version: u32,
    /// A UUID version 7 (RFC 9562): ids sort by time.
    #[schemars(with = "String")]
    pub id: DecisionId,
    /// When the decision was made, RFC 3339 in UTC with milliseconds.
    #[serde(with = "crate::rfc3339")]
    #[schemars(with = "String")]
    pub time: Timestamp,
    /// How long the decision took, in microseconds.
    pub duration_us: u64,
    /// How it came out.
    pub decision: Outcome,
    /// Why it came out so.
    pub reason: Reason,
    /// The `@deny_code` of the policy that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_code: Option<String>,
    /// What exactly is wrong, in a few words that hold no value from the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Whose authority is used: `User::"corp/alice"`. Absent where no subject is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
    /// The roles, groups and the tenant that the token gives it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub principal_in: Vec<String>,
    /// Whether the PEP says who the subject is; no token proves it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub asserted: bool,
    /// The authentication context class of the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acr: Option<String>,
    /// Who exercises it: the actors of the `act` chain (RFC 8693 section 4.1), the current one first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actors: Vec<String>,
    /// The OAuth client the token was issued to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// The issuer's name in the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<IssuerName>,
    /// `jti:<value>`, or `sha256:<hex>` of the token; `static:<name>` of a static token, which no issuer has issued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_id: Option<String>,
    /// What is done: `Mcp::Action::"tools/call"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// The resource's name in the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<ResourceName>,
    /// What it is done to: `Mcp::Tool::"files/delete_file"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The scopes of the token.
    #[serde(default, skip_serializing_if = "Scopes::is_empty")]
    pub scopes: Scopes,
    /// The scopes that would have turned the denial into a permit.
    #[serde(default, skip_serializing_if = "Scopes::is_empty")]
    pub missing_scopes: Scopes,
    /// The authentication context classes that would have turned the denial into a permit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing_acr: Vec<String>,
    /// How old a login may be, in seconds, for the denial to become a permit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing_max_age: Option<u64>,
    /// The permits that came nearest to permitting it, the nearest first. Of a batch: its first denied item.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nearest_permits: Vec<NearPermit>,
    /// The policies that decided.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub determining_policies: Vec<PolicyRef>,
    /// The policies that failed to evaluate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policy_errors: Vec<PolicyFailure>,
    /// The snapshot the decision was made with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_revision: Option<PolicyRevision>,
    /// Where the policies came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_source: Option<String>,
    /// How many policies were evaluated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidates: Option<u64>,
    /// The entry the request came in by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub surface: Option<Surface>,
    /// The caller of the decision service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pep: Option<PepName>,
    /// The client's address; with `count` above one its /24 (IPv4) or /48 (IPv6) prefix, or `other`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_ip: Option<String>,
    /// The proxy's id of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The W3C trace, 32 hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// The W3C span, 16 hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span_id: Option<String>,
    /// The route template or the matched prefix, never the path itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// HMAC of the arguments' digest with the installation's key: equal arguments have equal digests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_digest: Option<String>,
    /// The exchange of the token that the decision needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exchange: Option<Box<ExchangeRecord>>,
    /// What the caller supplied of the attributes of subject and target and what took no part: the caller may not supply
    /// it, the schema does not declare it, or it is known already. Names alone: `subject.department`, `resource.owner`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignored: Vec<String>,
    /// How many a search found on the page that it answered with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<u64>,
    /// The items of a batch or list; of a search, what it found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<ItemRecord>,
    /// How many decisions this record stands for. Above one for refusals before a subject is known, for denials of
    /// anonymous callers, and for decisions whose own record could not be written; the fields beside `reason`,
    /// `resource`, `pep` and `client_ip` are then those of the first.
    pub count: u64,
}

impl DecisionRecord {
    /// A record of a denial for an internal error: whoever fills it in says what else it is.
    #[must_use]
    pub fn new(id: DecisionId, time: Timestamp) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            id,
            time,
            duration_us: 0,
            decision: Outcome::Deny,
            reason: Reason::InternalError,
            policy_code: None,
            detail: None,
            principal: None,
            principal_in: Vec::new(),
            asserted: false,
            acr: None,
            actors: Vec::new(),
            client: None,
            issuer: None,
            token_id: None,
            action: None,
            resource: None,
            target: None,
            scopes: Scopes::new(),
            missing_scopes: Scopes::new(),
            missing_acr: Vec::new(),
            missing_max_age: None,
            nearest_permits: Vec::new(),
            determining_policies: Vec::new(),
            policy_errors: Vec::new(),
            policy_revision: None,
            policy_source: None,
            candidates: None,
            surface: None,
            pep: None,
            client_ip: None,
            request_id: None,
            trace_id: None,
            span_id: None,
            path: None,
            input_digest: None,
            ignored: Vec::new(),
            found: None,
            exchange: None,
            items: Vec::new(),
            count: 1,
        }
    }

    /// Whether this is a refusal of somebody who is not known: those are counted, not written one by one, so that who
    /// has no credential cannot fill the log. Who calls without one where that is allowed is `Anonymous`, and no better
    /// known.
    pub(crate) fn is_refusal(&self) -> bool {
        let unknown = self.principal.as_deref().is_none_or(|principal| principal == ANONYMOUS);
        self.decision == Outcome::Deny && unknown
    }

    /// What was answered where no receipt came in time: no permit leaves without one.
    pub(crate) fn without_receipt(self) -> Self {
        match self.decision {
            Outcome::Permit | Outcome::Observed => Self {
                decision: Outcome::Deny,
                reason: Reason::AuditUnavailable,
                detail: Some("the record came too late".to_owned()),
                ..self
            },
            Outcome::Deny | Outcome::StepUp => self,
        }
    }
}

/// A policy and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PolicyRef {
    /// Its `@id`, or the id it was given.
    pub id: String,
    /// The file, relative to the policy folder.
    pub file: String,
    /// The line its text begins on, from 1.
    pub line: u32,
}

/// A policy that failed to evaluate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PolicyFailure {
    /// Its `@id`, or the id it was given.
    pub id: String,
    /// The file, relative to the policy folder.
    pub file: String,
    /// The line its text begins on, from 1.
    pub line: u32,
    /// What failed.
    pub message: String,
}

/// A permit that did not permit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NearPermit {
    /// Its `@id`, or the id it was given.
    pub id: String,
    /// The file, relative to the policy folder.
    pub file: String,
    /// The line its text begins on, from 1.
    pub line: u32,
    /// What of it did not hold, in its own words. Nothing where all of it held and a forbid won.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<String>,
}

/// One item of a batch, list or search, or a call inside a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ItemRecord {
    /// Who does it, where that is not the subject of the record: one of those that a search found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
    /// What is done.
    pub action: String,
    /// What it is done to.
    pub target: String,
    /// How it came out.
    pub decision: Outcome,
    /// Why it came out so.
    pub reason: Reason,
    /// The policies that decided.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub determining_policies: Vec<PolicyRef>,
}

/// The first line of a segment. The hashes chain the segments of a series, so that a change to any but the newest
/// is found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SegmentHeader {
    /// The version of this schema.
    pub schema_version: u32,
    /// The series the segment belongs to: `decisions` or `refusals`.
    pub series: String,
    /// Its place in the series, from 1, without gaps.
    pub sequence: u64,
    /// When the segment was begun.
    #[serde(with = "crate::rfc3339")]
    #[schemars(with = "String")]
    pub time: Timestamp,
    /// SHA-256 of the whole segment before this one, in lower-case hex. Absent in the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_sha256: Option<String>,
}

/// The JSON Schema of one line of the log.
#[must_use]
pub fn decision_record_schema() -> Value {
    schemars::schema_for!(Record).to_value()
}

#[cfg(test)]
mod tests;
