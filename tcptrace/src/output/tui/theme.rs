//! Colours and weights: dark and light, from none over sixteen to all of them.

use ratatui::style::{Color, Modifier, Style};

use crate::model::TcpState;

/// What a terminal can show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Depth {
    /// No colours: weight, underline and reverse say it all.
    Mono,
    /// The sixteen of the terminal's own palette.
    #[default]
    Sixteen,
    /// Red, green and blue of 8 bits each.
    True,
}

/// What stands behind the text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ground {
    /// Light on dark.
    #[default]
    Dark,
    /// Dark on light.
    Light,
}

/// How urgent something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tone {
    /// As it should be.
    Good,
    /// Worth knowing.
    Info,
    /// Look at it.
    Warning,
    /// Now.
    Critical,
}

/// The styles of one terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Theme {
    /// What the terminal can show.
    pub depth: Depth,
    /// What stands behind the text.
    pub ground: Ground,
}

impl Theme {
    /// A colour of the palette, and the one that is meant where there are all of them.
    fn color(self, sixteen: Color, (dark, light): (u32, u32)) -> Style {
        match self.depth {
            Depth::Mono => Style::new(),
            Depth::Sixteen => Style::new().fg(sixteen),
            Depth::True => Style::new().fg(Color::from_u32(match self.ground {
                Ground::Dark => dark,
                Ground::Light => light,
            })),
        }
    }

    /// Text.
    pub const fn text(self) -> Style {
        Style::new()
    }

    /// Text that matters more.
    pub const fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// Text that matters less.
    pub fn dim(self) -> Style {
        match self.depth {
            Depth::Mono => Style::new().add_modifier(Modifier::DIM),
            _ => self.color(Color::DarkGray, (0x008a_8f98, 0x006a_6f78)),
        }
    }

    /// Names of columns and of what stands left of a number.
    pub fn label(self) -> Style {
        self.color(
            match self.ground {
                Ground::Dark => Color::Cyan,
                Ground::Light => Color::Blue,
            },
            (0x0078_c0d8, 0x0000_5f87),
        )
    }

    /// Headings, the page that is shown.
    pub fn title(self) -> Style {
        self.label().add_modifier(Modifier::BOLD)
    }

    /// The row that is selected.
    pub const fn selected(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// Something of that urgency.
    pub fn tone(self, tone: Tone) -> Style {
        let is_dark = matches!(self.ground, Ground::Dark);
        match tone {
            Tone::Good => self.color(Color::Green, (0x0087_c38a, 0x0020_7030)),
            Tone::Info => {
                self.color(if is_dark { Color::Cyan } else { Color::Blue }, (0x0078_c0d8, 0x0000_5f87))
            }
            Tone::Warning => self
                .color(if is_dark { Color::Yellow } else { Color::Magenta }, (0x00e5_b567, 0x009a_5b00))
                .add_modifier(Modifier::BOLD),
            Tone::Critical => {
                let style = self.color(Color::Red, (0x00f0_7178, 0x00b0_1010)).add_modifier(Modifier::BOLD);
                if self.depth == Depth::Mono { style.add_modifier(Modifier::UNDERLINED) } else { style }
            }
        }
    }

    /// A state, wherever it is named or drawn.
    pub fn state(self, state: TcpState) -> Style {
        match state {
            TcpState::Established => self.color(Color::Green, (0x0087_c38a, 0x0020_7030)),
            TcpState::Listen => self.color(Color::Blue, (0x006f_9fe0, 0x0020_50a0)),
            TcpState::SynSent | TcpState::SynRecv => self.color(
                if self.ground == Ground::Dark { Color::Cyan } else { Color::Blue },
                (0x0078_c0d8, 0x0000_5f87),
            ),
            TcpState::CloseWait => self.color(Color::Red, (0x00f0_7178, 0x00b0_1010)),
            TcpState::FinWait1 | TcpState::FinWait2 | TcpState::Closing | TcpState::LastAck => self.color(
                if self.ground == Ground::Dark { Color::Yellow } else { Color::Magenta },
                (0x00e5_b567, 0x009a_5b00),
            ),
            TcpState::TimeWait => self.color(Color::Magenta, (0x00c6_92e0, 0x0080_3090)),
            TcpState::Close => self.dim(),
        }
    }

    /// From fresh (0) to stale (1).
    pub fn staleness(self, share: f64) -> Style {
        let share = share.clamp(0.0, 1.0);
        if self.depth == Depth::True {
            return self.color(
                Color::Reset,
                (blend(share, [0x00c8_ccd4, 0x00e5_b567, 0x00f0_7178]), {
                    blend(share, [0x0030_3338, 0x009a_5b00, 0x00b0_1010])
                }),
            );
        }
        match share {
            0.0..0.4 => self.text(),
            0.4..0.75 => self.tone(Tone::Warning).remove_modifier(Modifier::BOLD),
            _ => self.tone(Tone::Critical),
        }
    }
}

/// Between three colours.
fn blend(share: f64, [from, over, to]: [u32; 3]) -> u32 {
    let (from, to, share) =
        if share < 0.5 { (from, over, share * 2.0) } else { (over, to, share * 2.0 - 1.0) };
    let channel = |shift: u32| {
        let (from, to) = (f64::from(from >> shift & 0xff), f64::from(to >> shift & 0xff));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between two bytes")]
        let mixed = (from + (to - from) * share).round() as u32;
        mixed << shift
    };
    channel(16) | channel(8) | channel(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn between_colours() {
        let ends = [0x0000_0000, 0x0080_8080, 0x00ff_00ff];
        assert_eq!(blend(0.0, ends), 0);
        assert_eq!(blend(0.5, ends), 0x0080_8080);
        assert_eq!(blend(1.0, ends), 0x00ff_00ff);
    }

    #[test]
    fn without_colours_there_are_none() {
        let theme = Theme { depth: Depth::Mono, ground: Ground::Dark };
        let styles = TcpState::ALL.map(|state| theme.state(state));
        let tones = [Tone::Good, Tone::Info, Tone::Warning, Tone::Critical].map(|tone| theme.tone(tone));
        for style in styles.into_iter().chain(tones).chain([theme.staleness(1.0), theme.label(), theme.dim()])
        {
            assert_eq!((style.fg, style.bg), (None, None));
        }
    }
}
