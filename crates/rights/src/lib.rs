//! Privileges, ACLs, decisions, and the plan that makes an enforcing system agree.
