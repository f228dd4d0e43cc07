//! Which inputs are worth to be committed: few and small ones that reach much.

use std::{
    collections::{BinaryHeap, HashMap, HashSet},
    path::PathBuf,
};

use anyhow::{Context as _, Result};

/// Files of a corpus, at most.
pub(super) const MAX_FILES: usize = 100;
/// Bytes of a corpus, at most.
pub(super) const MAX_BYTES: u64 = 200_000;

/// An input, and what it reaches.
struct Input<'a> {
    path: &'a str,
    size: u64,
    features: Vec<u32>,
}

/// From what libFuzzer has noted of a merge (`-merge_control_file`), each time the input that adds most, as long as there is
/// room and something to add. Of all that fits, this reaches two thirds at least.
pub(super) fn choose(notes: &str) -> Result<Vec<PathBuf>> {
    let inputs = read(notes).context("the notes of libFuzzer's merge are not understood")?;
    let mut reached: HashSet<u32> = HashSet::new();
    let mut chosen = Vec::new();
    let mut room = MAX_BYTES;
    let gain = |input: &Input<'_>, reached: &HashSet<u32>| {
        input.features.iter().filter(|feature| !reached.contains(feature)).count()
    };
    // What an input adds becomes less with each one that is chosen: a number from before says how much at most. Of two that
    // add the same, the smaller one, then the first one.
    let order = |index: usize, gain: usize| {
        let path = std::cmp::Reverse(inputs[index].path);
        (gain, std::cmp::Reverse(inputs[index].size), path, index)
    };
    let mut waiting: BinaryHeap<_> =
        inputs.iter().enumerate().map(|(index, input)| order(index, input.features.len())).collect();
    while let Some((before, .., index)) = waiting.pop()
        && chosen.len() < MAX_FILES
    {
        let input = &inputs[index];
        let now = gain(input, &reached);
        if now == 0 || input.size > room {
            continue;
        }
        if now < before {
            waiting.push(order(index, now));
            continue;
        }
        room -= input.size;
        reached.extend(&input.features);
        chosen.push(PathBuf::from(input.path));
    }
    Ok(chosen)
}

/// Number of files, a number that does not matter here, the files, and of each `STARTED INDEX SIZE` and `FT INDEX FEATURE..`.
fn read(notes: &str) -> Option<Vec<Input<'_>>> {
    let mut lines = notes.lines();
    let count: usize = lines.next()?.parse().ok()?;
    lines.next()?;
    let paths: Vec<&str> = lines.by_ref().take(count).collect();
    let mut sizes: HashMap<usize, u64> = HashMap::new();
    let mut inputs = Vec::new();
    for line in lines {
        let mut words = line.split(' ');
        let (kind, index) = (words.next()?, words.next()?.parse().ok()?);
        match kind {
            "STARTED" => {
                sizes.insert(index, words.next()?.parse().ok()?);
            }
            "FT" => {
                let (path, size) = (*paths.get(index)?, *sizes.get(&index)?);
                inputs.push(Input { path, size, features: words.flat_map(str::parse).collect() });
            }
            _ => {}
        }
    }
    Some(inputs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(notes: &str) -> Vec<String> {
        let chosen = choose(notes).expect("is understood");
        chosen.iter().map(|path| path.display().to_string()).collect()
    }

    #[test]
    fn what_adds_most_comes_first_and_what_adds_nothing_not_at_all() {
        let notes = "5\n0\nfew\nmost\nsame but larger\nmore\ntoo large\n\
            STARTED 0 1\nFT 0 1\nCOV 0 1\nSTARTED 1 9\nFT 1 1 2 3\nCOV 1 2 3\nSTARTED 2 10\nFT 2 1 2 3\nSTARTED 3 5\n\
            FT 3 3 4 5\nSTARTED 4 1000000\nFT 4 1 2 3 4 5 6 7\n";
        assert_eq!(chosen(notes), ["more", "most"]);
        assert!(choose("").is_err() && choose("1\n0\na\nFT 0 1\n").is_err());
    }

    #[test]
    fn there_are_not_too_many() {
        let each = |line: fn(u32) -> String| (0..300).map(line).collect::<Vec<_>>().concat();
        let paths = each(|index| format!("file {index}\n"));
        let inputs = each(|index| format!("STARTED {index} 10\nFT {index} {index}\n"));
        assert_eq!(chosen(&format!("300\n0\n{paths}{inputs}")).len(), MAX_FILES);
    }
}
