//! The decision pipeline: authenticate, gather, evaluate, step-up, record, answer.
