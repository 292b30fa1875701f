//! Key formats, fingerprints, signatures, SCRAM verifiers, and secrets that cannot print.
