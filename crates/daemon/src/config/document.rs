//! From the file's text to values, each with its place in the text.
//!
//! The text is read strictly: JSON with comments and trailing commas, and nothing else of what its
//! parser could take (missing commas, single quotes, names without quotes, ...). A setting that is
//! not in the table, or stands twice, is a problem.

use std::{collections::BTreeMap, ops::Range};

use jsonc_parser::{
    CollectOptions, ParseOptions,
    ast::{Object, Value as Node},
    common::Ranged,
    parse_to_ast,
};
use serde_json::{Map, Value};

use super::{
    error::{Place, Problem},
    fields,
    model::Config,
    suggest,
};

const STRICT: ParseOptions = ParseOptions {
    allow_comments: true,
    allow_loose_object_property_names: false,
    allow_trailing_commas: true,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};

/// Values and where they came from.
pub(super) struct Document {
    values: Value,
    /// Where the value of each path stands in the text.
    spans: BTreeMap<String, Range<usize>>,
    /// The variables that were laid over the text, by path.
    variables: BTreeMap<&'static str, String>,
    /// What is wrong so far.
    pub(super) problems: Vec<Problem>,
}

impl Document {
    /// Reads a text; what is wrong with it is in [`problems`](Self::problems).
    pub(super) fn parse(text: &str) -> Self {
        let mut document = Self {
            values: Value::Object(Map::new()),
            spans: BTreeMap::new(),
            variables: BTreeMap::new(),
            problems: Vec::new(),
        };
        match parse_to_ast(text, &CollectOptions::default(), &STRICT) {
            Ok(parsed) => match parsed.value {
                Some(Node::Object(root)) => document.values = document.section("", &root),
                Some(other) => document.problem(
                    Place::Text(span(&other)),
                    None,
                    "the configuration is not an object",
                    "begin it with {, or start from palisade daemon --gen-config",
                ),
                None => document.problem(
                    Place::Text(0..0),
                    None,
                    "the file is empty",
                    "write {} for the defaults, or start from palisade daemon --gen-config",
                ),
            },
            Err(error) => document.problem(
                Place::Text(error.range().start..error.range().end),
                None,
                &lower_first(&error.kind().to_string()),
                "write JSON; comments (// and /* */) and trailing commas are fine",
            ),
        }
        document
    }

    /// Puts the value of a variable over what the text says.
    pub(super) fn set(&mut self, path: &'static str, variable: String, value: Value) {
        let mut at = &mut self.values;
        for name in path.split('.') {
            if !at.is_object() {
                *at = Value::Object(Map::new());
            }
            let Value::Object(map) = at else { return };
            at = map.entry(name).or_insert(Value::Null);
        }
        *at = value;
        self.variables.insert(path, variable);
    }

    /// The configuration, unless something is wrong.
    pub(super) fn deserialize(&mut self) -> Option<Config> {
        if !self.problems.is_empty() {
            return None;
        }
        let error = match serde_path_to_error::deserialize(&self.values) {
            Ok(config) => return Some(config),
            Err(error) => error,
        };
        let path = error.path().to_string();
        let cause = error.into_inner().to_string();
        self.wrong(&path, &cause);
        None
    }

    /// Adds a problem with the value of this path.
    pub(super) fn wrong(&mut self, path: &str, cause: &str) {
        let remedy = match fields::find_around(path) {
            Some(field) => field.remedy(),
            None => "write an object: { ... }".to_owned(),
        };
        self.problem(self.place(path), Some(path), cause, &remedy);
    }

    /// Adds a problem.
    pub(super) fn problem(
        &mut self,
        place: Place,
        setting: Option<&str>,
        cause: &str,
        remedy: &str,
    ) {
        self.problems.push(Problem {
            place,
            setting: setting.map(ToOwned::to_owned),
            cause: cause.to_owned(),
            remedy: remedy.to_owned(),
        });
    }

    /// Where the value of a path came from.
    pub(super) fn place(&self, path: &str) -> Place {
        let variable = fields::find_around(path)
            .and_then(|field| self.variables.get(field.path))
            .cloned();
        match (variable, self.spans.get(path)) {
            (Some(variable), _) => Place::Variable(variable),
            (None, Some(span)) => Place::Text(span.clone()),
            (None, None) => Place::Default,
        }
    }

    /// Reads a section, `path` being its own.
    fn section(&mut self, path: &str, object: &Object<'_>) -> Value {
        let mut values = Map::new();
        for property in &object.properties {
            let name = property.name.as_str();
            let child = join(path, name);
            let at = Place::Text(span(&property.name));
            if values.contains_key(name) {
                self.problem(
                    at,
                    Some(&child),
                    "the setting stands twice",
                    "leave one of them out",
                );
                continue;
            }
            let free = fields::find(path).is_some_and(|field| field.kind.is_free());
            if !(free || fields::is_section(&child) || fields::find(&child).is_some()) {
                let remedy = unknown(path, name);
                self.problem(at, Some(&child), "there is no such setting", &remedy);
                continue;
            }
            let value = self.value(&child, &property.value);
            values.insert(name.to_owned(), value);
        }
        Value::Object(values)
    }

    fn value(&mut self, path: &str, node: &Node<'_>) -> Value {
        self.spans.insert(path.to_owned(), span(node));
        match node {
            Node::StringLit(text) => Value::String(text.value.to_string()),
            Node::NumberLit(number) => number
                .value
                .parse()
                .map_or(Value::String(number.value.to_owned()), Value::Number),
            Node::BooleanLit(boolean) => Value::Bool(boolean.value),
            Node::NullKeyword(_) => Value::Null,
            Node::Object(object)
                if fields::is_section(path)
                    || fields::find(path).is_some_and(|field| field.kind.is_free()) =>
            {
                self.section(path, object)
            }
            // An object where none is due: serde says so, at this place.
            Node::Object(_) => Value::Object(Map::new()),
            // Nor would serde mind a list in place of a section: it would take its items for the settings in their order.
            Node::Array(_) if fields::is_section(path) => {
                self.problem(
                    Place::Text(span(node)),
                    Some(path),
                    "a list stands where a section is due",
                    "write the settings by their names: { \"name\": value, ... }",
                );
                Value::Object(Map::new())
            }
            Node::Array(array) => {
                let items = array.elements.iter().enumerate();
                items
                    .map(|(index, item)| self.value(&format!("{path}[{index}]"), item))
                    .collect()
            }
        }
    }
}

/// What to write in place of an unknown name in a section.
fn unknown(section: &str, name: &str) -> String {
    let all = || {
        let sections = fields::SECTIONS.iter().map(|(path, _)| *path);
        sections.chain(fields::FIELDS.iter().map(|field| field.path))
    };
    let siblings: Vec<&str> = all()
        .filter_map(|path| {
            let (parent, last) = path.rsplit_once('.').unwrap_or(("", path));
            (parent == section).then_some(last)
        })
        .collect();
    if let Some(nearest) = suggest::nearest(name, siblings.iter().copied()) {
        return format!("did you mean {nearest}?");
    }
    let elsewhere = all().find(|path| path.rsplit('.').next() == Some(name));
    match elsewhere {
        Some(path) => format!("did you mean {path}?"),
        None => format!("here may stand {}", siblings.join(", ")),
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

fn span(node: &impl Ranged) -> Range<usize> {
    node.start()..node.end()
}

fn lower_first(text: &str) -> String {
    let mut letters = text.chars();
    letters
        .next()
        .map(|first| first.to_lowercase().chain(letters).collect())
        .unwrap_or_default()
}
