//! A summary -> an SVG: a group of bars for each case, a bar for each lane, pinnace's in colour.
//!
//! `# axis: one`: all groups share one axis, so that they can be compared; `each`: every group fills
//! the width. Colours follow the reader's light or dark setting; nothing is told by colour alone.

use super::{Row, Summary, header};
use crate::number::{general, short};

/// Where bars begin, how long the longest is, and what lies between them.
const LEFT: f64 = 250.0;
const WIDE: f64 = 330.0;
const BAR: usize = 15;
const GAP: usize = 16;

const STYLE: &str = "<style>
  text { font: 13px system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif; fill: #1f2328 }
  .title { font-size: 17px; font-weight: 600 }  .case { font-weight: 600 }  .number { font-variant-numeric: tabular-nums }
  .quiet, .lane, .tick { fill: #59636e }  .lane { text-anchor: end }  .tick { text-anchor: middle; font-size: 11px }
  .back { fill: #ffffff }  .line { stroke: #d8dee4 }
  .pinnace { fill: #1f6feb }  .peer { fill: #9aa4af }  .floor { fill: #cdd5de }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }  .quiet, .lane, .tick { fill: #9198a1 }  .back { fill: #0d1117 }  .line { stroke: #2d333b }
    .pinnace { fill: #4493f8 }  .peer { fill: #6e7681 }  .floor { fill: #444c56 }
  }
</style>
";

/// The picture.
///
/// # Errors
/// A summary without a line.
pub fn text(text: &str) -> Result<String, String> {
    let summary = Summary::read(text);
    if summary.rows.is_empty() {
        return Err("the summary has no results".to_owned());
    }
    let has_one_axis = header(text, "axis") == "one";
    let highest =
        |rows: &mut dyn Iterator<Item = &Row<'_>>| rows.fold(0.0, |top, row| row.median.max(top));
    let all = highest(&mut summary.rows.iter());
    let height = 76
        + summary.rows.len() * BAR
        + summary.cases.len() * GAP
        + if has_one_axis { 26 } else { 6 };
    let mut svg = head(text, &summary, height);
    if has_one_axis && all > 0.0 {
        svg += &axis(all, height);
    }
    let mut y = 68;
    for case in &summary.cases {
        let most = match has_one_axis {
            true => all,
            false => highest(&mut summary.rows.iter().filter(|row| row.case == *case)),
        };
        svg += &words("case", 16, y + 12, case);
        for row in summary.lanes.iter().filter_map(|lane| summary.row(case, lane)) {
            svg += &bar(row, most, y);
            y += BAR;
        }
        y += GAP;
    }
    Ok(svg + "</svg>\n")
}

/// All above the bars.
fn head(text: &str, summary: &Summary<'_>, height: usize) -> String {
    let title = header(text, "question");
    let medians = if summary.is_repeated() { ", medians" } else { "" };
    let better = match header(text, "better") {
        "" => "less",
        better => better,
    };
    let scale = match header(text, "axis") {
        "each" => "; each group has its own scale",
        _ => "",
    };
    let unit = header(text, "unit");
    let legend = format!("{unit}{medians}; {better} is better; \u{d7}: how often pinnace's{scale}");
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 760 {height}\" width=\"760\" \
         height=\"{height}\" role=\"img\">\n<title>{}</title>\n{STYLE}\
         <rect class=\"back\" width=\"760\" height=\"{height}\"/>\n{}{}",
        escape(title),
        words("title", 16, 28, title),
        words("quiet", 16, 49, &legend)
    )
}

/// Lines from the top to the bottom, and their numbers.
fn axis(all: f64, height: usize) -> String {
    let mut svg = String::new();
    let step = step_for(all);
    let mut tick = 0.0;
    while tick <= all {
        let x = (LEFT + WIDE * tick / all) as usize;
        let end = height - 24;
        svg += &format!("<line class=\"line\" x1=\"{x}\" x2=\"{x}\" y1=\"68\" y2=\"{end}\"/>\n");
        let number = if step >= 1.0 { format!("{tick}") } else { general(tick, 6) };
        svg += &words("tick", x, height - 8, &number);
        tick += step;
    }
    svg
}

/// 1, 2 or 5 times a power of ten, for at most five lines.
fn step_for(most: f64) -> f64 {
    let power = 10f64.powi((most / 5.0).log10().floor() as i32);
    let times = [1.0, 2.0, 5.0].into_iter().find(|times| power * times * 5.0 >= most);
    power * times.unwrap_or(10.0)
}

fn bar(row: &Row<'_>, most: f64, y: usize) -> String {
    let length = if most == 0.0 { 0.0 } else { WIDE * row.median / most };
    let class = match row.lane {
        "pinnace" => "pinnace",
        "floor" | "no filter" => "floor",
        _ => "peer",
    };
    let ratio = match row.ratio {
        1.0 => String::new(),
        ratio => format!("<tspan class=\"quiet\" dx=\"9\">{}\u{d7}</tspan>", short(ratio)),
    };
    format!(
        "{}<rect class=\"{class}\" x=\"{LEFT}\" y=\"{}\" width=\"{:.1}\" height=\"{}\" rx=\"2\"/>\n\
         <text class=\"number\" x=\"{}\" y=\"{}\">{}{ratio}</text>\n",
        words("lane", LEFT as usize - 8, y + 12, row.lane),
        y + 2,
        length.max(1.0),
        BAR - 3,
        (LEFT + length + 7.0) as usize,
        y + 12,
        short(row.median)
    )
}

fn words(class: &str, x: usize, y: usize, text: &str) -> String {
    format!("<text class=\"{class}\" x=\"{x}\" y=\"{y}\">{}</text>\n", escape(text))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_an_axis_are_few_and_round() {
        for (most, step) in [(5.0, 1.0), (7.0, 2.0), (24.0, 5.0), (26.0, 10.0), (0.4, 0.1)] {
            assert!((step_for(most) - step).abs() < 1e-9, "{most}: {}", step_for(most));
        }
    }

    #[test]
    fn a_bar_is_as_long_as_its_value() {
        let rows = "a<b\tpinnace\t3\t2\t6\t1\t1.000\na<b\trunc\t3\t4\t6\t1\t2.000\n";
        let summary = format!("# question: why?\n# unit: ms\n# axis: one\n{rows}");
        let svg = text(&summary).unwrap();
        for part in [
            "<title>why?</title>",
            "ms, medians; less is better",
            ">a&lt;b</text>",
            "<rect class=\"pinnace\" x=\"250\" y=\"70\" width=\"165.0\" height=\"12\" rx=\"2\"/>",
            "<rect class=\"peer\" x=\"250\" y=\"85\" width=\"330.0\" height=\"12\" rx=\"2\"/>",
            ">4<tspan class=\"quiet\" dx=\"9\">2\u{d7}</tspan></text>",
            ">3</text>",
        ] {
            assert!(svg.contains(part), "{part}: {svg}");
        }
        assert!(text("# unit: ms\n").is_err());
        let nothing = "# axis: one\na\tb\t1\t0\t0\t0\t0\n";
        assert!(!text(nothing).unwrap().contains("<line"), "an axis needs a length");
    }
}
