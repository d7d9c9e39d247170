//! The commands, a file each.

pub(crate) mod audit;
pub(crate) mod config;
pub(crate) mod decide;
pub(crate) mod dev;
pub(crate) mod explanation;
pub(crate) mod import;
pub(crate) mod mcp;
pub(crate) mod policy;
pub(crate) mod serve;
pub(crate) mod terminal;
pub(crate) mod token;
pub(crate) mod tools;
pub(crate) mod why;
