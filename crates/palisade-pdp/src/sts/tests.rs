//! Tests of the hard rules and of what a token says.
