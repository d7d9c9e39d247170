//! Providers are stand-ins on loopback here that follow the documented requests, responses and error bodies; what they
//! issue is signed and verified as it would be anywhere.

mod dialects;
mod fixture;
mod keys;
mod mutual_tls;
mod results;
mod shared;
mod waiting;
