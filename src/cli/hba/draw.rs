//! Faults and warnings, drawn with the line they are about.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use palisade_hba::{Fault, ParseError};

use super::lint::Warning;
use crate::cli::out::{plain, plain_lines};

fn renderer(colours: bool) -> Renderer {
    if colours {
        Renderer::styled()
    } else {
        Renderer::plain()
    }
}

/// Byte offset and text of a line, counted from 1.
fn line_at(text: &str, line: u32) -> Option<(usize, &str)> {
    let mut start = 0;
    for (number, part) in (1_u32..).zip(text.split_inclusive('\n')) {
        if number == line {
            return Some((start, part.trim_end_matches(['\n', '\r'])));
        }
        start += part.len();
    }
    None
}

/// The bytes of a fault's token, or of the place where something is missing.
fn span(text: &str, fault: &Fault) -> std::ops::Range<usize> {
    let Some((start, line)) = line_at(text, fault.line) else {
        return text.len()..text.len();
    };
    let column = usize::try_from(fault.column)
        .unwrap_or(usize::MAX)
        .saturating_sub(1);
    let offset = line
        .char_indices()
        .nth(column)
        .map_or(line.len(), |(offset, _)| offset);
    let rest = line.get(offset..).unwrap_or_default();
    let length = if !fault.token.is_empty() && rest.starts_with(&fault.token) {
        fault.token.len()
    } else {
        // A token that is written in quotes, or the rest of the line.
        rest.find(char::is_whitespace).unwrap_or(rest.len())
    };
    start + offset..start + offset + length
}

/// All faults of a text.
pub(super) fn faults(name: &str, text: &str, error: &ParseError, colours: bool) -> String {
    let shown = plain_lines(text);
    let groups: Vec<Group<'_>> = error
        .faults()
        .map(|fault| {
            let title = match plain(&fault.token) {
                token if token.is_empty() => fault.kind.to_string(),
                token => format!("{token}: {}", fault.kind),
            };
            let group = Group::with_title(Level::ERROR.primary_title(title));
            // Escapes move the columns: then the line alone is shown.
            let group = if shown == text {
                group.element(
                    Snippet::source(text)
                        .path(name.to_owned())
                        .annotation(AnnotationKind::Primary.span(span(text, fault))),
                )
            } else {
                group.element(Level::NOTE.message(format!(
                    "line {}, column {} of {name}",
                    fault.line, fault.column
                )))
            };
            group.element(Level::HELP.message(fault.kind.remedy()))
        })
        .collect();
    renderer(colours).render(&groups)
}

/// All warnings about a text that has no faults.
pub(super) fn warnings(name: &str, text: &str, warnings: &[Warning], colours: bool) -> String {
    let groups: Vec<Group<'_>> = warnings
        .iter()
        .map(|warning| {
            let group = Group::with_title(Level::WARNING.primary_title(warning.message.as_str()));
            let group = match line_at(text, warning.line) {
                Some((start, line)) => group.element(
                    Snippet::source(text)
                        .path(name.to_owned())
                        .annotation(AnnotationKind::Primary.span(start..start + line.len())),
                ),
                None => group,
            };
            group.element(Level::HELP.message(warning.help.as_str()))
        })
        .collect();
    renderer(colours).render(&groups)
}

#[cfg(test)]
mod tests {
    use super::*;
    use palisade_hba::Rules;

    #[test]
    fn a_fault_is_drawn_under_its_token() {
        let text = "hostssl all all all auto\nhostssl all all all md5\n";
        let error = Rules::parse(text).unwrap_err();
        let drawn = faults("rules.conf", text, &error, false);
        assert!(drawn.contains("rules.conf:2:21"), "{drawn}");
        assert!(drawn.contains("^^^"), "{drawn}");
        assert!(
            drawn.contains("auto, key, cert or scram-sha-256"),
            "{drawn}"
        );
    }

    #[test]
    fn control_characters_are_not_drawn() {
        let text = "hostssl all a\u{1b}[2Jb all auto\n";
        let error = Rules::parse(text).unwrap_err();
        let drawn = faults("rules.conf", text, &error, false);
        assert!(!drawn.contains('\u{1b}'), "{drawn:?}");
    }
}
