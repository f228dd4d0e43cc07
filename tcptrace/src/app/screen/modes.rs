//! What the terminal can show: colours, the ground they are on, and Unicode, as asked for and as the environment says.

use std::ffi::OsString;

use crate::{
    cli::{ColorChoice, Theme as ThemeChoice},
    output::tui::{
        Options,
        glyphs::{ASCII, UNICODE},
        theme::{Depth, Ground, Theme},
    },
};

/// What was asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Asked {
    /// `--color`
    pub(super) color: ColorChoice,
    /// `--theme`
    pub(super) theme: ThemeChoice,
    /// `--ascii`
    pub(super) ascii: bool,
}

/// How the view is to look; `variable` reads the environment.
pub(super) fn options(asked: Asked, variable: impl Fn(&str) -> Option<OsString>) -> Options {
    let variable = |name: &str| -> Option<String> {
        variable(name).map(|value| value.to_string_lossy().into_owned()).filter(|value| !value.is_empty())
    };
    let theme = Theme { depth: depth(asked, &variable), ground: ground(asked.theme, &variable) };
    let is_ascii = asked.ascii || !has_utf8(&variable);
    Options { theme, glyphs: if is_ascii { &ASCII } else { &UNICODE } }
}

/// `NO_COLOR`: <https://no-color.org>; `COLORTERM`: <https://github.com/termstandard/colors>.
fn depth(asked: Asked, variable: &impl Fn(&str) -> Option<String>) -> Depth {
    let term = variable("TERM").unwrap_or_default();
    let has_none = || {
        let is_plain = ["dumb", "vt100", "vt102", "vt220"].contains(&&*term) || term.ends_with("-mono");
        term.is_empty() || is_plain || variable("NO_COLOR").is_some()
    };
    if asked.theme == ThemeChoice::Mono
        || asked.color == ColorChoice::Never
        || (asked.color == ColorChoice::Auto && has_none())
    {
        return Depth::Mono;
    }
    let has_all = variable("COLORTERM").is_some_and(|value| value == "truecolor" || value == "24bit")
        || term.ends_with("-direct");
    if has_all { Depth::True } else { Depth::Sixteen }
}

/// `COLORFGBG`: the numbers of foreground and background, with something between them or not.
fn ground(asked: ThemeChoice, variable: &impl Fn(&str) -> Option<String>) -> Ground {
    let is_light = match asked {
        ThemeChoice::Light => true,
        ThemeChoice::Dark => false,
        ThemeChoice::Auto | ThemeChoice::Mono => {
            let background = variable("COLORFGBG").and_then(|value| value.rsplit(';').next()?.parse().ok());
            matches!(background, Some(7u8 | 9..=15))
        }
    };
    if is_light { Ground::Light } else { Ground::Dark }
}

/// Of the variables of the locale the first one that is set counts, as in setlocale(3).
fn has_utf8(variable: &impl Fn(&str) -> Option<String>) -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(variable).unwrap_or_default();
    let locale = locale.to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(asked: Asked, variables: &[(&str, &str)]) -> (Depth, Ground, bool) {
        let options = options(asked, |name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
        });
        (options.theme.depth, options.theme.ground, options.glyphs.is_ascii)
    }

    #[test]
    fn as_many_colours_as_there_are() {
        let xterm = ("TERM", "xterm-256color");
        let auto = Asked::default();
        let always = Asked { color: ColorChoice::Always, ..auto };
        let never = Asked { color: ColorChoice::Never, ..auto };
        let mono = Asked { theme: ThemeChoice::Mono, ..always };
        for (asked, variables, depth) in [
            (auto, &[xterm][..], Depth::Sixteen),
            (auto, &[xterm, ("COLORTERM", "truecolor")], Depth::True),
            (auto, &[xterm, ("COLORTERM", "24bit")], Depth::True),
            (auto, &[xterm, ("COLORTERM", "yes")], Depth::Sixteen),
            (auto, &[("TERM", "xterm-direct")], Depth::True),
            (auto, &[], Depth::Mono),
            (auto, &[("TERM", "dumb"), ("COLORTERM", "truecolor")], Depth::Mono),
            (auto, &[("TERM", "vt220")], Depth::Mono),
            (auto, &[xterm, ("NO_COLOR", "1")], Depth::Mono),
            (auto, &[xterm, ("NO_COLOR", "")], Depth::Sixteen),
            (always, &[xterm, ("NO_COLOR", "1")], Depth::Sixteen),
            (never, &[xterm, ("COLORTERM", "truecolor")], Depth::Mono),
            (mono, &[xterm, ("COLORTERM", "truecolor")], Depth::Mono),
        ] {
            assert_eq!(of(asked, variables).0, depth, "{asked:?} {variables:?}");
        }
    }

    #[test]
    fn light_where_somebody_says_so() {
        let auto = Asked::default();
        let light = Asked { theme: ThemeChoice::Light, ..auto };
        let dark = Asked { theme: ThemeChoice::Dark, ..auto };
        for (asked, value, ground) in [
            (auto, "", Ground::Dark),
            (auto, "15;0", Ground::Dark),
            (auto, "0;15", Ground::Light),
            (auto, "0;default;15", Ground::Light),
            (auto, "0;7", Ground::Light),
            (auto, "15;8", Ground::Dark),
            (auto, "15;default", Ground::Dark),
            (auto, "256;256", Ground::Dark),
            (light, "15;0", Ground::Light),
            (dark, "0;15", Ground::Dark),
        ] {
            assert_eq!(of(asked, &[("COLORFGBG", value)]).1, ground, "{asked:?} {value}");
        }
    }

    #[test]
    fn unicode_only_where_the_locale_has_it() {
        let auto = Asked::default();
        for (asked, variables, is_ascii) in [
            (auto, &[("LANG", "en_US.UTF-8")][..], false),
            (auto, &[("LANG", "C.utf8")], false),
            (auto, &[("LC_ALL", "C"), ("LANG", "en_US.UTF-8")], true),
            (auto, &[("LC_ALL", ""), ("LC_CTYPE", "de_DE.UTF-8"), ("LANG", "C")], false),
            (auto, &[("LANG", "de_DE.ISO-8859-1")], true),
            (auto, &[], true),
            (Asked { ascii: true, ..auto }, &[("LANG", "en_US.UTF-8")], true),
        ] {
            assert_eq!(of(asked, variables).2, is_ascii, "{variables:?}");
        }
    }
}
