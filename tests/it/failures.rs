//! What operators fear: the provider, the collector or the service itself dies in the middle of traffic.
