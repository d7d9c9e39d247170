//! A list in a server's answer as a question: which of its entries may its reader see?

use palisade_mcp::Listing;
use palisade_model::{AccessRequest, Asked, Item};
use palisade_pdp::{ListOf, ListRequest};

use crate::decode::Decoded;

/// The question about the entries of a list with these names, for whoever sent the request. Without a known resource it is
/// one that is refused.
#[must_use]
pub fn list_question<'n>(
    decoded: &Decoded,
    listing: Listing,
    names: impl IntoIterator<Item = &'n str>,
    reply_to: Option<String>,
) -> ListRequest {
    let (asked, entries) = match decoded.resource.as_deref() {
        Some(resource) => {
            let item = Item { reply_to, ..listing.item(&resource.name) };
            let target = |name: &str| listing.target(&resource.name, name);
            let entries = names.into_iter().map(|name| Item::plain(listing.action(), target(name))).collect();
            (Ok(Asked::one(item)), entries)
        }
        None => (decoded.request.asked.clone(), Vec::new()),
    };
    let access = AccessRequest { asked, handles: Vec::new(), ..decoded.request.clone() };
    ListRequest { access, entries, of: ListOf::Entries }
}

/// The question which of these resources may be read now, for whoever sent the request.
#[must_use]
pub fn reads_question<'n>(decoded: &Decoded, uris: impl IntoIterator<Item = &'n str>) -> ListRequest {
    let mut question = list_question(decoded, Listing::Resources, uris, None);
    question.of = ListOf::Calls;
    // It is on the record as what it is about. Without a known resource there is none.
    if let (Ok(asked), Some(first)) = (&mut question.access.asked, question.entries.first()) {
        for item in &mut asked.items {
            item.action.clone_from(&first.action);
            item.target.clone_from(&first.target);
        }
    }
    question
}
