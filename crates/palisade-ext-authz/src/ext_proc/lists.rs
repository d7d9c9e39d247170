//! The lists in the answers to a request, and what of them their reader may see.

use std::{collections::HashMap, sync::Arc, time::Duration};

use memchr::memmem;
use palisade_call::{Believed, Decoded, HttpCall, decode, denial_answer, list_question, outage};
use palisade_mcp::Listing;
use palisade_pdp::{Caller, Listed, Pdp, Snapshot, answer::Answer, run_to_end};
use serde_json::{Value, json};

/// Internal error (JSON-RPC 2.0 section 5.1).
const INTERNAL: i32 = -32_603;

/// Which answers are lists, by what was asked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Plan {
    /// The requests by their ids (as JSON), each with the list that it asks for.
    asked: HashMap<String, Option<Listing>>,
    /// Whether these are all that was asked.
    complete: bool,
}

impl Plan {
    fn of(call: &HttpCall, decoded: &Decoded) -> Self {
        let Ok(asked) = &decoded.request.asked else { return Self::default() };
        let known = asked.items.iter().filter_map(|item| {
            let listing = Listing::of(&item.action.name);
            item.reply_to.clone().map(|id| (id, listing))
        });
        Self { asked: known.collect(), complete: call.method == "POST" }
    }

    /// Whether an answer may hold a list.
    pub(super) fn concerns_answers(&self) -> bool {
        !self.complete || self.expects_list()
    }

    /// Whether a list was asked for.
    pub(super) fn expects_list(&self) -> bool {
        self.asked.values().any(Option::is_some)
    }

    /// The lists in the result of a request. Where the request is not known, whatever has the form of one is one.
    fn listings(&self, id: &str, result: &Value) -> Vec<Listing> {
        match self.asked.get(id) {
            Some(asked) => asked.iter().copied().collect(),
            None => Listing::ALL.into_iter().filter(|listing| listing.names(result).is_some()).collect(),
        }
    }
}

/// Why an answer may not be told.
#[derive(Debug)]
pub(super) enum Withheld {
    /// The client is told this instead.
    Denied(Box<Answer>),
    /// It cannot be read.
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
        if !may_hold_result(message) {
            return Ok(None);
        }
        let mut value: Value = serde_json::from_slice(message).map_err(|_| Withheld::Unreadable)?;
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
        let listings = self.plan.listings(&id, result);
        for listing in &listings {
            let Some(names) = listing.names(result) else { continue };
            let shown = self.shown(*listing, &names, &id).await?;
            listing.keep(result, shown);
        }
        Ok(!listings.is_empty())
    }

    /// For each entry whether it may be seen. The policies are those in force now, which need not be those of the request.
    async fn shown(&self, listing: Listing, names: &[&str], id: &str) -> Result<Vec<bool>, Withheld> {
        let snapshot = self.pdp.snapshot();
        let decoded = decoded(&snapshot, &self.caller, &self.call);
        let question = list_question(&decoded, listing, names.iter().copied(), Some(id.to_owned()));
        let pdp = Arc::clone(&self.pdp);
        let work = async move { Some(pdp.list(&snapshot, &question, Duration::MAX).await) };
        match run_to_end(work, || None).await {
            Some(Listed::Shown { id: _, shown }) => Ok(shown),
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
