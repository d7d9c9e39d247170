//! The lists in the answers to a request, and what of them their reader may see.

use std::{sync::Arc, time::Duration};

use memchr::memmem;
use palisade_call::{Believed, Decoded, HttpCall, decode, denial_answer, list_question, outage};
use palisade_mcp::Listing;
use palisade_pdp::{Caller, Listed, Pdp, Snapshot, answer::Answer, run_to_end};
use serde_json::{Value, json};

/// Internal error (JSON-RPC 2.0 section 5.1).
const INTERNAL: i32 = -32_603;

/// Whether answers may hold lists, by what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Plan {
    /// Whether a list was asked for.
    asked: bool,
    /// Whether it is known what was asked.
    complete: bool,
}

impl Plan {
    fn of(call: &HttpCall, decoded: &Decoded) -> Self {
        let Ok(asked) = &decoded.request.asked else { return Self::default() };
        let list = asked.items.iter().any(|item| Listing::of(&item.action.name).is_some());
        Self { asked: list, complete: call.method == "POST" }
    }

    /// Whether an answer may hold a list.
    pub(super) fn concerns_answers(self) -> bool {
        !self.complete || self.asked
    }

    /// Whether a list was asked for.
    pub(super) fn expects_list(self) -> bool {
        self.asked
    }
}

/// Why an answer may not be told.
#[derive(Debug)]
pub(super) enum Withheld {
    /// The client is told this instead.
    Denied(Box<Answer>),
    /// It cannot be read, or in two ways.
    Unreadable,
}

/// What answers are cut by.
#[derive(Debug)]
pub(super) struct Cutter {
    pdp: Arc<Pdp>,
    caller: Caller,
    call: HttpCall,
    pub(super) plan: Plan,
}

impl Cutter {
    /// For the answers to this request.
    pub(super) fn new(pdp: Arc<Pdp>, caller: Caller, call: HttpCall) -> Self {
        let plan = Plan::of(&call, &decoded(&pdp.snapshot(), &caller, &call));
        Self { pdp, caller, call, plan }
    }

    /// Cuts the lists in a message of the server, or in several in one. Nothing where it stays as it is.
    pub(super) async fn cut(&self, message: &[u8]) -> Result<Option<Vec<u8>>, Withheld> {
        // Where a list is awaited, what cannot be read could be one to a client that is less strict; nothing at all is none.
        let blank = message.iter().all(u8::is_ascii_whitespace);
        if blank || !self.plan.concerns_answers() || !(self.plan.expects_list() || may_hold_result(message)) {
            return Ok(None);
        }
        // What has two readings could be one to a client that takes the other.
        let mut value = palisade_mcp::read_message(message).map_err(|_| Withheld::Unreadable)?;
        let mut changed = false;
        match value.as_array_mut() {
            Some(messages) => {
                for message in messages {
                    changed |= self.cut_one(message).await?;
                }
            }
            None => changed = self.cut_one(&mut value).await?,
        }
        Ok(changed.then(|| value.to_string().into_bytes()))
    }

    /// The same for an event of a stream, where only the answer itself can be told: what may not be told becomes an error, or
    /// nothing.
    pub(super) async fn cut_event(&self, message: &[u8]) -> Option<Option<Vec<u8>>> {
        match self.cut(message).await {
            Ok(changed) => Some(changed),
            Err(withheld) => {
                tracing::warn!(?withheld, "an answer is withheld");
                let value: Value = serde_json::from_slice(message).unwrap_or_default();
                let id = value.get("id").filter(|id| id.is_string() || id.is_number())?;
                let error = json!({ "code": INTERNAL, "message": "no decision can be made now" });
                let error = json!({ "jsonrpc": "2.0", "id": id, "error": error });
                Some(Some(error.to_string().into_bytes()))
            }
        }
    }

    async fn cut_one(&self, message: &mut Value) -> Result<bool, Withheld> {
        let id = message.get("id").map(Value::to_string).unwrap_or_default();
        let Some(result) = message.get_mut("result") else { return Ok(false) };
        // Whatever has the form of a list is one: an id may come back spelt otherwise, or stand for two requests.
        let mut cut = false;
        for listing in Listing::ALL {
            let Some(names) = listing.names(result) else { continue };
            let shown = self.shown(listing, &names, &id).await?;
            listing.keep(result, shown);
            cut = true;
        }
        Ok(cut)
    }

    /// For each entry whether it may be seen. The policies are those in force now, which need not be those of the request.
    async fn shown(&self, listing: Listing, names: &[&str], id: &str) -> Result<Vec<bool>, Withheld> {
        let snapshot = self.pdp.snapshot();
        let decoded = decoded(&snapshot, &self.caller, &self.call);
        let question = list_question(&decoded, listing, names.iter().copied(), Some(id.to_owned()));
        let pdp = Arc::clone(&self.pdp);
        let work = async move { Some(pdp.list(&snapshot, &question, Duration::MAX).await) };
        match run_to_end(work, || None).await {
            Some(Listed::Shown { id: _, shown, observed: _ }) => Ok(shown),
            Some(Listed::Refused(denial)) => {
                Err(Withheld::Denied(Box::new(denial_answer(&denial, &self.call, &decoded))))
            }
            None => Err(Withheld::Denied(Box::new(outage()))),
        }
    }
}

fn decoded(snapshot: &Snapshot, caller: &Caller, call: &HttpCall) -> Decoded {
    let limits = &snapshot.limits;
    decode(call, &Believed::new(caller, &snapshot.peps, &snapshot.resources, limits.body, limits.batch))
}

/// Whether there may be a result, without reading it all. An escape could spell the member's name.
fn may_hold_result(message: &[u8]) -> bool {
    memmem::find(message, b"result").is_some() || memmem::find(message, b"\\u").is_some()
}
