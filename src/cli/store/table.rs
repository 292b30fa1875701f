//! A table as etcdctl draws it, so that scripts and eyes that know it need not learn another.

/// The head in the middle, the cells to the right.
pub(super) fn draw(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        let cells = cells.map(|cell| cell.chars().count());
        let head = head.get(column).map_or(0, |name| name.chars().count());
        cells.chain([head]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let rule: String = widths
        .iter()
        .map(|width| format!("+{}", "-".repeat(width + 2)))
        .chain(["+\n".to_owned()])
        .collect();
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let head = head
        .iter()
        .zip(&widths)
        .map(|(name, width)| center(name, *width));
    let mut text = format!("{rule}{}{rule}", line(head.collect()));
    for row in rows {
        let cells = row.iter().zip(&widths);
        let cells = cells.map(|(cell, width)| format!("{cell:>width$}"));
        text.push_str(&line(cells.collect()));
    }
    text.push_str(&rule);
    text
}

/// What is left over goes to the right.
fn center(text: &str, width: usize) -> String {
    let gap = width.saturating_sub(text.chars().count());
    let left = gap / 2;
    format!("{}{text}{}", " ".repeat(left), " ".repeat(gap - left))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What etcdctl 3.4.23 printed for a member of these names.
    #[test]
    fn it_is_etcdctls_table() {
        let expected = "\
+------------------+---------+------+--------------------+-----------------+------------+
|        ID        | STATUS  | NAME |     PEER ADDRS     |  CLIENT ADDRS   | IS LEARNER |
+------------------+---------+------+--------------------+-----------------+------------+
| 309798197edd29e0 | started |   n1 | http://lh.de:33411 | http://n2:23790 |      false |
+------------------+---------+------+--------------------+-----------------+------------+
";
        let head = [
            "ID",
            "STATUS",
            "NAME",
            "PEER ADDRS",
            "CLIENT ADDRS",
            "IS LEARNER",
        ];
        let row = [
            "309798197edd29e0",
            "started",
            "n1",
            "http://lh.de:33411",
            "http://n2:23790",
            "false",
        ];
        let rows = [row.map(str::to_owned).to_vec()];
        assert_eq!(draw(&head, &rows), expected);
    }
}
