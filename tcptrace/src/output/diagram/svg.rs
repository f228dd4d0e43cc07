//! A picture: thicker arrows for what happens more often, by powers of ten.

use std::fmt::Write as _;

use super::{Arrow, Diagram, USUAL};
use crate::model::TcpState;

const WIDTH: i32 = 860;
/// Of the picture without what is on no arrow.
const HEIGHT: i32 = 800;
const LINE: i32 = 20;

/// Half of a box.
const HALF: (i32, i32) = (65, 18);

/// A state's box: its centre. CLOSE is there twice, where lives begin and where they end.
const fn place(state: TcpState) -> (i32, i32) {
    match state {
        TcpState::Close => (430, 760),
        TcpState::Listen => (200, 160),
        TcpState::SynSent => (660, 160),
        TcpState::SynRecv => (200, 270),
        TcpState::Established => (430, 350),
        TcpState::FinWait1 => (200, 450),
        TcpState::FinWait2 => (200, 570),
        TcpState::Closing => (430, 540),
        TcpState::TimeWait => (300, 670),
        TcpState::CloseWait => (660, 450),
        TcpState::LastAck => (660, 570),
    }
}

const BEGINNING: (i32, i32) = (430, 60);

/// Where an arrow goes, where its label is and what hands over: points of a line, and the label's place and anchor.
struct Route {
    points: &'static [(i32, i32)],
    label: (i32, i32),
    is_left_of: bool,
}

const fn route(points: &'static [(i32, i32)], label: (i32, i32), is_left_of: bool) -> Route {
    Route { points, label, is_left_of }
}

/// In the order of [`USUAL`].
const ROUTES: [Route; 16] = [
    route(&[(365, 60), (200, 60), (200, 142)], (192, 100), true),
    route(&[(495, 60), (660, 60), (660, 142)], (668, 100), false),
    route(&[(200, 178), (200, 252)], (192, 215), true),
    route(&[(620, 178), (620, 270), (265, 270)], (440, 262), false),
    route(&[(660, 178), (660, 350), (495, 350)], (668, 250), false),
    route(&[(200, 288), (200, 350), (365, 350)], (192, 325), true),
    route(&[(390, 368), (390, 410), (200, 410), (200, 432)], (192, 402), true),
    route(&[(470, 368), (470, 410), (660, 410), (660, 432)], (668, 402), false),
    route(&[(200, 468), (200, 552)], (208, 515), false),
    route(&[(265, 450), (430, 450), (430, 522)], (438, 490), false),
    route(&[(135, 450), (110, 450), (110, 670), (235, 670)], (102, 560), true),
    route(&[(255, 588), (255, 652)], (247, 625), true),
    route(&[(430, 558), (430, 670), (365, 670)], (438, 615), false),
    route(&[(300, 688), (300, 760), (365, 760)], (292, 730), true),
    route(&[(660, 468), (660, 552)], (668, 515), false),
    route(&[(660, 588), (660, 760), (495, 760)], (668, 680), false),
];

pub(super) fn draw(diagram: &Diagram) -> String {
    let others = diagram.others(&USUAL);
    let lines = i32::try_from(others.len()).unwrap_or(i32::MAX / LINE);
    let more = if others.is_empty() { 0 } else { (lines + 2) * LINE };
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" font-family=\"sans-serif\" font-size=\"13\">",
        height = HEIGHT + more
    );
    text.push_str(
        "<style>\n\
         rect.page { fill: #ffffff } rect.state { fill: #eef3fb; stroke: #2f4a73; stroke-width: 1.5 }\n\
         text { fill: #1b2430 } text.state { font-weight: bold; text-anchor: middle }\n\
         text.left { text-anchor: end } text.never { fill: #8a929c }\n\
         path { fill: none; stroke: #2f4a73 } path.never { stroke: #b6bdc6; stroke-dasharray: 3 4 }\n\
         marker path { fill: #2f4a73; stroke: none } marker.never path { fill: #b6bdc6 }\n\
         @media (prefers-color-scheme: dark) {\n\
         rect.page { fill: #14181e } rect.state { fill: #223047; stroke: #8fb0e3 } text { fill: #e3e8ef }\n\
         path { stroke: #8fb0e3 } marker path { fill: #8fb0e3 } text.never { fill: #7b8592 }\n\
         path.never { stroke: #4b5563 } marker.never path { fill: #4b5563 }\n\
         }\n</style>\n",
    );
    for class in ["seen", "never"] {
        let _ = writeln!(
            text,
            "<marker id=\"{class}\" class=\"{class}\" viewBox=\"0 0 10 10\" refX=\"9\" refY=\"5\" \
             markerWidth=\"15\" markerHeight=\"15\" markerUnits=\"userSpaceOnUse\" orient=\"auto\">\
             <path d=\"M0 0 L10 5 L0 10 z\"/></marker>"
        );
    }
    let _ = writeln!(text, "<rect class=\"page\" width=\"100%\" height=\"100%\"/>");
    let _ = writeln!(text, "<text x=\"16\" y=\"26\">{}</text>", diagram.title());
    for ((from, to), route) in USUAL.into_iter().zip(&ROUTES) {
        arrow(&mut text, &diagram.arrow(from, to), route);
    }
    for state in TcpState::ALL {
        state_box(&mut text, state, place(state));
    }
    state_box(&mut text, TcpState::Close, BEGINNING);
    if !others.is_empty() {
        let mut y = HEIGHT + LINE;
        let _ = writeln!(
            text,
            "<text x=\"40\" y=\"{y}\">Not on an arrow (resets, refusals, time-outs, listeners that end):</text>"
        );
        for other in others {
            y += LINE;
            let (from, to, label) = (other.from.name(), other.to.name(), other.label());
            let _ = writeln!(text, "<text x=\"60\" y=\"{y}\">{from} \u{2192} {to}: {label}</text>");
        }
    }
    text.push_str("</svg>\n");
    text
}

fn arrow(text: &mut String, arrow: &Arrow, route: &Route) {
    let points: Vec<String> = route.points.iter().map(|(x, y)| format!("{x} {y}")).collect();
    let class = if arrow.count > 0 { "seen" } else { "never" };
    let width = f64::from(arrow.weight().max(1)) * 0.9;
    let _ = writeln!(
        text,
        "<path class=\"{class}\" d=\"M{}\" stroke-width=\"{width:.1}\" marker-end=\"url(#{class})\">\
         <title>{} \u{2192} {}</title></path>",
        points.join(" L"),
        arrow.from.name(),
        arrow.to.name()
    );
    let side = if route.is_left_of { " left" } else { "" };
    let (x, y) = route.label;
    let _ = writeln!(text, "<text class=\"{class}{side}\" x=\"{x}\" y=\"{y}\">{}</text>", arrow.label());
}

fn state_box(text: &mut String, state: TcpState, (x, y): (i32, i32)) {
    let (half_width, half_height) = HALF;
    let _ = writeln!(
        text,
        "<rect class=\"state\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"6\"/>\
         <text class=\"state\" x=\"{x}\" y=\"{}\">{}</text>",
        x - half_width,
        y - half_height,
        2 * half_width,
        2 * half_height,
        y + 5,
        state.name()
    );
}
