//! HTTP surfaces: check, metadata, admin.
