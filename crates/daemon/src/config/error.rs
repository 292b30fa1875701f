//! What is wrong with a configuration: where, which setting, why, and what to write instead.

use std::{
    fmt,
    ops::Range,
    path::{Path, PathBuf},
};

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error(
        "can't read the configuration {}: {source}; \
         name a readable file with -c, or make one with palisade daemon --gen-config",
        path.display()
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is longer than [`MAX_FILE_BYTES`](super::MAX_FILE_BYTES).
    #[error("the configuration {} is longer than 1 MiB; is it another file?", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// The file or the environment says something that can't be.
    #[error("{0}")]
    Invalid(Invalid),
}

impl ConfigError {
    pub(super) fn invalid(path: &Path, text: &str, problems: Vec<Problem>) -> Option<Self> {
        (!problems.is_empty()).then(|| {
            Self::Invalid(Invalid {
                path: path.to_path_buf(),
                text: text.to_owned(),
                problems,
            })
        })
    }

    /// The error for a person at a terminal: the lines of the file, with marks under what is wrong.
    #[must_use]
    pub fn render(&self, colours: bool) -> String {
        match self {
            Self::Unreadable { .. } | Self::TooLong { .. } => format!("error: {self}"),
            Self::Invalid(invalid) => invalid.render(colours),
        }
    }
}

/// Everything that is wrong with a file and the environment over it.
///
/// `Display` says it in one line per problem, `FILE:LINE:COLUMN: SETTING: CAUSE; REMEDY`.
#[derive(Debug)]
pub struct Invalid {
    path: PathBuf,
    text: String,
    problems: Vec<Problem>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// The setting: `gateway.limits.sessions`.
    pub setting: Option<String>,
    /// Why.
    pub cause: String,
    /// What to write instead.
    pub remedy: String,
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// These bytes of the file.
    Text(Range<usize>),
    /// This environment variable.
    Variable(String),
    /// Neither says anything: the default, which does not fit to another setting.
    Default,
}

impl Invalid {
    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All problems.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Line and column of a place in the file, both from 1, the column in characters.
    #[must_use]
    pub fn line_and_column(&self, place: &Place) -> Option<(usize, usize)> {
        let Place::Text(span) = place else {
            return None;
        };
        let before = self.text.get(..span.start).unwrap_or(&self.text);
        let line = before.matches('\n').count() + 1;
        let last = before.rsplit('\n').next().unwrap_or(before);
        Some((line, last.chars().count() + 1))
    }

    fn render(&self, colours: bool) -> String {
        let renderer = if colours {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        let report: Vec<Group<'_>> = self.problems.iter().map(|p| self.group(p)).collect();
        renderer.render(&report)
    }

    fn group<'a>(&'a self, problem: &'a Problem) -> Group<'a> {
        let setting = problem.setting.as_ref();
        let title = match (&problem.place, setting) {
            (Place::Variable(name), _) => format!("{name}: {}", problem.cause),
            (_, Some(setting)) => format!("{}: {}", plain(setting), problem.cause),
            (_, None) => problem.cause.clone(),
        };
        let group = Group::with_title(Level::ERROR.primary_title(title));
        let group = match &problem.place {
            Place::Text(span) => group.element(
                Snippet::source(self.text.as_str())
                    .path(self.path.display().to_string())
                    .annotation(AnnotationKind::Primary.span(self.visible(span))),
            ),
            Place::Variable(_) | Place::Default => group,
        };
        group.element(Level::HELP.message(problem.remedy.as_str()))
    }

    /// The span, within the text and on the borders of characters.
    fn visible(&self, span: &Range<usize>) -> Range<usize> {
        let start = self.text.floor_char_boundary(span.start);
        let end = self.text.ceil_char_boundary(span.end.max(start));
        start..end
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            match (&problem.place, self.line_and_column(&problem.place)) {
                (Place::Variable(name), _) => write!(f, "{name}: ")?,
                (_, Some((line, column))) => {
                    write!(f, "{}:{line}:{column}: ", self.path.display())?;
                }
                (_, None) => write!(f, "{}: ", self.path.display())?,
            }
            if let Some(setting) = &problem.setting {
                write!(f, "{}: ", plain(setting))?;
            }
            write!(f, "{}; {}", problem.cause, problem.remedy)?;
        }
        Ok(())
    }
}

/// A name from the file, fit for a terminal and a log.
fn plain(name: &str) -> String {
    name.chars()
        .flat_map(|c| {
            let escaped = c.is_control().then(|| c.escape_default());
            let itself = escaped.is_none().then_some(c);
            escaped.into_iter().flatten().chain(itself)
        })
        .collect()
}
