//! Completion of SQL words, tables and columns, and of backslash commands.
//!
//! [`candidates`] is pure; the catalogue is read once by the session and again after DDL.

use super::meta::COMMANDS;
use super::session::Row;
use super::sql::{KEYWORDS, identifier};
use reedline::{Completer, CompletionResult, Span, Suggestion};
use std::sync::{Arc, PoisonError, RwLock};

/// More than this is read from no catalogue: a menu of thousands helps nobody.
const MOST_RELATIONS: usize = 5000;

/// A table, view or the like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Relation {
    schema: String,
    name: String,
    /// Can be named without its schema.
    visible: bool,
    columns: Vec<String>,
}

/// What there is to complete with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Catalog {
    relations: Vec<Relation>,
}

impl Catalog {
    /// The query whose rows [`Catalog::from_rows`] takes.
    pub(super) fn query() -> String {
        format!(
            "SELECT n.nspname, c.relname, pg_catalog.pg_table_is_visible(c.oid), \
             (SELECT pg_catalog.json_agg(a.attname ORDER BY a.attnum) \
             FROM pg_catalog.pg_attribute a \
             WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) \
             FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE c.relkind IN ('r','v','m','S','f','p') AND n.nspname !~ '^pg_toast' \
             ORDER BY n.nspname IN ('pg_catalog', 'information_schema'), 1, 2 LIMIT {MOST_RELATIONS}"
        )
    }

    /// Understands the rows; leaves out what it does not understand.
    pub(super) fn from_rows(rows: Vec<Row>) -> Self {
        let relations = rows.into_iter().filter_map(|row| {
            let [schema, name, visible, columns] = <[Option<String>; 4]>::try_from(row).ok()?;
            Some(Relation {
                schema: schema?,
                name: name?,
                visible: visible? == "t",
                columns: columns
                    .and_then(|json| serde_json::from_str(&json).ok())
                    .unwrap_or_default(),
            })
        });
        Self {
            relations: relations.collect(),
        }
    }
}

/// One proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) text: String,
    pub(super) what: String,
}

/// What fits at `position` (in bytes), and where the text that it replaces begins.
pub(super) fn candidates(
    line: &str,
    position: usize,
    catalog: &Catalog,
) -> (usize, Vec<Candidate>) {
    let before = line.get(..position).unwrap_or(line);
    let start = before
        .char_indices()
        .rfind(|(_, c)| !is_name(*c) && *c != '\\')
        .map_or(0, |(at, c)| at + c.len_utf8());
    let typed = before.get(start..).unwrap_or_default();
    let earlier = before.get(..start).unwrap_or_default();
    if before.starts_with('\\') {
        let found = if start == 0 {
            commands(typed)
        } else {
            relations(typed, catalog)
        };
        return (start, found);
    }
    if let Some((qualifier, part)) = typed.rsplit_once('.') {
        return (start, qualified(qualifier, part, line, catalog));
    }
    let last = earlier
        .split(|c: char| !is_name(c))
        .rfind(|word| !word.is_empty());
    if last.is_some_and(names_relation_next) && !earlier.trim_end().ends_with(')') {
        return (start, relations(typed, catalog));
    }
    if typed.is_empty() {
        return (start, Vec::new());
    }
    let mut found = Vec::new();
    for (relation, _) in mentioned(line, catalog) {
        found.extend(columns(relation, typed, ""));
    }
    found.extend(keywords(typed));
    found.extend(relations(typed, catalog));
    found.dedup_by(|a, b| a.text == b.text);
    (start, found)
}

/// Part of a name as it is typed: with dots and quotes.
fn is_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '.' | '"' | '$')
}

/// Words behind which a table's name comes.
fn names_relation_next(word: &str) -> bool {
    [
        "from", "join", "into", "update", "table", "view", "only", "copy", "truncate", "analyze",
        "vacuum", "lock",
    ]
    .iter()
    .any(|keyword| word.eq_ignore_ascii_case(keyword))
}

fn fits(name: &str, typed: &str) -> bool {
    let typed = typed.trim_matches('"').to_lowercase();
    name.to_lowercase().starts_with(&typed)
}

fn commands(typed: &str) -> Vec<Candidate> {
    COMMANDS
        .iter()
        .filter(|(name, _, _)| name.starts_with(typed))
        .map(|(name, _, what)| Candidate {
            text: (*name).to_owned(),
            what: (*what).to_owned(),
        })
        .collect()
}

fn keywords(typed: &str) -> Vec<Candidate> {
    let upper = typed.chars().any(char::is_uppercase);
    KEYWORDS
        .iter()
        .filter(|keyword| fits(keyword, typed))
        .map(|keyword| Candidate {
            text: if upper {
                keyword.to_uppercase()
            } else {
                (*keyword).to_owned()
            },
            what: String::new(),
        })
        .collect()
}

/// Tables that can be named as they are, and schemas.
fn relations(typed: &str, catalog: &Catalog) -> Vec<Candidate> {
    if let Some((schema, part)) = typed.rsplit_once('.') {
        return in_schema(schema, part, catalog);
    }
    let mut found: Vec<Candidate> = catalog
        .relations
        .iter()
        .filter(|relation| relation.visible && fits(&relation.name, typed))
        // The catalogue's own hundred tables only when they are asked for.
        .filter(|relation| relation.schema != "pg_catalog" || typed.starts_with("pg_"))
        .map(|relation| Candidate {
            text: identifier(&relation.name),
            what: relation.schema.clone(),
        })
        .collect();
    let mut schemas: Vec<&str> = catalog
        .relations
        .iter()
        .map(|relation| relation.schema.as_str())
        .filter(|schema| fits(schema, typed))
        .collect();
    schemas.dedup();
    found.extend(schemas.into_iter().map(|schema| Candidate {
        text: format!("{}.", identifier(schema)),
        what: "schema".to_owned(),
    }));
    found
}

fn in_schema(schema: &str, part: &str, catalog: &Catalog) -> Vec<Candidate> {
    catalog
        .relations
        .iter()
        .filter(|relation| same(&relation.schema, schema) && fits(&relation.name, part))
        .map(|relation| Candidate {
            text: format!("{schema}.{}", identifier(&relation.name)),
            what: String::new(),
        })
        .collect()
}

/// Behind `qualifier.`: a schema's tables, or the columns of a table or alias of this statement.
fn qualified(qualifier: &str, part: &str, line: &str, catalog: &Catalog) -> Vec<Candidate> {
    let mut found = Vec::new();
    for (relation, alias) in mentioned(line, catalog) {
        if same(&relation.name, qualifier) || alias.is_some_and(|alias| same(alias, qualifier)) {
            found.extend(columns(relation, part, &format!("{qualifier}.")));
        }
    }
    found.extend(in_schema(qualifier, part, catalog));
    found
}

fn columns(relation: &Relation, typed: &str, prefix: &str) -> Vec<Candidate> {
    relation
        .columns
        .iter()
        .filter(|column| fits(column, typed))
        .map(|column| Candidate {
            text: format!("{prefix}{}", identifier(column)),
            what: relation.name.clone(),
        })
        .collect()
}

/// The name in the catalogue is the one that was typed.
fn same(name: &str, typed: &str) -> bool {
    identifier(name).eq_ignore_ascii_case(typed) || name == typed.trim_matches('"')
}

/// The relations that the statement names, with their aliases.
fn mentioned<'a>(line: &'a str, catalog: &'a Catalog) -> Vec<(&'a Relation, Option<&'a str>)> {
    let words: Vec<&str> = line
        .split(|c: char| !is_name(c))
        .filter(|word| !word.is_empty())
        .collect();
    let mut found = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let (schema, name) = word
            .rsplit_once('.')
            .map_or((None, *word), |(schema, name)| (Some(schema), name));
        let known = catalog.relations.iter().find(|relation| {
            same(&relation.name, name)
                && schema.map_or(relation.visible, |schema| same(&relation.schema, schema))
        });
        let Some(relation) = known else { continue };
        let mut next = words.iter().skip(at + 1).copied();
        let alias = match next.next() {
            Some(word) if word.eq_ignore_ascii_case("as") => next.next(),
            Some(word) if KEYWORDS.contains(&word.to_lowercase().as_str()) => None,
            other => other,
        };
        found.push((relation, alias));
    }
    found
}

/// The catalogue, shared between the session that reads it and the editor that asks.
pub(super) type SharedCatalog = Arc<RwLock<Catalog>>;

/// The editor's side.
pub(super) struct SqlCompleter(pub(super) SharedCatalog);

impl Completer for SqlCompleter {
    fn complete(&mut self, line: &str, position: usize) -> CompletionResult {
        let catalog = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let (start, found) = candidates(line, position, &catalog);
        let suggestions: Vec<Suggestion> = found
            .into_iter()
            .map(|candidate| Suggestion {
                append_whitespace: !candidate.text.ends_with('.'),
                value: candidate.text,
                description: Some(candidate.what).filter(|what| !what.is_empty()),
                span: Span {
                    start,
                    end: position.max(start),
                },
                ..Suggestion::default()
            })
            .collect();
        CompletionResult::fresh(suggestions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog() -> Catalog {
        let row = |schema: &str, name: &str, visible: &str, columns: &str| {
            [schema, name, visible, columns]
                .map(|cell| Some(cell.to_owned()))
                .to_vec()
        };
        Catalog::from_rows(vec![
            row("hr", "people", "f", "[\"id\",\"salary\"]"),
            row("public", "orders", "t", "[\"id\",\"Total\",\"customer\"]"),
            row("public", "order_lines", "t", "[\"order_id\",\"amount\"]"),
            row("pg_catalog", "pg_class", "t", "[\"oid\",\"relname\"]"),
        ])
    }

    /// `|` marks the cursor.
    fn complete(text: &str) -> Vec<String> {
        let position = text.find('|').unwrap();
        let line = text.replace('|', "");
        candidates(&line, position, &catalog())
            .1
            .into_iter()
            .map(|c| c.text)
            .collect()
    }

    #[test]
    fn tables_and_schemas_behind_from() {
        assert_eq!(complete("select * from ord|"), ["orders", "order_lines"]);
        assert_eq!(complete("select * from h|"), ["hr."]);
        assert_eq!(complete("select * from hr.|"), ["hr.people"]);
        assert_eq!(complete("select * from pg_c|"), ["pg_class", "pg_catalog."]);
        assert_eq!(complete("insert into orders| "), ["orders"]);
    }

    #[test]
    fn columns_of_the_tables_that_the_statement_names() {
        assert_eq!(
            complete("select cu| from orders"),
            [
                "customer",
                "current_date",
                "current_timestamp",
                "current_user",
                "cursor"
            ]
        );
        assert_eq!(
            complete("select o.| from orders o"),
            ["o.id", "o.\"Total\"", "o.customer"]
        );
        assert_eq!(complete("select l.am| from order_lines as l"), ["l.amount"]);
        assert_eq!(
            complete("select people.s| from hr.people"),
            ["people.salary"]
        );
        assert_eq!(complete("select o.| from orders where"), [""; 0]);
    }

    #[test]
    fn words_in_the_case_that_is_typed() {
        assert_eq!(complete("sel|"), ["select"]);
        assert_eq!(complete("SEL|"), ["SELECT"]);
        assert_eq!(complete("select 1 |"), [""; 0]);
    }

    #[test]
    fn backslash_commands_and_their_tables() {
        assert_eq!(complete("\\co|"), ["\\copy", "\\conninfo"]);
        assert_eq!(complete("\\d ord|"), ["orders", "order_lines"]);
        assert_eq!(complete("\\d hr.|"), ["hr.people"]);
    }

    #[test]
    fn replaces_what_was_typed_of_it() {
        let line = "select ä, ord";
        let (start, _) = candidates(line, line.len(), &catalog());
        assert_eq!(line.get(start..), Some("ord"));
    }
}
