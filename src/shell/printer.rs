//! Where results, notices and errors go: data to the output, all else to standard error.

use super::args::Format;
use super::error::{ServerError, printable};
use super::output::{Drawing, Style};
use super::progress::Progress;
use super::session::{Column, Receiver, Row};
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};

/// Where results go.
enum Out {
    Standard(BufWriter<Standard>),
    File(BufWriter<File>),
}

/// Standard output, perhaps the terminal on which a progress bar stands.
struct Standard {
    is_terminal: bool,
    progress: Progress,
}

impl Write for Standard {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.is_terminal {
            self.progress.clear(!data.ends_with(b"\n"));
        }
        io::stdout().write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush()
    }
}

impl Out {
    fn standard(progress: Progress) -> Self {
        Self::Standard(BufWriter::new(Standard {
            is_terminal: io::stdout().is_terminal(),
            progress,
        }))
    }

    fn writer(&mut self) -> &mut dyn Write {
        match self {
            Self::Standard(out) => out,
            Self::File(out) => out,
        }
    }
}

/// Shows what the session gives.
pub(super) struct Printer {
    pub(super) format: Format,
    pub(super) expanded: bool,
    progress: Progress,
    out: Out,
    drawing: Option<Drawing>,
    /// COPY TO STDOUT has written here.
    copied: bool,
}

impl Printer {
    /// To standard output.
    pub(super) fn new(format: Format) -> Self {
        Self {
            format,
            expanded: false,
            progress: Progress::default(),
            out: Out::standard(Progress::default()),
            drawing: None,
            copied: false,
        }
    }

    /// Sends results to a file, or to standard output again.
    pub(super) fn redirect(&mut self, path: Option<&str>) -> io::Result<()> {
        self.flush()?;
        self.out = match path {
            Some(path) => Out::File(BufWriter::new(File::create(path)?)),
            None => Out::standard(self.progress.clone()),
        };
        Ok(())
    }

    /// Shows how far a load is, until another takes its place; returns the one before. Who reads JSON
    /// is no person.
    pub(super) fn show(&mut self, progress: &Progress) -> Progress {
        let progress = if self.format == Format::Json {
            progress.hide();
            Progress::default()
        } else {
            progress.clone()
        };
        if let Out::Standard(out) = &mut self.out {
            out.get_mut().progress = progress.clone();
        }
        let before = std::mem::replace(&mut self.progress, progress);
        before.clear(false);
        before
    }

    /// Writes a line to the output.
    pub(super) fn line(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out.writer(), "{text}")
    }

    /// Draws rows that we have already.
    pub(super) fn table(&mut self, columns: Vec<Column>, rows: Vec<Row>) -> io::Result<()> {
        self.columns(columns)?;
        for row in rows {
            self.row(row)?;
        }
        self.complete("SELECT")
    }

    /// Draws rows that we have already below a title, without counting them.
    pub(super) fn titled_table(
        &mut self,
        title: &str,
        columns: Vec<Column>,
        rows: Vec<Row>,
    ) -> io::Result<()> {
        self.line(title)?;
        let style = self.style();
        let out = self.out.writer();
        let mut drawing = Drawing::begin(style, columns, out)?;
        for row in rows {
            drawing.row(row, out)?;
        }
        drawing.end_uncounted(out)
    }

    /// Hands all over to the operating system; forgets a result that an error has cut off.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.drawing = None;
        self.copied = false;
        self.out.writer().flush()
    }

    /// Says something to the person.
    pub(super) fn say(&self, text: &str) {
        self.progress.clear(false);
        say(text);
    }

    fn style(&self) -> Style {
        let width = match self.out {
            Out::Standard(_) if io::stdout().is_terminal() => {
                rustix::termios::tcgetwinsize(io::stdout())
                    .ok()
                    .map(|size| size.ws_col)
                    .filter(|columns| *columns > 0)
            }
            _ => None,
        };
        Style {
            format: self.format,
            expanded: self.expanded,
            width,
        }
    }
}

/// Says something to the person where no progress is shown.
pub(super) fn say(text: &str) {
    // Without a standard error there is nobody to tell.
    write!(io::stderr().lock(), "{text}").ok();
}

impl Receiver for Printer {
    fn columns(&mut self, columns: Vec<Column>) -> io::Result<()> {
        let style = self.style();
        self.drawing = Some(Drawing::begin(style, columns, self.out.writer())?);
        Ok(())
    }

    fn row(&mut self, row: Row) -> io::Result<()> {
        match &mut self.drawing {
            Some(drawing) => drawing.row(row, self.out.writer()),
            None => Ok(()),
        }
    }

    fn complete(&mut self, tag: &str) -> io::Result<()> {
        let drawn = self.drawing.take();
        let has_rows = drawn.is_some();
        if let Some(drawing) = drawn {
            drawing.end(self.out.writer())?;
        }
        // INSERT ... RETURNING has both rows and a tag worth seeing; CSV and JSON stay pure.
        let changes = ["INSERT", "UPDATE", "DELETE", "MERGE"]
            .iter()
            .any(|verb| tag.starts_with(verb));
        let telling = (!has_rows || changes) && !self.copied;
        if telling && self.format == Format::Table {
            self.line(&printable(tag))
        } else {
            Ok(())
        }
    }

    fn copy_data(&mut self, data: &[u8]) -> io::Result<()> {
        self.copied = true;
        self.out.writer().write_all(data)
    }

    fn notice(&mut self, notice: &ServerError) {
        self.say(&notice.render(None));
    }

    fn notification(&mut self, channel: &str, payload: &str) {
        let payload = if payload.is_empty() {
            String::new()
        } else {
            format!(" with payload \"{}\"", printable(payload))
        };
        self.say(&format!(
            "Notification on \"{}\"{payload}\n",
            printable(channel)
        ));
    }
}

/// Keeps rows for ourselves, or copies into a writer; passes notices on.
pub(super) struct Collector<'a> {
    pub(super) columns: Vec<Column>,
    pub(super) rows: Vec<Row>,
    /// For COPY TO STDOUT; and the tag that it ends with.
    pub(super) copy: Option<&'a mut dyn Write>,
    pub(super) tag: String,
    progress: Progress,
}

impl<'a> Collector<'a> {
    /// For rows, beside what this printer shows.
    pub(super) fn rows(printer: &Printer) -> Self {
        Self {
            progress: printer.progress.clone(),
            columns: Vec::new(),
            rows: Vec::new(),
            copy: None,
            tag: String::new(),
        }
    }

    /// For COPY TO STDOUT.
    pub(super) fn copy(printer: &Printer, into: &'a mut dyn Write) -> Self {
        Self {
            copy: Some(into),
            ..Self::rows(printer)
        }
    }
}

impl Receiver for Collector<'_> {
    fn columns(&mut self, columns: Vec<Column>) -> io::Result<()> {
        self.columns = columns;
        Ok(())
    }

    fn row(&mut self, row: Row) -> io::Result<()> {
        self.rows.push(row);
        Ok(())
    }

    fn complete(&mut self, tag: &str) -> io::Result<()> {
        tag.clone_into(&mut self.tag);
        Ok(())
    }

    fn copy_data(&mut self, data: &[u8]) -> io::Result<()> {
        match &mut self.copy {
            Some(into) => into.write_all(data),
            None => Ok(()),
        }
    }

    fn notice(&mut self, notice: &ServerError) {
        self.progress.clear(false);
        say(&notice.render(None));
    }

    fn notification(&mut self, _: &str, _: &str) {}
}
