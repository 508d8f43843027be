//! What was measured, as a picture.

use std::fmt::Write as _;

/// Bars for several pairs.
pub(crate) struct Chart {
    pub(crate) title: String,
    pub(crate) subtitle: String,
    pub(crate) groups: Vec<Group>,
}

/// One pair: a bar for each tool.
pub(crate) struct Group {
    pub(crate) name: String,
    /// What is one unit long, in bytes.
    pub(crate) unit: u64,
    pub(crate) bars: Vec<Bar>,
}

/// One tool's delta.
pub(crate) struct Bar {
    pub(crate) tool: String,
    pub(crate) bytes: u64,
    /// Whether it is the one that the chart is about.
    pub(crate) is_ours: bool,
}

const WIDTH: u32 = 860;
/// Where bars begin, and how long a unit is.
const LEFT: f64 = 210.0;
const UNIT: f64 = 170.0;
/// Longer bars are cut off, and say so by their end.
const MOST_UNITS: f64 = 2.5;
const HEAD: u32 = 76;
const ROW: u32 = 18;
const GAP: u32 = 16;

/// Colours that can be told apart with any eyes, on a light and on a dark page.
const STYLE: &str = "\
text{font:13px system-ui,sans-serif;fill:#1f2328}.title{font-size:17px;font-weight:600}.note{fill:#59636e}\
.pair,.our{font-weight:600}.peer{fill:#9aa4af}.ours{fill:#0a7c66}.unit{stroke:#59636e;stroke-dasharray:3 3}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.note{fill:#9198a1}.peer{fill:#59636e}.ours{fill:#2fbf9f}\
.unit{stroke:#9198a1}}";

impl Chart {
    /// The chart as an SVG document.
    pub(crate) fn to_svg(&self) -> String {
        let heights = self.groups.iter().map(|group| group.bars.len() as u32 * ROW + GAP);
        let height = HEAD + heights.sum::<u32>() + GAP;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
             viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">\n<style>{STYLE}</style>\n<title>{title}</title>\n",
            title = escaped(&self.title),
        );
        text(&mut svg, "title", (16.0, 28), &self.title);
        text(&mut svg, "note", (16.0, 50), &self.subtitle);
        let unit = LEFT + UNIT;
        let _ = writeln!(
            svg,
            "<line class=\"unit\" x1=\"{unit}\" x2=\"{unit}\" y1=\"{}\" y2=\"{}\"/>",
            HEAD - 6,
            height - GAP
        );
        let mut y = HEAD;
        for group in &self.groups {
            text(&mut svg, "pair", (16.0, y + 12), &group.name);
            for bar in &group.bars {
                draw(&mut svg, bar, group.unit, y);
                y += ROW;
            }
            y += GAP;
        }
        svg.push_str("</svg>\n");
        svg
    }
}

fn draw(svg: &mut String, bar: &Bar, unit: u64, y: u32) {
    let units = if unit == 0 { 0.0 } else { bar.bytes as f64 / unit as f64 };
    let length = units.min(MOST_UNITS) * UNIT;
    let (class, word) = if bar.is_ours { ("ours", "our") } else { ("peer", "note") };
    let _ = writeln!(
        svg,
        "<rect class=\"{class}\" x=\"{LEFT}\" y=\"{y}\" width=\"{length:.1}\" height=\"{}\"/>",
        ROW - 4
    );
    let _ = writeln!(
        svg,
        "<text class=\"{word}\" x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
        LEFT - 8.0,
        y + 12,
        escaped(&bar.tool)
    );
    let cut = if units > MOST_UNITS { "… " } else { "" };
    let label = format!("{cut}{} · {units:.2}", size(bar.bytes));
    text(svg, word, (LEFT + length + 6.0, y + 12), &label);
}

fn text(svg: &mut String, class: &str, (x, y): (f64, u32), words: &str) {
    let _ = writeln!(svg, "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y}\">{}</text>", escaped(words));
}

fn escaped(words: &str) -> String {
    words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} KB", bytes as f64 / 1e3),
        _ => format!("{:.2} MB", bytes as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_what_they_stand_for() {
        let bar = |tool: &str, bytes, is_ours| Bar { tool: tool.into(), bytes, is_ours };
        let bars =
            vec![bar("skiff", 500_000, true), bar("b<c", 1_000_000, false), bar("d", 9_000_000, false)];
        let group = Group { name: "pair".into(), unit: 1_000_000, bars };
        let svg = Chart { title: "T & U".into(), subtitle: "S".into(), groups: vec![group] }.to_svg();
        for part in [
            "<title>T &amp; U</title>",
            "class=\"ours\" x=\"210\" y=\"76\" width=\"85.0\"",
            "width=\"170.0\"",
            "width=\"425.0\"",
            "500.0 KB · 0.50",
            "… 9.00 MB · 9.00",
            "b&lt;c",
        ] {
            assert!(svg.contains(part), "{part}: {svg}");
        }
        assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
    }
}
