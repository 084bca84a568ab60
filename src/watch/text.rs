//! Pieces of a screen: how words find their place in so many columns, and what stands in where a terminal can't show them.

use super::terminal::Colours;

/// Characters of a line's label.
const LABEL: usize = 10;
/// Characters of a full bar.
const BAR: usize = 16;
/// Characters of a class with its bar: name, number, bar.
pub const BAR_LINE: usize = 12 + 8 + BAR + 4;
/// Parts of a character, from an eighth on.
const EIGHTHS: [char; 8] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];

/// One line: what it is about, what it tells, and whether a person should look up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Line {
    label: String,
    told: String,
    alarm: bool,
}

impl Line {
    /// A label and what belongs to it, parted by dots, on as many lines as that takes.
    pub fn told(label: &str, parts: &[String], columns: usize) -> Vec<Line> {
        let padded = |label: &str| format!("{label:<width$} ", width = LABEL - 1);
        let mut lines = vec![Line { label: padded(&clean(label)), ..Line::default() }];
        for part in parts {
            let Some(line) = lines.last_mut() else { break };
            if line.told.is_empty() {
                line.told.push_str(part);
            } else if line.width() + 3 + part.chars().count() <= columns {
                line.told.push_str(" · ");
                line.told.push_str(part);
            } else {
                lines.push(Line { label: padded(""), told: part.clone(), alarm: false });
            }
        }
        lines
    }

    /// The same, for what is not as it should be.
    pub fn alarm(label: &str, parts: &[String], columns: usize) -> Vec<Line> {
        let lines = Line::told(label, parts, columns);
        lines.into_iter().map(|line| Line { alarm: true, ..line }).collect()
    }

    fn width(&self) -> usize {
        self.label.chars().count() + self.told.chars().count()
    }

    /// The line with control sequences (ECMA-48) for what stands out, where the terminal has colours.
    pub fn text(&self, colours: Colours) -> String {
        match (colours, self.alarm) {
            (Colours::None, _) => format!("{}{}", self.label, self.told).trim_end().to_owned(),
            (_, false) => format!("\x1b[2m{}\x1b[0m{}", self.label, self.told),
            (_, true) => format!("\x1b[2m{}\x1b[0m\x1b[1;31m{}\x1b[0m", self.label, self.told),
        }
    }
}

/// A class with its share of 1, padded to [`BAR_LINE`] characters; the bar in its colour, where there are colours.
pub fn bar(class: &str, share: f32, colour: Option<[u8; 3]>, colours: Colours) -> String {
    let share = f64::from(share).clamp(0.0, 1.0);
    let eighths = (share * (8 * BAR) as f64).round() as usize;
    let mut bar = "█".repeat(eighths / 8);
    bar.extend((eighths % 8).checked_sub(1).and_then(|part| EIGHTHS.get(part)));
    let rest = " ".repeat(BAR.saturating_sub(bar.chars().count()));
    if let (Some(colour), false) = (colour, bar.is_empty() || colours == Colours::None) {
        bar = format!("{}{bar}\x1b[0m", colours.text(colour));
    }
    let name: String = clean(class).chars().take(12).collect();
    format!("  {name:<12} {:>5.1} % {bar}{rest} ", share * 100.0)
}

/// Text of others without what a terminal would obey.
pub fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// The same in ASCII, for terminals that know nothing else: one character for one.
pub fn ascii(text: &str) -> String {
    let plain = |c| match c {
        '\0'..='\x7f' => c,
        '·' => '-',
        '×' => 'x',
        // Heights.
        '▁' => '.',
        '▂' => ':',
        '▃' => '-',
        '▄' => '=',
        '▅' => '+',
        '▆' => '*',
        '▇' => '%',
        // Lengths; a full block is both.
        '▏' | '▎' | '▍' => ' ',
        '▌' | '▋' | '▊' | '▉' | '█' => '#',
        _ => '?',
    };
    text.chars().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(parts: &[&str]) -> Vec<String> {
        parts.iter().map(|part| (*part).to_owned()).collect()
    }

    #[test]
    fn what_does_not_fit_goes_to_the_next_line() {
        let of = |columns| {
            let lines = Line::told("frames", &parts(&["captured 20", "published 7", "dropped 12"]), columns);
            lines.iter().map(|line| line.text(Colours::None)).collect::<Vec<_>>()
        };
        assert_eq!(of(80), ["frames    captured 20 · published 7 · dropped 12"]);
        assert_eq!(of(36), ["frames    captured 20 · published 7", "          dropped 12"]);
        // Nothing is left out where nothing fits.
        assert_eq!(of(5), ["frames    captured 20", "          published 7", "          dropped 12"]);
        assert_eq!(Line::told("a\x1b[2Jb", &[], 80)[0].text(Colours::None), "a\u{fffd}[2Jb");
    }

    #[test]
    fn only_terminals_with_colours_get_any() {
        let line = |make: fn(&str, &[String], usize) -> Vec<Line>| make("camera", &parts(&["LOST"]), 80).remove(0);
        assert_eq!(line(Line::told).text(Colours::True), "\x1b[2mcamera    \x1b[0mLOST");
        assert_eq!(line(Line::alarm).text(Colours::Cube), "\x1b[2mcamera    \x1b[0m\x1b[1;31mLOST\x1b[0m");
        assert_eq!(line(Line::alarm).text(Colours::None), "camera    LOST");
    }

    #[test]
    fn bars_are_as_long_as_their_share() {
        let bar = |share| bar("road", share, Some([1, 2, 3]), Colours::None);
        assert_eq!(bar(0.5), format!("  road          50.0 % {}{} ", "█".repeat(8), " ".repeat(8)));
        assert!(bar(0.03).contains("   3.0 % ▌ ") && bar(0.001).trim_end().ends_with("0.1 %"), "{}", bar(0.001));
        assert!([0.0, 0.03, 0.5, 1.0, 7.0, f32::NAN].iter().all(|share| bar(*share).chars().count() == BAR_LINE));
        let coloured = super::bar("road", 0.5, Some([1, 2, 3]), Colours::True);
        assert!(coloured.contains("\x1b[38;2;1;2;3m████████\x1b[0m"), "{coloured:?}");
    }

    #[test]
    fn terminals_without_unicode_get_ascii_of_the_same_width() {
        assert_eq!(ascii("cam 4×2 · ▁▄█ ü\u{fffd}"), "cam 4x2 - .=# ??");
        assert_eq!(ascii("██▋ ▏"), "###  ");
    }
}
