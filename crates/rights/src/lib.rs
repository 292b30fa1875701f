//! Privileges, ACLs, decisions, and the plan that makes an enforcing system agree.
//!
//! ```text
//!  State ----> effective, can        what a user may do, and the rule that decided
//!  State --+
//!          +-> Picture (desired) --+
//!  Catalog +                       +-> plan -> Plan: typed steps, each with its SQL
//!       PostgreSQL -> Picture -----+
//! ```
//!
//! [`Picture`] is everything of PostgreSQL that Palisade decides: roles, memberships, owners, grants and
//! the tables that its event triggers read. The desired one is computed from the ledger's state and the
//! list of objects ([`Catalog`]); the observed one is read from the server. [`plan`] is their difference:
//! what a reconciliation executes, and what drift is when nothing was meant to change. For one changed
//! right [`plan_change`] compares two desired pictures of the touched users and objects alone.
//!
//! The same for the etcd that the cluster runs: [`store_plan`] for its members, [`access_plan`] for its
//! users.
//!
//! This crate does no I/O.

mod catalog;
mod compile;
mod decide;
mod hba;
mod picture;
mod plan;
mod sql;
mod store;

pub use catalog::{Catalog, Relation, RelationKind, Schema};
pub use compile::{Scope, desired, plan_change};
pub use decide::{Answer, Effective, Rule, can, effective, effective_on};
pub use hba::{BOOTSTRAP_ROLE, DirectRules, HbaFiles, HbaInput, compile_hba};
pub use picture::{AclKey, Grant, Picture, Rights, Role, UserRow};
pub use plan::{Object, Plan, Step, plan};
pub use sql::{quote_identifier, quote_literal};
pub use store::{
    AccessStep, KeyRange, RemoveReason, STORE_HOST, STORE_ROLE, STORE_ROOT, StoreAccess,
    StoreMember, StoreNode, StoreStep, access_plan, store_plan, store_user, voters,
};
