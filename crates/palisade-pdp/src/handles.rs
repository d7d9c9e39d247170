//! Handles of servers, bound to a resource and a subject: ids of sessions and tasks.
//!
//! A handle is a name and no credential (MCP 2026-07-28, security best practices): whoever brings one must also be who got
//! it. So a client gets it with a seal over the resource, the subject and the tool that made it, and a seal that is not that
//! of who asks is `session_mismatch`. The seal is over who the subject is and never over a token, so that a session lives
//! on with the next token.

use aws_lc_rs::{constant_time, hmac};
use palisade_audit::AuditLog;
use palisade_model::{AccessRequest, Handle, HandleKind, PepName, Reason, Refusal, ResourceName, Surface};
use zeroize::Zeroizing;

use crate::{Caller, Pdp, Snapshot, question};

/// The keys that handles are bound with: the first binds, each of them proves. Replicas share them. Without any, the
/// installation's own key binds, which no other replica has.
#[derive(Default)]
pub struct HandleKeys(Vec<Zeroizing<Vec<u8>>>);

impl std::fmt::Debug for HandleKeys {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "HandleKeys({})", self.0.len())
    }
}

impl HandleKeys {
    /// These keys, the one that binds first.
    #[must_use]
    pub fn new(keys: Vec<Zeroizing<Vec<u8>>>) -> Self {
        Self(keys)
    }

    fn bind(&self, audit: &AuditLog, text: &str) -> String {
        match self.0.first() {
            Some(key) => seal(key, text),
            None => own_seal(audit, text),
        }
    }

    fn prove(&self, audit: &AuditLog, text: &str, claimed: &str) -> bool {
        let is = |expected: String| {
            constant_time::verify_slices_are_equal(expected.as_bytes(), claimed.as_bytes()).is_ok()
        };
        if self.0.is_empty() {
            return is(own_seal(audit, text));
        }
        self.0.iter().any(|key| is(seal(key, text)))
    }
}

fn seal(key: &[u8], text: &str) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes());
    tag.as_ref().iter().take(palisade_model::SEAL / 2).map(|byte| format!("{byte:02x}")).collect()
}

fn own_seal(audit: &AuditLog, text: &str) -> String {
    let code = audit.input_digest(text);
    code.rsplit(':').next().and_then(|hex| hex.get(..palisade_model::SEAL)).unwrap_or_default().to_owned()
}

/// What a seal is over. No two handles have the same text: every part has its length before it.
fn sealed(
    kind: HandleKind,
    (pep, resource): (Option<&PepName>, &ResourceName),
    subject: &str,
    tool: &str,
    id: &str,
) -> String {
    text_of(&[kind.as_str(), caller_name(pep), resource.as_str(), subject, tool, id])
}

/// What the seal of a ticket is over.
fn ticket_text(pep: Option<&PepName>, resource: &ResourceName, subject: &str) -> String {
    text_of(&["ticket", caller_name(pep), resource.as_str(), subject])
}

/// What one caller has bound is good for that caller alone.
fn caller_name(pep: Option<&PepName>) -> &str {
    pep.map_or("", PepName::as_str)
}

fn text_of(parts: &[&str]) -> String {
    let mut text = "bound handle".to_owned();
    for part in parts {
        text.push_str(&format!("\n{}:{part}", part.len()));
    }
    text
}

/// Whether every handle of a request is one of its subject's.
pub(crate) fn are_of(
    snapshot: &Snapshot,
    audit: &AuditLog,
    request: &AccessRequest,
    subject: &str,
) -> Result<(), Refusal> {
    let Some(resource) = &request.resource else { return Ok(()) };
    let is_of = |handle: &Handle| {
        let text = sealed(handle.kind, (request.pep.as_ref(), resource), subject, &handle.tool, &handle.id);
        snapshot.handle_keys.prove(audit, &text, &handle.seal)
    };
    if request.handles.iter().all(is_of) {
        Ok(())
    } else {
        Err(Refusal::new(Reason::SessionMismatch, "the session or task is not one of the subject's"))
    }
}

impl Pdp {
    /// What proves that somebody was decided on as this subject of a resource: without it nobody gets a handle bound to them.
    #[must_use]
    pub fn ticket(
        &self,
        snapshot: &Snapshot,
        caller: &Caller,
        resource: &ResourceName,
        subject: &str,
    ) -> String {
        let seal =
            snapshot.handle_keys.bind(self.audit(), &ticket_text(caller.0.as_ref(), resource, subject));
        format!("{seal}.{subject}")
    }

    /// Binds a server's handle to the subject of a ticket; nothing where the caller may not ask, the ticket is none of this
    /// resource, or the handle cannot be bound.
    #[must_use]
    pub fn bind(
        &self,
        snapshot: &Snapshot,
        caller: &Caller,
        (kind, id, tool): (HandleKind, &str, &str),
        resource: Option<&ResourceName>,
        ticket: &str,
    ) -> Option<Handle> {
        let resource = question::permitted(snapshot, caller.0.as_ref(), resource, Surface::Gateway).ok()?;
        // A task of a tool that calls others would be decided about as that tool's, whatever it called.
        if resource.tools.get(tool).is_some_and(|form| form.calls.is_some()) {
            return None;
        }
        let (claimed, subject) = ticket.split_once('.')?;
        let known = snapshot.handle_keys.prove(
            self.audit(),
            &ticket_text(caller.0.as_ref(), &resource.name, subject),
            claimed,
        );
        if !known || !Handle::may_be_bound(id, tool) {
            return None;
        }
        let text = sealed(kind, (caller.0.as_ref(), &resource.name), subject, tool, id);
        let seal = snapshot.handle_keys.bind(self.audit(), &text);
        Some(Handle { kind, seal, tool: tool.to_owned(), id: id.to_owned() })
    }
}
