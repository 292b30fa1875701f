//! Rows as a table, as CSV or as JSON.
//!
//! CSV and JSON are written row by row; a table is drawn in blocks, so that a result of any size
//! takes bounded memory.

use super::args::Format;
use super::error::printable;
use super::session::{Column, Row};
use comfy_table::{CellAlignment, ContentArrangement, Table};
use comfy_table::{ContentLineStyle, LineStyle, TableStyle};
use std::io::{self, Write};

/// Rows per block of a table: a block's columns are as wide as its widest cell.
const BLOCK: usize = 1000;

/// How results are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Style {
    pub(super) format: Format,
    /// A line for each column (`\x`).
    pub(super) expanded: bool,
    /// Columns that the terminal has, to wrap in; `None` when the output is no terminal.
    pub(super) width: Option<u16>,
}

/// Draws one result.
pub(super) struct Drawing {
    style: Style,
    columns: Vec<Column>,
    block: Vec<Row>,
    rows: usize,
}

impl Drawing {
    /// Begins a result.
    pub(super) fn begin(
        style: Style,
        columns: Vec<Column>,
        out: &mut dyn Write,
    ) -> io::Result<Self> {
        match style.format {
            Format::Csv => csv_line(columns.iter().map(|column| Some(column.name.as_str())), out)?,
            Format::Json => out.write_all(b"[")?,
            Format::Table => {}
        }
        let columns = if style.format == Format::Json {
            told_apart(columns)
        } else {
            columns
        };
        Ok(Self {
            style,
            columns,
            block: Vec::new(),
            rows: 0,
        })
    }

    /// Adds a row.
    pub(super) fn row(&mut self, row: Row, out: &mut dyn Write) -> io::Result<()> {
        self.rows += 1;
        match self.style.format {
            Format::Csv => csv_line(row.iter().map(Option::as_deref), out),
            Format::Json => {
                out.write_all(if self.rows == 1 { b"\n" } else { b",\n" })?;
                json_object(&self.columns, &row, out)
            }
            Format::Table => {
                self.block.push(row);
                if self.block.len() == BLOCK {
                    self.flush_block(out)
                } else {
                    Ok(())
                }
            }
        }
    }

    /// Ends the result.
    pub(super) fn end(mut self, out: &mut dyn Write) -> io::Result<()> {
        match self.style.format {
            Format::Csv => Ok(()),
            Format::Json => out.write_all(if self.rows == 0 { b"]\n" } else { b"\n]\n" }),
            Format::Table if self.style.expanded => {
                self.flush_block(out)?;
                if self.rows == 0 {
                    writeln!(out, "(0 rows)")
                } else {
                    writeln!(out)
                }
            }
            Format::Table => {
                if !self.block.is_empty() || self.rows == 0 {
                    self.flush_block(out)?;
                }
                let unit = if self.rows == 1 { "row" } else { "rows" };
                writeln!(out, "({} {unit})\n", self.rows)
            }
        }
    }

    /// Ends a table of our own making: no number of rows, no empty line.
    pub(super) fn end_uncounted(mut self, out: &mut dyn Write) -> io::Result<()> {
        self.flush_block(out)
    }

    fn flush_block(&mut self, out: &mut dyn Write) -> io::Result<()> {
        let block = std::mem::take(&mut self.block);
        if self.style.expanded {
            let first = self.rows + 1 - block.len();
            return draw_expanded(&self.columns, &block, first, out);
        }
        draw_table(self.style, &self.columns, block, out)
    }
}

/// psql's own look: no frame, a line below the header.
const LOOK: TableStyle = TableStyle::new()
    .header_lines(ContentLineStyle::none().junction('|'))
    .header_separator(LineStyle::none().fill('-').junction('+'))
    .content_lines(ContentLineStyle::none().junction('|'));

fn draw_table(
    style: Style,
    columns: &[Column],
    block: Vec<Row>,
    out: &mut dyn Write,
) -> io::Result<()> {
    if columns.is_empty() {
        return writeln!(out, "--");
    }
    let mut table = Table::new();
    table.load_style(LOOK).force_no_tty();
    if let Some(width) = style.width {
        table
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(width);
    }
    table.set_header(
        columns
            .iter()
            .map(|column| printable(&column.name))
            .collect::<Vec<_>>(),
    );
    for row in block {
        let cells = row
            .into_iter()
            .map(|cell| cell.map(|text| printable(&text)).unwrap_or_default());
        table.add_row(cells.collect::<Vec<_>>());
    }
    for (column, drawn) in columns.iter().zip(table.column_iter_mut()) {
        if is_number(column.type_oid) {
            drawn.set_cell_alignment(CellAlignment::Right);
        }
    }
    for line in table.lines() {
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

fn draw_expanded(
    columns: &[Column],
    block: &[Row],
    first: usize,
    out: &mut dyn Write,
) -> io::Result<()> {
    let names: Vec<String> = columns
        .iter()
        .map(|column| printable(&column.name))
        .collect();
    let width = names
        .iter()
        .map(|name| name.chars().count())
        .max()
        .unwrap_or_default();
    for (offset, row) in block.iter().enumerate() {
        writeln!(out, "-[ RECORD {} ]{}", first + offset, "-".repeat(width))?;
        for (name, cell) in names.iter().zip(row) {
            let text = printable(cell.as_deref().unwrap_or_default());
            for (index, line) in text.split('\n').enumerate() {
                let label = if index == 0 { name.as_str() } else { "" };
                writeln!(out, "{}", format!("{label:width$} | {line}").trim_end())?;
            }
        }
    }
    Ok(())
}

/// RFC 4180; NULL is nothing, an empty string is `""`.
fn csv_line<'a>(
    cells: impl Iterator<Item = Option<&'a str>>,
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut separator = "";
    for cell in cells {
        out.write_all(separator.as_bytes())?;
        separator = ",";
        match cell {
            None => {}
            Some(text) if text.is_empty() || text.contains([',', '"', '\n', '\r']) => {
                write!(out, "\"{}\"", text.replace('"', "\"\""))?;
            }
            Some(text) => out.write_all(text.as_bytes())?,
        }
    }
    out.write_all(b"\n")
}

fn json_object(columns: &[Column], row: &Row, out: &mut dyn Write) -> io::Result<()> {
    let mut separator = "{";
    for (column, cell) in columns.iter().zip(row) {
        write!(out, "{separator}{}:", json_string(&column.name))?;
        separator = ",";
        out.write_all(json_value(column.type_oid, cell.as_deref()).as_bytes())?;
    }
    out.write_all(if columns.is_empty() { b"{}" } else { b"}" })
}

/// Types that have a counterpart in JSON keep it; all others are strings.
fn json_value(type_oid: u32, cell: Option<&str>) -> String {
    let Some(text) = cell else {
        return "null".to_owned();
    };
    match type_oid {
        BOOL if text == "t" => "true".to_owned(),
        BOOL if text == "f" => "false".to_owned(),
        // Infinity and NaN are numbers to PostgreSQL and not to JSON.
        oid if is_number(oid) && is_json_number(text) => text.to_owned(),
        // As the server prints it: that is JSON already, but for line ends in `json`.
        JSON | JSONB if serde_json::from_str::<serde_json::Value>(text).is_ok() => {
            text.replace(['\n', '\r'], " ")
        }
        _ => json_string(text),
    }
}

fn json_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn is_json_number(text: &str) -> bool {
    text.bytes()
        .all(|b| matches!(b, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'))
        && serde_json::from_str::<serde_json::Number>(text).is_ok()
}

// Numbers in pg_type (pg_type.dat), the same in every PostgreSQL.
const BOOL: u32 = 16;
const JSON: u32 = 114;
const JSONB: u32 = 3802;

/// int8, int2, int4, oid, float4, float8, money, numeric.
fn is_number(type_oid: u32) -> bool {
    matches!(type_oid, 20 | 21 | 23 | 26 | 700 | 701 | 790 | 1700)
}

/// JSON objects can't have two members of one name: the second `count` becomes `count_2`.
fn told_apart(mut columns: Vec<Column>) -> Vec<Column> {
    let mut taken = std::collections::BTreeSet::new();
    for column in &mut columns {
        let mut name = column.name.clone();
        let mut number = 1;
        while !taken.insert(name.clone()) {
            number += 1;
            name = format!("{}_{number}", column.name);
        }
        column.name = name;
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: u32 = 25;
    const INT: u32 = 23;

    fn draw(style: Style, columns: &[(&str, u32)], rows: &[&[Option<&str>]]) -> String {
        let columns = columns
            .iter()
            .map(|(name, type_oid)| Column {
                name: (*name).to_owned(),
                type_oid: *type_oid,
            })
            .collect();
        let mut out = Vec::new();
        let mut drawing = Drawing::begin(style, columns, &mut out).unwrap();
        for row in rows {
            let row = row.iter().map(|cell| cell.map(str::to_owned)).collect();
            drawing.row(row, &mut out).unwrap();
        }
        drawing.end(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn style(format: Format) -> Style {
        Style {
            format,
            expanded: false,
            width: None,
        }
    }

    #[test]
    fn a_table_looks_like_psqls() {
        let shown = draw(
            style(Format::Table),
            &[("id", INT), ("name", TEXT)],
            &[&[Some("1"), Some("a")], &[Some("20"), None]],
        );
        assert_eq!(
            shown,
            " id | name\n----+------\n  1 | a\n 20 |\n(2 rows)\n\n"
        );
        assert_eq!(
            draw(style(Format::Table), &[("id", INT)], &[]),
            " id\n----\n(0 rows)\n\n"
        );
        assert_eq!(
            draw(
                style(Format::Table),
                &[("a", TEXT)],
                &[&[Some("\u{1b}[2J")]]
            ),
            " a\n---------\n \\x1B[2J\n(1 row)\n\n"
        );
    }

    #[test]
    fn a_table_wraps_in_a_narrow_terminal() {
        let narrow = Style {
            width: Some(20),
            ..style(Format::Table)
        };
        let shown = draw(
            narrow,
            &[("a", TEXT)],
            &[&[Some("one two three four five six")]],
        );
        assert!(
            shown.lines().all(|line| line.chars().count() <= 20),
            "{shown}"
        );
    }

    #[test]
    fn expanded_has_a_line_for_each_column() {
        let expanded = Style {
            expanded: true,
            ..style(Format::Table)
        };
        assert_eq!(
            draw(
                expanded,
                &[("id", INT), ("name", TEXT)],
                &[&[Some("1"), Some("a\nb")]]
            ),
            "-[ RECORD 1 ]----\nid   | 1\nname | a\n     | b\n\n"
        );
        assert_eq!(draw(expanded, &[("id", INT)], &[]), "(0 rows)\n");
    }

    #[test]
    fn csv_tells_null_from_an_empty_string() {
        assert_eq!(
            draw(
                style(Format::Csv),
                &[("a", TEXT), ("b,c", TEXT)],
                &[&[None, Some("")], &[Some("x\"y"), Some("1\n2")]],
            ),
            "a,\"b,c\"\n,\"\"\n\"x\"\"y\",\"1\n2\"\n"
        );
    }

    #[test]
    fn json_is_json_whatever_the_values() {
        let shown = draw(
            style(Format::Json),
            &[
                ("n", INT),
                ("f", 701),
                ("b", BOOL),
                ("j", JSONB),
                ("t", TEXT),
                ("t", TEXT),
            ],
            &[
                &[
                    Some("1"),
                    Some("NaN"),
                    Some("t"),
                    Some("{\"k\": [1]}"),
                    Some("\"\n"),
                    None,
                ],
                &[None, Some("1e+20"), Some("f"), None, Some("ä"), Some("")],
            ],
        );
        let value: serde_json::Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(
            value,
            serde_json::json!([
                {"n": 1, "f": "NaN", "b": true, "j": {"k": [1]}, "t": "\"\n", "t_2": null},
                {"n": null, "f": 1e20, "b": false, "j": null, "t": "ä", "t_2": ""},
            ])
        );
        assert_eq!(draw(style(Format::Json), &[("n", INT)], &[]), "[]\n");
    }

    #[test]
    fn a_large_table_is_drawn_in_blocks() {
        let row: &[Option<&str>] = &[Some("1")];
        let shown = draw(style(Format::Table), &[("n", INT)], &vec![row; BLOCK + 1]);
        assert_eq!(shown.matches("---").count(), 2);
        assert!(shown.ends_with("(1001 rows)\n\n"));
    }
}
