//! Medians and ranges, tables in Markdown, and a plot in hand-written SVG.

use std::fmt::Write;

/// Median and range of some rounds.
#[derive(Clone, Copy)]
pub struct Spread {
    pub median: f64,
    pub low: f64,
    pub high: f64,
}

impl Spread {
    /// None when no round gave a value.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Spread> {
        let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        let (low, high) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = match values.len() % 2 {
            0 => (values[middle - 1] + values[middle]) / 2.0,
            _ => values[middle],
        };
        Some(Spread { median, low, high })
    }

    /// Of the ratios a/b within each round that gave both.
    pub fn of_ratios(a: &[Option<f64>], b: &[Option<f64>]) -> Option<Spread> {
        Spread::of(a.iter().zip(b).filter_map(|(a, b)| Some((*a)? / (*b)?)))
    }
}

/// "median (low–high)", or a dash.
pub fn show(spread: Option<Spread>, digits: usize) -> String {
    match spread {
        Some(Spread { median, low, high }) => {
            format!("{median:.digits$} ({low:.digits$}–{high:.digits$})")
        }
        None => "–".into(),
    }
}

/// The median alone, or a dash.
pub fn middle(spread: Option<Spread>, digits: usize) -> String {
    spread.map_or("–".into(), |spread| format!("{:.digits$}", spread.median))
}

/// A table in Markdown, first column to the left, the others to the right.
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(head: &[&str]) -> Table {
        Table { rows: vec![head.iter().map(ToString::to_string).collect()] }
    }

    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    pub fn print(&self) {
        let width = |column: usize| {
            self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0).max(2)
        };
        for (i, row) in self.rows.iter().enumerate() {
            let mut line = String::from("|");
            let mut rule = String::from("|");
            for (column, cell) in row.iter().enumerate() {
                let width = width(column);
                let dashes = "-".repeat(width - 1);
                let _ = match column {
                    0 => write!(line, " {cell:<width$} |").and(write!(rule, " -{dashes} |")),
                    _ => write!(line, " {cell:>width$} |").and(write!(rule, " {dashes}: |")),
                };
            }
            println!("{line}");
            if i == 0 {
                println!("{rule}");
            }
        }
        println!();
    }
}

/// Horizontal bars with their ranges, one for each name.
pub fn plot(title: &str, caption: &str, bars: &[(String, Spread)]) -> String {
    const LEFT: f64 = 130.0;
    const WIDTH: f64 = 480.0;
    const STEP: f64 = 28.0;
    let most = bars.iter().map(|(_, bar)| bar.high).fold(1.0, f64::max);
    let x = |value: f64| LEFT + value / most * WIDTH;
    let height = 70.0 + STEP * bars.len() as f64;
    let escape = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;");
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"720\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"10\" y=\"24\" font-size=\"15\" font-weight=\"bold\">{}</text>\n",
        escape(title)
    );
    for (i, (name, bar)) in bars.iter().enumerate() {
        let y = 40.0 + STEP * i as f64;
        let colour = if name.starts_with("scat") { "#2a6f4e" } else { "#9aa5ab" };
        let middle = y + 10.0;
        let _ = write!(
            svg,
            "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{}</text>\n\
             <rect x=\"{LEFT}\" y=\"{y:.0}\" width=\"{:.1}\" height=\"20\" fill=\"{colour}\"/>\n\
             <path d=\"M{:.1} {middle:.0}H{:.1}\" stroke=\"#000\" stroke-width=\"1.5\"/>\n\
             <text x=\"{:.1}\" y=\"{:.0}\">{:.0}</text>\n",
            LEFT - 8.0,
            y + 15.0,
            escape(name),
            x(bar.median) - LEFT,
            x(bar.low),
            x(bar.high),
            x(bar.high) + 8.0,
            y + 15.0,
            bar.median,
        );
    }
    let _ = write!(
        svg,
        "<text x=\"10\" y=\"{:.0}\" font-size=\"11\" fill=\"#555\">{}</text>\n</svg>\n",
        height - 12.0,
        escape(caption)
    );
    svg
}
