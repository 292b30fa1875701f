//! The objects of the managed database, as the agent lists them.

use std::collections::BTreeMap;

use palisade_ledger::ObjectName;

/// What a relation is, as far as its grants go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelationKind {
    /// A table, partitioned table, materialized view or foreign table.
    Table,
    /// A view: it runs with the rights of who reads it.
    View,
    /// A sequence.
    Sequence,
}

/// A schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    /// Its name, unquoted.
    pub name: String,
}

/// A relation that has grants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// Its schema's name, unquoted.
    pub schema: String,
    /// Its name, unquoted.
    pub name: String,
    /// What it is.
    pub kind: RelationKind,
    /// Whose ACL holds where it has none of its own: the table of a column's sequence, the parent of a partition.
    pub parent: Option<u32>,
    /// At either end of a foreign key, or the sequence of such a table.
    pub keyed: bool,
}

/// The managed objects by their object id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Catalog {
    schemas: BTreeMap<u32, Schema>,
    relations: BTreeMap<u32, Relation>,
    by_name: BTreeMap<(String, String), u32>,
    children: BTreeMap<u32, Vec<u32>>,
    maintain: bool,
}

impl Catalog {
    /// The catalogue of these objects.
    #[must_use]
    pub fn new(
        schemas: impl IntoIterator<Item = (u32, Schema)>,
        relations: impl IntoIterator<Item = (u32, Relation)>,
    ) -> Self {
        let mut catalog = Self {
            schemas: schemas.into_iter().collect(),
            relations: relations.into_iter().collect(),
            ..Self::default()
        };
        for (oid, relation) in &catalog.relations {
            let name = (relation.schema.clone(), relation.name.clone());
            catalog.by_name.insert(name, *oid);
            if let Some(parent) = relation.parent {
                catalog.children.entry(parent).or_default().push(*oid);
            }
        }
        catalog
    }

    /// Says whether the server knows `MAINTAIN`: PostgreSQL does from version 17 on.
    #[must_use]
    pub fn with_maintain(mut self, maintain: bool) -> Self {
        self.maintain = maintain;
        self
    }

    /// Whether the server knows `MAINTAIN`.
    #[must_use]
    pub fn has_maintain(&self) -> bool {
        self.maintain
    }

    /// All schemas.
    pub fn schemas(&self) -> impl Iterator<Item = (u32, &Schema)> {
        self.schemas.iter().map(|(oid, schema)| (*oid, schema))
    }

    /// All relations.
    pub fn relations(&self) -> impl Iterator<Item = (u32, &Relation)> {
        self.relations
            .iter()
            .map(|(oid, relation)| (*oid, relation))
    }

    /// One relation.
    #[must_use]
    pub fn relation(&self, oid: u32) -> Option<&Relation> {
        self.relations.get(&oid)
    }

    /// The schema of this name.
    #[must_use]
    pub fn schema_named(&self, name: &str) -> Option<u32> {
        self.schemas()
            .find(|(_, schema)| schema.name == name)
            .map(|(oid, _)| oid)
    }

    /// Whether there is an object of this name.
    #[must_use]
    pub fn has(&self, object: &ObjectName) -> bool {
        match object {
            ObjectName::Schema { schema } => self.schema_named(schema).is_some(),
            ObjectName::Relation { schema, name } => {
                let key = (schema.clone(), name.clone());
                self.by_name.contains_key(&key)
            }
        }
    }

    /// The relations whose rights an ACL on this name can decide: itself and what follows it.
    #[must_use]
    pub fn ruled_by(&self, schema: &str, name: &str) -> Vec<u32> {
        let key = (schema.to_owned(), name.to_owned());
        let mut found: Vec<u32> = self.by_name.get(&key).copied().into_iter().collect();
        let mut next = 0;
        while let Some(oid) = found.get(next).copied() {
            let children = self.children.get(&oid).into_iter().flatten().copied();
            let new: Vec<u32> = children.filter(|child| !found.contains(child)).collect();
            found.extend(new);
            next += 1;
        }
        found
    }

    /// The names whose ACL decides for a relation, nearest first.
    #[must_use]
    pub fn names_of(&self, oid: u32) -> Vec<ObjectName> {
        /// Partitions nest less deep than this; a guard against a catalogue that runs in a circle.
        const MAX_DEPTH: usize = 32;
        let mut names = Vec::new();
        let mut next = Some(oid);
        while let Some(relation) = next.and_then(|oid| self.relations.get(&oid)) {
            // A name that no ACL can have has none: it is passed over.
            names.extend(ObjectName::relation(&*relation.schema, &*relation.name));
            if names.len() >= MAX_DEPTH {
                break;
            }
            next = relation.parent;
        }
        names
    }
}
