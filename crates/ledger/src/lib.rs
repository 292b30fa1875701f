//! The signed ledger: entries, their encoding, the chain, verification and the state it folds to.
