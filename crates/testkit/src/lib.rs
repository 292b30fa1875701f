//! Throwaway PostgreSQL servers and other real components for tests.
