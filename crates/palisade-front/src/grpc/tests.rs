//! Questions in, answers out; and that nothing but a permit is ever answered as one.

mod answers;
mod batch;
pub(crate) mod fixture;
mod gateways;
mod nothing_else_permits;
