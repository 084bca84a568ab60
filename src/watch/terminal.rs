//! What the terminal can: its size, its characters and its colours.

use std::os::fd::AsFd;

/// How finely colours can be told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colours {
    /// No pictures.
    None,
    /// A cube of 6×6×6, as 256-colour terminals have it.
    Cube,
    /// 24 bits.
    True,
}

/// What can be shown, by what the environment tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abilities {
    /// Colours; none where pictures can't be drawn for want of characters.
    pub colours: Colours,
    /// Whether it shows more than ASCII.
    pub unicode: bool,
}

impl Abilities {
    /// Those of the terminal that the environment tells of.
    pub fn of_environment() -> Abilities {
        Abilities::of(|name| std::env::var(name).unwrap_or_default())
    }

    /// By `NO_COLOR` (<https://no-color.org>), the character set of the locale, `COLORTERM` and `TERM`.
    fn of(variable: impl Fn(&str) -> String) -> Abilities {
        // The first of them that is set decides, as in setlocale(3).
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().map(&variable).find(|value| !value.is_empty());
        let locale = locale.unwrap_or_default().to_ascii_lowercase();
        let unicode = locale.contains("utf-8") || locale.contains("utf8");
        let (term, more) = (variable("TERM"), variable("COLORTERM"));
        let colours = match () {
            () if !unicode || !variable("NO_COLOR").is_empty() => Colours::None,
            () if more == "truecolor" || more == "24bit" || term.ends_with("-direct") => Colours::True,
            () if term.contains("256color") => Colours::Cube,
            () => Colours::None,
        };
        Abilities { colours, unicode }
    }
}

impl Colours {
    /// The control sequence (ECMA-48, and ISO 8613-6 for colours) for text of one colour on another.
    pub fn sequence(self, over: [u8; 3], under: [u8; 3]) -> String {
        match self {
            Colours::None => String::new(),
            Colours::Cube => format!("\x1b[38;5;{};48;5;{}m", cube(over), cube(under)),
            Colours::True => {
                let ([r, g, b], [x, y, z]) = (over, under);
                format!("\x1b[38;2;{r};{g};{b};48;2;{x};{y};{z}m")
            }
        }
    }

    /// The same for text on the terminal's own ground.
    pub fn text(self, colour: [u8; 3]) -> String {
        let [r, g, b] = colour;
        match self {
            Colours::None => String::new(),
            Colours::Cube => format!("\x1b[38;5;{}m", cube(colour)),
            Colours::True => format!("\x1b[38;2;{r};{g};{b}m"),
        }
    }
}

/// The nearest colour of the cube, whose levels are 0, 95, 135, 175, 215, 255.
fn cube(colour: [u8; 3]) -> u16 {
    let [r, g, b] = colour.map(|v| match v {
        0..48 => 0,
        48..115 => 1,
        _ => (u16::from(v) - 35) / 40,
    });
    16 + 36 * r + 6 * g + b
}

/// A terminal as it is now: it may have been resized since the last screen.
#[derive(Debug, Clone, Copy)]
pub struct Terminal {
    /// Rows; `None`: it does not tell.
    pub rows: Option<usize>,
    /// Characters a row.
    pub columns: usize,
    /// What it can show.
    pub can: Abilities,
}

impl Terminal {
    /// The terminal behind `out`.
    pub fn of(out: &impl AsFd, can: Abilities) -> Terminal {
        let size = rustix::termios::tcgetwinsize(out).ok();
        let side = |side: u16| Some(usize::from(side)).filter(|side| *side > 0);
        let columns = size.and_then(|size| side(size.ws_col)).unwrap_or(80);
        Terminal { rows: size.and_then(|size| side(size.ws_row)), columns, can }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_only_for_terminals_that_can_show_them() {
        let of = |set: &[(&str, &str)]| {
            Abilities::of(|name| set.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()).unwrap_or_default())
        };
        let colours = |set: &[(&str, &str)]| of(set).colours;
        let utf8 = ("LANG", "C.UTF-8");
        assert_eq!(colours(&[utf8, ("TERM", "xterm-256color"), ("COLORTERM", "truecolor")]), Colours::True);
        assert_eq!(colours(&[("LC_ALL", "de_DE.utf8"), ("TERM", "xterm-direct")]), Colours::True);
        assert_eq!(colours(&[utf8, ("TERM", "screen-256color")]), Colours::Cube);
        assert_eq!(colours(&[utf8, ("TERM", "xterm-256color"), ("NO_COLOR", "1")]), Colours::None);
        assert_eq!(colours(&[utf8, ("LC_ALL", "C"), ("TERM", "xterm-256color")]), Colours::None);
        assert_eq!(colours(&[utf8, ("TERM", "vt100")]), Colours::None);
        assert_eq!(colours(&[]), Colours::None);
        assert!(
            of(&[utf8, ("NO_COLOR", "1")]).unicode && !of(&[utf8, ("LC_ALL", "POSIX")]).unicode && !of(&[]).unicode
        );
    }

    #[test]
    fn the_nearest_colour_of_the_cube_is_taken() {
        assert_eq!(Colours::Cube.sequence([0, 0, 0], [255, 255, 255]), "\x1b[38;5;16;48;5;231m");
        assert_eq!(Colours::Cube.sequence([95, 135, 175], [215, 40, 120]), "\x1b[38;5;67;48;5;162m");
        assert_eq!(Colours::Cube.text([95, 135, 175]), "\x1b[38;5;67m");
        assert_eq!(Colours::True.sequence([1, 2, 3], [4, 5, 6]), "\x1b[38;2;1;2;3;48;2;4;5;6m");
        assert_eq!(Colours::True.text([1, 2, 3]), "\x1b[38;2;1;2;3m");
    }
}
