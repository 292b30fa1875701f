//! SQL text from names and values.

/// An SQL identifier, always in double quotes.
#[must_use]
pub fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// An SQL string, safe whatever `standard_conforming_strings` says.
#[must_use]
pub fn quote_literal(text: &str) -> String {
    let doubled = text.replace('\'', "''");
    if doubled.contains('\\') {
        format!("E'{}'", doubled.replace('\\', "\\\\"))
    } else {
        format!("'{doubled}'")
    }
}

/// Identifiers with commas between.
pub(crate) fn list<'a>(names: impl IntoIterator<Item = &'a String>) -> String {
    let quoted: Vec<String> = names.into_iter().map(|name| role(name)).collect();
    quoted.join(", ")
}

/// A role as SQL writes it: `PUBLIC` is a keyword, and no role of that name can exist.
pub(crate) fn role(name: &str) -> String {
    if name == "PUBLIC" {
        name.to_owned()
    } else {
        quote_identifier(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_doubled() {
        assert_eq!(quote_identifier("a\"b"), "\"a\"\"b\"");
        assert_eq!(quote_literal("it's"), "'it''s'");
        assert_eq!(quote_literal("a\\'b"), "E'a\\\\''b'");
        assert_eq!(
            list(&["PUBLIC".to_owned(), "public".to_owned()]),
            "PUBLIC, \"public\""
        );
    }
}
