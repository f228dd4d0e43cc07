//! For Graphviz: `tcptrace hist --diagram dot | dot -Tsvg`.

use std::fmt::Write as _;

use super::{Diagram, USUAL};

pub(super) fn draw(diagram: &Diagram) -> String {
    let mut text = String::from(
        "digraph tcp {\n  node [shape=box, fontname=\"sans-serif\"];\n  edge [fontname=\"sans-serif\", fontsize=10];\n",
    );
    // Writing to a String cannot fail.
    let _ = writeln!(text, "  label=\"{}\";", diagram.title());
    let usual = USUAL.iter().map(|(from, to)| diagram.arrow(*from, *to));
    for arrow in usual.chain(diagram.others(&USUAL)) {
        let (from, to) = (arrow.from.name(), arrow.to.name());
        let style = match (arrow.count, USUAL.contains(&(arrow.from, arrow.to))) {
            (0, _) => "style=dotted, color=gray60, fontcolor=gray60",
            (_, true) => "color=black",
            (_, false) => "color=firebrick, fontcolor=firebrick",
        };
        let _ = writeln!(
            text,
            "  {from} -> {to} [label=\"{}\", penwidth={}, {style}];",
            arrow.label(),
            arrow.weight().max(1)
        );
    }
    text.push_str("}\n");
    text
}
