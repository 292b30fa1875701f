//! The PostgreSQL front door: TLS, authentication by rule, and the bytes passed through.
