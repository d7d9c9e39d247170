//! The decision log: record, receipt, segments, OTLP export, query.
