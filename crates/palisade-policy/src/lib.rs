//! Policies: load, validate, evaluate, test.
