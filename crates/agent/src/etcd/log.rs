//! What etcd says: its warnings go to our log, bounded; its last words are kept for our errors.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use tokio::time::Instant;

/// Lines that are kept.
const KEPT: usize = 50;
/// Bytes of a line; the rest of a longer one is a line of its own.
const MAX_LINE: u64 = 8 * 1024;
/// Warnings that are passed on in one window; more are counted.
const WARNINGS: u32 = 20;
/// The window.
const WINDOW: Duration = Duration::from_mins(1);

/// What etcd 3.4 warns of in good health, or what we know before it says so.
const HARMLESS: [&str; 5] = [
    "established TCP streaming connection",
    "simple token is not cryptographically signed",
    "rejecting member add request",
    "rejecting member remove request",
    "rejecting promote learner",
];

/// What a member that was taken out says before it ends.
const REMOVED: &str = "permanently removed";

/// The last lines.
#[derive(Debug, Default)]
pub(super) struct Log {
    lines: Mutex<VecDeque<String>>,
}

/// A line of etcd's log (zap's JSON).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Line {
    level: String,
    msg: String,
    error: String,
    #[serde(rename = "remote-addr")]
    remote: String,
}

impl Line {
    fn read(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_else(|_| Self {
            level: "info".to_owned(),
            msg: text.to_owned(),
            ..Self::default()
        })
    }

    /// In one line: names that a stranger put into his certificate may be in there.
    fn text(&self) -> String {
        let mut text = self.msg.clone();
        if !self.error.is_empty() {
            text.push_str(": ");
            text.push_str(&self.error);
        }
        if !self.remote.is_empty() {
            text.push_str(" (from ");
            text.push_str(&self.remote);
            text.push(')');
        }
        plain(&text)
    }
}

/// A text with what would break the line or turn it escaped.
fn plain(text: &str) -> String {
    let turns = |c| matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || turns(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

impl Log {
    /// Reads until the program closes its end.
    pub(super) fn follow(&self, from: impl Read) {
        let mut reader = BufReader::new(from);
        let mut window = Window::new();
        let mut bytes = Vec::new();
        while let Ok(1..) = reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut bytes) {
            let text = String::from_utf8_lossy(&bytes);
            let line = Line::read(text.trim());
            let told = line.text();
            match line.level.as_str() {
                _ if HARMLESS.iter().any(|words| told.contains(words)) => {
                    tracing::debug!("etcd: {told}");
                }
                "warn" | "error" | "dpanic" | "panic" | "fatal" => window.warn(&told),
                _ => tracing::debug!("etcd: {told}"),
            }
            self.keep(told);
            bytes.clear();
        }
        window.summarize();
    }

    fn keep(&self, line: String) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == KEPT {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    /// What it said last.
    pub(super) fn last_words(&self) -> String {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let last: Vec<&str> = lines.iter().rev().take(3).map(String::as_str).collect();
        if last.is_empty() {
            return "it is silent".to_owned();
        }
        last.into_iter().rev().collect::<Vec<_>>().join("; ")
    }

    /// Whether it said that it is no member any more.
    pub(super) fn says_removed(&self) -> bool {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().any(|line| line.contains(REMOVED))
    }
}

/// How many warnings were passed on since when.
struct Window {
    began: Instant,
    passed: u32,
    held: u32,
}

impl Window {
    fn new() -> Self {
        Self {
            began: Instant::now(),
            passed: 0,
            held: 0,
        }
    }

    fn warn(&mut self, text: &str) {
        if self.began.elapsed() > WINDOW {
            self.summarize();
            *self = Self::new();
        }
        if self.passed < WARNINGS {
            self.passed += 1;
            tracing::warn!("etcd: {text}");
        } else {
            self.held += 1;
        }
    }

    fn summarize(&self) {
        if self.held > 0 {
            tracing::warn!("etcd: {} more warnings are not shown", self.held);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_are_kept_in_words() {
        let log = Log::default();
        let text = "{\"level\":\"warn\",\"msg\":\"rejected connection\",\"remote-addr\":\"[::1]:5\",\"error\":\"EOF\"}\nplain\n";
        log.follow(text.as_bytes());
        assert_eq!(
            log.last_words(),
            "rejected connection: EOF (from [::1]:5); plain"
        );
        assert!(!log.says_removed());
    }

    #[test]
    fn a_message_begins_no_line_of_its_own() {
        let log = Log::default();
        let text = "{\"level\":\"warn\",\"msg\":\"a\\n2026 ERROR b\",\"error\":\"c\\r\\u001b[2J\",\"remote-addr\":\"d\\u2028\\u202e\"}\n\u{1b}]0;e\rf\n";
        log.follow(text.as_bytes());
        assert_eq!(
            log.last_words(),
            "a\\u{a}2026 ERROR b: c\\u{d}\\u{1b}[2J (from d\\u{2028}\\u{202e}); \\u{1b}]0;e\\u{d}f"
        );
    }

    #[test]
    fn an_endless_line_fills_no_memory() {
        let log = Log::default();
        log.follow(std::io::repeat(b'x').take(MAX_LINE * 200));
        let lines = log.lines.lock().unwrap();
        assert_eq!(lines.len(), KEPT);
        assert!(lines.iter().all(|line| line.len() as u64 <= MAX_LINE));
    }
}
