//! The sections: each measures one thing, prints it and holds it against its targets.

pub(super) mod envoy;
pub(super) mod gateway;
pub(super) mod graphql;
pub(super) mod growth;
pub(super) mod peers;
pub(super) mod reload;
pub(super) mod startup;
