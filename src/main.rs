//! Palisade turns PostgreSQL servers into one secured cluster.
fn main() {}
