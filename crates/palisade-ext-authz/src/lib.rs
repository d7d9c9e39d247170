//! Envoy ext_authz.
