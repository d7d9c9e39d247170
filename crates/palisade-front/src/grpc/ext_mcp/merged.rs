//! Lists of several servers in one. agentgateway writes the name of the server and `_` before a tool's or a prompt's own, and
//! finds the server again by the first `_`.

use palisade_mcp::Listing;

/// What stands between the names of the server and of the entry.
const DELIMITER: char = '_';

/// An entry of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry<'n> {
    /// Its place among those that have a name.
    pub(super) place: usize,
    /// The name that its server has for it.
    pub(super) name: &'n str,
}

/// The entries of each service. With one service they are all its own. What cannot be attributed is nobody's: the URIs of
/// resources are written anew by the gateway where it has several servers.
pub(super) fn entries<'n>(listing: Listing, services: &[String], names: &[&'n str]) -> Vec<Vec<Entry<'n>>> {
    let named = || names.iter().copied().enumerate();
    if let [_only] = services {
        return vec![named().map(|(place, name)| Entry { place, name }).collect()];
    }
    let has_prefix = match listing {
        Listing::Tools | Listing::Prompts => true,
        Listing::Resources | Listing::Templates => false,
    };
    let of = |service: &String| {
        let entries = named().filter(|_| has_prefix).filter_map(|(place, name)| {
            let (prefix, name) = name.split_once(DELIMITER)?;
            (prefix == service).then_some(Entry { place, name })
        });
        entries.collect()
    };
    services.iter().map(of).collect()
}
