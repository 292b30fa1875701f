//! What is made from the table: the default configuration with its comments, and the reference.

use serde_json::Value;

use super::{
    fields::{FIELDS, Field, SECTIONS},
    model::Config,
};

/// Width of a line of comment.
const WIDTH: usize = 96;

/// The default configuration with a comment at everything, as `palisade daemon --gen-config`
/// prints it.
#[must_use]
pub fn default_text() -> String {
    let mut text = String::from(
        "// Configuration of the Palisade daemon: JSON with comments.\n\
         // What is left out has the default, which is what is written here. Each setting can be\n\
         // overridden by the environment variable that is named with it.\n",
    );
    text.push_str("{\n");
    section(&mut text, "", 1, &defaults());
    text.push_str("}\n");
    text
}

/// The reference of all settings, a table in Markdown.
#[must_use]
pub fn reference() -> String {
    let mut text =
        String::from("| setting | environment variable | default | meaning |\n|---|---|---|---|\n");
    let defaults = defaults();
    for field in FIELDS {
        let row = [
            format!("`{}`", field.path),
            format!("`{}`", field.variable()),
            format!("`{}`", value(field, &defaults)),
            field.help.replace('|', "\\|"),
        ];
        text.extend(["| ", &row.join(" | "), " |\n"]);
    }
    text
}

fn defaults() -> Value {
    serde_json::to_value(Config::default()).unwrap_or_default()
}

/// The default of a setting, as JSON.
fn value(field: &Field, defaults: &Value) -> String {
    let pointer = format!("/{}", field.path.replace('.', "/"));
    defaults
        .pointer(&pointer)
        .unwrap_or(&Value::Null)
        .to_string()
}

/// Writes what stands in a section, in the order of the table.
fn section(text: &mut String, path: &str, depth: usize, defaults: &Value) {
    let indent = "  ".repeat(depth);
    let mut children: Vec<&str> = Vec::new();
    for field in FIELDS {
        let rest = match path {
            "" => Some(field.path),
            _ => field
                .path
                .strip_prefix(path)
                .and_then(|rest| rest.strip_prefix('.')),
        };
        if let Some(name) = rest.and_then(|rest| rest.split('.').next())
            && !children.contains(&name)
        {
            children.push(name);
        }
    }
    for (index, name) in children.iter().enumerate() {
        let child = match path {
            "" => (*name).to_owned(),
            _ => format!("{path}.{name}"),
        };
        let comma = if index + 1 < children.len() { "," } else { "" };
        if index > 0 {
            text.push('\n');
        }
        if let Some(field) = FIELDS.iter().find(|field| field.path == child) {
            comment(text, &indent, field.help);
            comment(text, &indent, &field.variable());
            let value = value(field, defaults);
            text.extend([
                &indent, "\"", name, "\": ", &value, comma, "
",
            ]);
        } else {
            let help = SECTIONS.iter().find(|(section, _)| *section == child);
            comment(text, &indent, help.map_or("", |(_, help)| help));
            text.extend([&indent, "\"", name, "\": {\n"]);
            section(text, &child, depth + 1, defaults);
            text.extend([&indent, "}", comma, "\n"]);
        }
    }
}

/// Writes a comment, broken between words.
fn comment(text: &mut String, indent: &str, help: &str) {
    let mut line = String::new();
    for word in help.split(' ') {
        if !line.is_empty() && indent.len() + line.len() + word.len() > WIDTH - "//  ".len() {
            text.extend([indent, "//", &line, "\n"]);
            line.clear();
        }
        line.push(' ');
        line.push_str(word);
    }
    text.extend([indent, "//", &line, "\n"]);
}
