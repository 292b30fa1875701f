//! The language of pg_hba.conf: a strict parser and the first-match rule.
