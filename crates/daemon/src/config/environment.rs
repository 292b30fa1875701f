//! The environment over the file: every setting has a variable.

use std::ffi::OsString;

use serde_json::Value;

use super::{
    document::Document,
    error::Place,
    fields::{FIELDS, Field, Kind, SECTIONS},
    suggest,
};

/// Variables of Palisade that are no settings of the daemon.
pub const RESERVED: &[&str] = &["PALISADE_DIR", "PALISADE_LOG", "PALISADE_CREDENTIALS"];

/// Takes the settings out of the environment; what looks like a setting and is none is a problem.
pub(super) fn lay_over(
    document: &mut Document,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) {
    for (name, value) in environment {
        // A name that is no UTF-8 is none of ours.
        let Some(name) = name.to_str().filter(|name| name.starts_with("PALISADE_")) else {
            continue;
        };
        let Some(field) = FIELDS.iter().find(|field| field.variable() == name) else {
            unknown(document, name);
            continue;
        };
        let value = value
            .to_str()
            .ok_or_else(|| "the value is no UTF-8".to_owned())
            .and_then(|text| read(field, text));
        match value {
            Ok(value) => document.set(field.path, name.to_owned(), value),
            Err(cause) => document.problem(
                Place::Variable(name.to_owned()),
                Some(field.path),
                &cause,
                &remedy(field),
            ),
        }
    }
}

/// The value of a variable; what is left to `serde` is the same as in the file.
fn read(field: &Field, text: &str) -> Result<Value, String> {
    let refused = |expected: &str| Err(format!("expected {expected}, found {text:?}"));
    match field.kind {
        Kind::Boolean => match text {
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            _ => refused("true or false"),
        },
        Kind::Number(..) => match text.parse::<u64>() {
            Ok(number) => Ok(number.into()),
            Err(_) => refused("a whole number"),
        },
        Kind::Optional { .. } if text.is_empty() => Ok(Value::Null),
        Kind::Choice(_) | Kind::Text | Kind::Path | Kind::Optional { .. } => Ok(text.into()),
        Kind::Addresses | Kind::List { .. } => Ok(items(text).map(Value::from).collect()),
        Kind::Settings => pairs(text, |value| Value::String(value.to_owned())),
        Kind::Commands => pairs(text, |value| {
            value.split_ascii_whitespace().map(Value::from).collect()
        }),
    }
}

/// `name=value,name=value`.
fn pairs(text: &str, value_of: impl Fn(&str) -> Value) -> Result<Value, String> {
    let mut pairs = serde_json::Map::new();
    for item in items(text) {
        let Some((name, value)) = item.split_once('=') else {
            return Err(format!("expected name=value, found {text:?}"));
        };
        let name = name.trim();
        let value = value_of(value.trim());
        if pairs.insert(name.to_owned(), value).is_some() {
            return Err(format!("{name} stands twice"));
        }
    }
    Ok(Value::Object(pairs))
}

/// What stands between commas; nothing is no item.
fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
}

/// As [`Field::remedy`], in the environment's way of writing.
fn remedy(field: &Field) -> String {
    match field.kind {
        Kind::Addresses => "write 127.0.0.1:5433,[::1]:5433".to_owned(),
        Kind::List { example } => format!("write {example}, and more of them after commas"),
        Kind::Settings => "write work_mem=16MB,max_wal_size=4GB".to_owned(),
        Kind::Commands => "write page=/usr/local/bin/page on-call,log=/usr/bin/logger".to_owned(),
        Kind::Boolean
        | Kind::Number(..)
        | Kind::Choice(_)
        | Kind::Text
        | Kind::Path
        | Kind::Optional { .. } => field.remedy(),
    }
}

fn unknown(document: &mut Document, name: &str) {
    if RESERVED.contains(&name) {
        return;
    }
    let variables: Vec<String> = FIELDS.iter().map(Field::variable).collect();
    let in_section = SECTIONS.iter().any(|(section, _)| {
        name.strip_prefix("PALISADE_")
            .and_then(|rest| rest.strip_prefix(&section.to_uppercase().replace('.', "_")))
            .is_some_and(|rest| rest.starts_with('_'))
    });
    let nearest = suggest::nearest(name, variables.iter().map(String::as_str))
        .filter(|nearest| in_section || is_typing_error(name, nearest));
    // Something else of the same name: what does not look like a setting is not ours to judge.
    if !in_section && nearest.is_none() {
        return;
    }
    let remedy = match nearest {
        Some(nearest) => format!("did you mean {nearest}? Else unset it"),
        None => "unset it; palisade daemon --gen-config names all variables".to_owned(),
    };
    let place = Place::Variable(name.to_owned());
    document.problem(place, None, "there is no such setting", &remedy);
}

/// Whether two names are so alike that chance is no explanation: at most three letters in many.
fn is_typing_error(name: &str, nearest: &str) -> bool {
    let alike = name
        .chars()
        .rev()
        .zip(nearest.chars().rev())
        .take_while(|(a, b)| a == b)
        .count();
    alike >= 6 && name.len().abs_diff(nearest.len()) <= 2
}
