//! Changed files under a running service.
