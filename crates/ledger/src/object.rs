//! What: the objects that an access control list may name.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::limits::MAX_IDENTIFIER_BYTES;

/// Why an object's name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ObjectError {
    /// Not `schema` or `schema.name`.
    #[error("an object is written SCHEMA or SCHEMA.NAME, with double quotes as in SQL")]
    Form,
    /// An identifier that PostgreSQL would cut or can't have.
    #[error("an identifier has 1 to {MAX_IDENTIFIER_BYTES} bytes and no NUL")]
    Identifier,
    /// A schema whose objects are not managed.
    #[error("schema `{0}` belongs to PostgreSQL or to Palisade itself")]
    System(String),
}

/// An object of the managed database. Tables, views, materialized views, sequences, foreign and
/// partitioned tables share one name space in their schema (PostgreSQL, chapter "Schemas").
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectName {
    /// A schema: its ACL decides who may create in it.
    Schema {
        /// The schema's name, unquoted.
        schema: String,
    },
    /// A relation in a schema.
    Relation {
        /// The schema's name, unquoted.
        schema: String,
        /// The relation's name, unquoted.
        name: String,
    },
}

impl ObjectName {
    /// The schema `schema` (unquoted).
    pub fn schema(schema: impl Into<String>) -> Result<Self, ObjectError> {
        Ok(Self::Schema {
            schema: managed(schema.into())?,
        })
    }

    /// The relation `name` in `schema` (both unquoted).
    pub fn relation(
        schema: impl Into<String>,
        name: impl Into<String>,
    ) -> Result<Self, ObjectError> {
        Ok(Self::Relation {
            schema: managed(schema.into())?,
            name: identifier(name.into())?,
        })
    }

    /// The schema that this object is or lies in, unquoted.
    #[must_use]
    pub fn schema_name(&self) -> &str {
        match self {
            Self::Schema { schema } | Self::Relation { schema, .. } => schema,
        }
    }
}

fn identifier(text: String) -> Result<String, ObjectError> {
    if text.is_empty() || text.len() > MAX_IDENTIFIER_BYTES || text.contains('\0') {
        return Err(ObjectError::Identifier);
    }
    Ok(text)
}

fn managed(schema: String) -> Result<String, ObjectError> {
    if schema == "palisade" || schema == "information_schema" || schema.starts_with("pg_") {
        return Err(ObjectError::System(schema));
    }
    identifier(schema)
}

/// Writes an identifier as SQL does, quoted only where it must be.
fn quote(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    let plain = |c: char| c.is_ascii_lowercase() || c == '_';
    let bare = text.chars().next().is_some_and(plain)
        && text
            .chars()
            .all(|c| plain(c) || c.is_ascii_digit() || c == '$');
    if bare {
        f.write_str(text)
    } else {
        write!(f, "\"{}\"", text.replace('"', "\"\""))
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        quote(f, self.schema_name())?;
        match self {
            Self::Schema { .. } => Ok(()),
            Self::Relation { name, .. } => {
                f.write_str(".")?;
                quote(f, name)
            }
        }
    }
}

impl fmt::Debug for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for ObjectName {
    type Err = ObjectError;

    fn from_str(text: &str) -> Result<Self, ObjectError> {
        let (schema, rest) = take_identifier(text)?;
        if rest.is_empty() {
            return Self::schema(schema);
        }
        let rest = rest.strip_prefix('.').ok_or(ObjectError::Form)?;
        let (name, rest) = take_identifier(rest)?;
        if rest.is_empty() {
            Self::relation(schema, name)
        } else {
            Err(ObjectError::Form)
        }
    }
}

/// Splits the first SQL identifier off `text`: quoted as it stands, unquoted folded to lower case.
fn take_identifier(text: &str) -> Result<(String, &str), ObjectError> {
    let Some(mut rest) = text.strip_prefix('"') else {
        let end = text.find('.').unwrap_or(text.len());
        let (word, rest) = text.split_at_checked(end).ok_or(ObjectError::Form)?;
        let allowed = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
        if word.is_empty() || !word.chars().all(allowed) {
            return Err(ObjectError::Form);
        }
        return Ok((word.to_lowercase(), rest));
    };
    let mut name = String::new();
    loop {
        let (part, after) = rest.split_once('"').ok_or(ObjectError::Form)?;
        name.push_str(part);
        match after.strip_prefix('"') {
            Some(more) => {
                name.push('"');
                rest = more;
            }
            None => return Ok((name, after)),
        }
    }
}

impl Serialize for ObjectName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_read_as_sql_reads_them() {
        let read = |text: &str| text.parse::<ObjectName>();
        assert_eq!(
            read("Public.Orders"),
            ObjectName::relation("public", "orders")
        );
        assert_eq!(
            read("\"A b\".\"c\"\"d\""),
            ObjectName::relation("A b", "c\"d")
        );
        assert_eq!(read("public"), ObjectName::schema("public"));
        for bad in [
            "", ".", "a.", ".a", "a.b.c", "a b", "\"a", "a.\"b\"c", "a;b",
        ] {
            assert_eq!(read(bad), Err(ObjectError::Form), "{bad}");
        }
    }

    #[test]
    fn system_schemas_are_refused() {
        for bad in [
            "pg_catalog.pg_class",
            "palisade.acl",
            "information_schema",
            "pg_toast.x",
        ] {
            assert!(
                matches!(bad.parse::<ObjectName>(), Err(ObjectError::System(_))),
                "{bad}"
            );
        }
    }

    proptest! {
        #[test]
        fn display_parses_back(schema in "[^\0]{1,20}", name in "[^\0]{1,20}") {
            if let Ok(object) = ObjectName::relation(schema, name) {
                prop_assert_eq!(object.to_string().parse(), Ok(object));
            }
        }
    }
}
