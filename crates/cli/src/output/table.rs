//! Tables without frames: columns two spaces apart, numbers to the right, long text cut.

use comfy_table::{
    CellAlignment, ColumnConstraint, ContentArrangement, Row, Table, Width, presets,
};

/// How a column is drawn.
#[derive(Debug, Clone, Copy)]
pub enum Column {
    /// Text, cut with `…` behind this many characters.
    Text(u16),
    /// Numbers.
    Number,
}

/// Rows of cells, to be printed line by line.
#[derive(Debug)]
pub struct Lines {
    table: Table,
    columns: Vec<Column>,
}

impl Lines {
    /// An empty table.
    pub fn new(columns: &[Column]) -> Lines {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_content_arrangement(ContentArrangement::Disabled);
        Lines { table, columns: columns.to_vec() }
    }

    /// Adds the row that names the columns.
    pub fn header(&mut self, cells: &[&str]) {
        self.table.set_header(cells.iter().copied());
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let mut row = Row::from(cells);
        row.max_height(1);
        self.table.add_row(row);
    }

    /// The table as text, each line indented and without spaces at its end.
    pub fn text(mut self) -> String {
        for (i, column) in self.columns.iter().enumerate() {
            let Some(drawn) = self.table.column_mut(i) else { continue };
            drawn.set_padding((2, 0)).set_delimiter('\0');
            match column {
                Column::Text(width) => {
                    drawn.set_constraint(ColumnConstraint::UpperBoundary(Width::Fixed(*width + 2)));
                }
                Column::Number => drawn.set_cell_alignment(CellAlignment::Right),
            }
        }
        let mut text = self.table.trim_fmt();
        if !text.is_empty() {
            text.push('\n');
        }
        text
    }
}

/// The last `width` characters of a path, with `…` for what is left out: the end of a path says
/// more than its beginning.
pub fn shortened(path: &str, width: usize) -> String {
    let skipped = path.chars().count().saturating_sub(width);
    if skipped == 0 {
        return path.to_owned();
    }
    format!("…{}", path.chars().skip(skipped + 1).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_long_text_is_cut() {
        let mut lines = Lines::new(&[Column::Text(8), Column::Number, Column::Text(20)]);
        lines.row(["a path that is long".into(), "7".into(), "██".into()]);
        lines.row(["世界世界世界".into(), "1,234".into(), String::new()]);
        lines.row(["short".into(), "12".into(), "█".into()]);
        assert_eq!(
            lines.text(),
            "  a path …      7  ██\n  世界世…   1,234\n  short        12  █\n"
        );
        assert_eq!(Lines::new(&[Column::Number]).text(), "");
        assert_eq!(shortened("logs/2015/a.log", 15), "logs/2015/a.log");
        assert_eq!(shortened("logs/2015/a.log", 10), "…015/a.log");
    }
}
