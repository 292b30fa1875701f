//! Small pieces of SQL text: literals, identifiers, and psql's name patterns.

/// A string literal that means `text` whatever `standard_conforming_strings` says.
pub(super) fn literal(text: &str) -> String {
    let doubled = text.replace('\'', "''");
    if text.contains('\\') {
        format!("E'{}'", doubled.replace('\\', "\\\\"))
    } else {
        format!("'{doubled}'")
    }
}

/// An identifier, quoted where SQL needs it.
pub(super) fn identifier(name: &str) -> String {
    let mut chars = name.chars();
    let plain = chars
        .next()
        .is_some_and(|c| c.is_ascii_lowercase() || c == '_')
        && chars.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && KEYWORDS.binary_search(&name).is_err();
    if plain {
        name.to_owned()
    } else {
        format!("\"{}\"", name.replace('"', "\"\""))
    }
}

/// ` AND column ~ '^(...)$'`.
pub(super) fn matches(column: &str, regex: &str) -> String {
    format!(
        " AND {column} OPERATOR(pg_catalog.~) {} COLLATE pg_catalog.default",
        literal(&format!("^({regex})$"))
    )
}

/// A name pattern (psql, "Patterns") as regular expressions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    /// The part before the last dot.
    pub(super) schema: Option<String>,
    /// The part behind it.
    pub(super) name: String,
}

impl Pattern {
    /// `*` is any text, `?` any character, `.` parts schema and name; unquoted letters fold to lower
    /// case; what stands in double quotes is taken as it is.
    pub(super) fn parse(text: &str) -> Self {
        let mut schema = None;
        let mut part = String::new();
        let mut quoted = false;
        let mut rest = text.chars().peekable();
        while let Some(c) = rest.next() {
            match c {
                '"' if quoted && rest.next_if_eq(&'"').is_some() => push_literally('"', &mut part),
                '"' => quoted = !quoted,
                '*' if !quoted => part.push_str(".*"),
                '?' if !quoted => part.push('.'),
                '.' if !quoted => schema = Some(std::mem::take(&mut part)),
                c if quoted => push_literally(c, &mut part),
                c => c.to_lowercase().for_each(|c| push_literally(c, &mut part)),
            }
        }
        Self { schema, name: part }
    }
}

fn push_literally(c: char, regex: &mut String) {
    if c.is_ascii_punctuation() && c != '_' {
        regex.push('\\');
    }
    regex.push(c);
}

/// SQL words that completion offers and that can't be plain identifiers (mostly; a quote too many does
/// no harm). Sorted.
pub(super) const KEYWORDS: &[&str] = &[
    "abort",
    "all",
    "alter",
    "analyze",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "begin",
    "between",
    "by",
    "call",
    "cascade",
    "case",
    "cast",
    "check",
    "checkpoint",
    "cluster",
    "collate",
    "column",
    "comment",
    "commit",
    "constraint",
    "copy",
    "create",
    "cross",
    "current_date",
    "current_timestamp",
    "current_user",
    "cursor",
    "database",
    "deallocate",
    "declare",
    "default",
    "delete",
    "desc",
    "distinct",
    "do",
    "drop",
    "else",
    "end",
    "except",
    "execute",
    "exists",
    "explain",
    "false",
    "fetch",
    "filter",
    "for",
    "foreign",
    "from",
    "full",
    "function",
    "grant",
    "group",
    "having",
    "ilike",
    "in",
    "index",
    "inner",
    "insert",
    "intersect",
    "into",
    "is",
    "join",
    "key",
    "language",
    "lateral",
    "left",
    "like",
    "limit",
    "listen",
    "lock",
    "materialized",
    "natural",
    "not",
    "notify",
    "null",
    "nulls",
    "offset",
    "on",
    "only",
    "or",
    "order",
    "outer",
    "over",
    "partition",
    "prepare",
    "primary",
    "procedure",
    "references",
    "refresh",
    "reindex",
    "release",
    "reset",
    "restrict",
    "returning",
    "returns",
    "revoke",
    "right",
    "role",
    "rollback",
    "row",
    "savepoint",
    "schema",
    "select",
    "sequence",
    "session_user",
    "set",
    "show",
    "start",
    "table",
    "temporary",
    "then",
    "to",
    "transaction",
    "trigger",
    "true",
    "truncate",
    "union",
    "unique",
    "unlisten",
    "update",
    "user",
    "using",
    "vacuum",
    "values",
    "view",
    "when",
    "where",
    "window",
    "with",
    "work",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keywords_are_sorted() {
        assert!(KEYWORDS.is_sorted());
    }

    #[test]
    fn a_literal_can_not_be_left() {
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal("\\'; drop"), "E'\\\\''; drop'");
    }

    #[test]
    fn an_identifier_is_quoted_where_it_must_be() {
        for (name, text) in [
            ("a_1", "a_1"),
            ("A", "\"A\""),
            ("1a", "\"1a\""),
            ("select", "\"select\""),
            ("a\"b", "\"a\"\"b\""),
            ("", "\"\""),
        ] {
            assert_eq!(identifier(name), text);
        }
    }

    #[test]
    fn patterns_are_psqls() {
        let parse = |text: &str| {
            let pattern = Pattern::parse(text);
            (pattern.schema, pattern.name)
        };
        assert_eq!(parse("Tab*"), (None, "tab.*".to_owned()));
        assert_eq!(parse("s.t?"), (Some("s".to_owned()), "t.".to_owned()));
        assert_eq!(parse("\"A.b*\""), (None, "A\\.b\\*".to_owned()));
        assert_eq!(parse("a$b|c"), (None, "a\\$b\\|c".to_owned()));
        assert_eq!(
            parse("*.\"x\"\"y\""),
            (Some(".*".to_owned()), "x\\\"y".to_owned())
        );
    }
}
