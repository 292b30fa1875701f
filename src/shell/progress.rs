//! A progress bar for long loads: on standard error, and only when that is a terminal.
//!
//! It is drawn when a load moves, never by itself, and over one line with carriage returns and
//! blanks alone, which every terminal knows. Whoever else writes to the terminal clears it first
//! (`printer`).

use indicatif::{HumanBytes, HumanDuration};
use std::cell::Cell;
use std::io::{self, IsTerminal, Write};
use std::rc::Rc;
use std::time::Duration;
use tokio::time::Instant;

/// What ends before is not long.
const LONG: Duration = Duration::from_millis(500);

/// A bar that stands on the screen is drawn again after this.
const PAUSE: Duration = Duration::from_millis(100);

/// Of a terminal that doesn't tell its width.
const WIDTH: usize = 80;

/// Of the bar itself, where there is room.
const CELLS: usize = 40;

/// Bytes that have gone through so far. Copies are the same load's; without a terminal it is nothing.
#[derive(Clone, Default)]
pub(super) struct Progress(Option<Rc<Load>>);

struct Load {
    total: Option<u64>,
    done: Cell<u64>,
    start: Instant,
    drawn: Cell<Instant>,
    /// How many columns of the line are ours.
    shown: Cell<usize>,
    /// Somebody else's line is open: it is not drawn over.
    blocked: Cell<bool>,
}

impl Progress {
    /// Of `total` bytes, or of nobody knows how many.
    pub(super) fn of(total: Option<u64>) -> Self {
        if !io::stderr().is_terminal() {
            return Self(None);
        }
        let now = Instant::now();
        Self(Some(Rc::new(Load {
            total,
            done: Cell::new(0),
            start: now,
            drawn: Cell::new(now),
            shown: Cell::new(0),
            blocked: Cell::new(false),
        })))
    }

    /// So many more.
    pub(super) fn add(&self, bytes: usize) {
        if let Some(load) = &self.0 {
            load.done.set(load.done.get().saturating_add(bytes as u64));
            load.draw();
        }
    }

    /// Is not shown from now on.
    pub(super) fn hide(&self) {
        self.clear(true);
    }

    /// Leaves the terminal to somebody else, who says whether a line of theirs stays open.
    pub(super) fn clear(&self, open: bool) {
        if let Some(load) = &self.0 {
            load.clear();
            load.blocked.set(open);
        }
    }
}

impl Load {
    fn draw(&self) {
        let stands = self.shown.get() > 0;
        let soon = self.start.elapsed() < LONG || stands && self.drawn.get().elapsed() < PAUSE;
        if soon || self.blocked.get() {
            return;
        }
        let width = rustix::termios::tcgetwinsize(io::stderr())
            .ok()
            .map(|size| usize::from(size.ws_col))
            .filter(|columns| *columns > 0)
            .unwrap_or(WIDTH);
        // The last column stays free: some terminals go on to the next line behind it.
        let line = line(self.done.get(), self.total, self.start.elapsed(), width - 1);
        let length = line.chars().count();
        let blanks = self.shown.get().saturating_sub(length);
        Self::write(&format!("\r{line}{:blanks$}", ""));
        self.shown.set(length);
        self.drawn.set(Instant::now());
    }

    fn clear(&self) {
        let blanks = self.shown.replace(0);
        if blanks > 0 {
            Self::write(&format!("\r{:blanks$}\r", ""));
        }
    }

    fn write(text: &str) {
        // A terminal that is gone shows no bar.
        io::stderr().lock().write_all(text.as_bytes()).ok();
    }
}

impl Drop for Load {
    /// Leaves the terminal as it was, however the load ended.
    fn drop(&mut self) {
        self.clear();
    }
}

/// What stands there: at most `width` columns.
fn line(done: u64, total: Option<u64>, elapsed: Duration, width: usize) -> String {
    let rate = u64::try_from(u128::from(done) * 1000 / elapsed.as_millis().max(1));
    let rate = rate.unwrap_or(u64::MAX);
    let Some(total) = total else {
        let text = format!("{}, {}/s", HumanBytes(done), HumanBytes(rate));
        return text.chars().take(width).collect();
    };
    // A file that grows meanwhile is still at its end.
    let total = total.max(done).max(1);
    let part = |of: u64| u128::from(done) * u128::from(of) / u128::from(total);
    let left = (total - done).checked_div(rate).map(Duration::from_secs);
    let left = left.map_or(String::new(), |left| {
        format!(", {:#} left", HumanDuration(left))
    });
    let text = format!(
        "{:>3}%  {} of {}, {}/s{left}",
        part(100),
        HumanBytes(done),
        HumanBytes(total),
        HumanBytes(rate),
    );
    // Two brackets and a blank go with the bar.
    let cells = width.saturating_sub(text.chars().count() + 3).min(CELLS);
    let full = usize::try_from(part(cells as u64)).unwrap_or(cells);
    let bar = format!("[{}{}] ", "#".repeat(full), "-".repeat(cells - full));
    let bar = if cells < 5 { "" } else { bar.as_str() };
    format!("{bar}{text}").chars().take(width).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MIB: u64 = 1 << 20;

    #[test]
    fn tells_how_much_of_how_much_how_fast_and_how_long_still() {
        assert_eq!(
            line(10 * MIB, Some(40 * MIB), 5 * SECOND, 99),
            "[##########------------------------------]  25%  10.00 MiB of 40.00 MiB, 2.00 MiB/s, 15s left"
        );
        assert_eq!(
            line(40 * MIB, Some(40 * MIB), 5 * SECOND, 70),
            "[##################] 100%  40.00 MiB of 40.00 MiB, 8.00 MiB/s, 0s left"
        );
        assert_eq!(line(3 * MIB, None, 2 * SECOND, 99), "3.00 MiB, 1.50 MiB/s");
    }

    #[test]
    fn stays_within_the_line() {
        for width in 0..120 {
            for (done, total) in [(0, Some(0)), (1, None), (7, Some(9)), (u64::MAX, Some(1))] {
                let shown = line(done, total, Duration::ZERO, width).chars().count();
                assert!(shown <= width, "{shown} columns of {width}");
            }
        }
        let narrow = line(MIB, Some(2 * MIB), SECOND, 40);
        assert_eq!(narrow, " 50%  1.00 MiB of 2.00 MiB, 1.00 MiB/s, ");
    }

    #[test]
    fn a_beginning_knows_no_time_left() {
        assert!(!line(0, Some(MIB), SECOND, 99).contains("left"));
    }
}
