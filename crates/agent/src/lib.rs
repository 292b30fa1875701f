//! The reconciler for PostgreSQL: observe, plan, execute, and the server that Palisade manages.
