//! The reader of symbols and of tables of callers, in a thread of its own: files are what others wrote, and no file may stop us.
//!
//! The thread has no capability. If it panics or does not answer in time it is given up, and the next one does not see
//! the file again.

use std::{
    path::PathBuf,
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::Duration,
};

use blazesym::symbolize::{
    CodeInfo, Input, Sym, Symbolizer,
    source::{Elf, Source},
};

use super::{
    demangle::{cut, demangled},
    unwind::{Module, Unwinder},
};
use crate::model::StackTop;

/// Reading the debug information of a browser takes some seconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// After so many given up there are no symbols any more: they may still be running.
const MAX_GIVEN_UP: u32 = 3;

/// Types and names in one another are read by recursion.
const STACK_BYTES: usize = 16 << 20;

/// How far to go into a file, by how far it is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Depth {
    /// Its table of symbols.
    Symbols,
    /// And the debug information in it.
    Debug,
    /// And the debug information in the files that it names.
    DebugAndLinks,
}

/// What is at an address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) name: String,
    /// Of the address in the symbol, in bytes.
    pub(super) offset: u64,
    pub(super) place: Place,
    /// Functions that were inlined there, the innermost last.
    pub(super) inlined: Vec<(String, Place)>,
}

/// A place in the source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) file: Option<String>,
    pub(super) line: Option<u32>,
}

/// The file made the reader fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Failed;

#[derive(Debug)]
enum Request {
    LookUp(PathBuf, Depth, Vec<u64>),
    Unwind(Vec<Module>, StackTop),
    Forget,
}

#[derive(Debug)]
enum Answer {
    Found(Vec<Option<Found>>),
    Callers(Vec<u64>),
}

#[derive(Debug)]
struct Reader {
    requests: Sender<Request>,
    answers: Receiver<Answer>,
}

/// Asks a reader, and gets another one if it fails.
#[derive(Debug, Default)]
pub(super) struct Engine {
    reader: Option<Reader>,
    given_up: u32,
}

impl Engine {
    /// What is at each of the offsets in a file, in bytes from its beginning. After a failure, all files are forgotten.
    pub(super) fn look_up(
        &mut self,
        path: PathBuf,
        depth: Depth,
        offsets: Vec<u64>,
    ) -> Result<Vec<Option<Found>>, Failed> {
        let count = offsets.len();
        match self.ask(Request::LookUp(path, depth, offsets))? {
            Answer::Found(found) if found.len() == count => Ok(found),
            _ => Err(self.give_up()),
        }
    }

    /// The instruction pointer and the callers, up to the first one that is in none of the modules. After a failure, all
    /// files are forgotten.
    pub(super) fn unwind(&mut self, modules: Vec<Module>, top: StackTop) -> Result<Vec<u64>, Failed> {
        match self.ask(Request::Unwind(modules, top))? {
            Answer::Callers(addrs) => Ok(addrs),
            Answer::Found(_) => Err(self.give_up()),
        }
    }

    fn ask(&mut self, request: Request) -> Result<Answer, Failed> {
        let answer = self.reader().and_then(|reader| {
            reader.requests.send(request).ok()?;
            reader.answers.recv_timeout(PATIENCE).ok()
        });
        answer.ok_or_else(|| self.give_up())
    }

    fn give_up(&mut self) -> Failed {
        self.reader = None;
        self.given_up += 1;
        Failed
    }

    /// Lets go of all files; their paths may mean others from now on.
    pub(super) fn forget(&mut self) {
        if let Some(reader) = &self.reader
            && reader.requests.send(Request::Forget).is_err()
        {
            self.reader = None;
        }
    }

    fn reader(&mut self) -> Option<&Reader> {
        if self.reader.is_none() && self.given_up < MAX_GIVEN_UP {
            let (requests, orders) = channel();
            let (results, answers) = channel();
            let thread = thread::Builder::new().name("symbols".to_owned()).stack_size(STACK_BYTES);
            thread.spawn(move || serve(&orders, &results)).ok()?;
            self.reader = Some(Reader { requests, answers });
        }
        self.reader.as_ref()
    }
}

/// Until nobody listens any more.
fn serve(requests: &Receiver<Request>, answers: &Sender<Answer>) {
    // Files come open; what is not readable without a capability is not meant to be read here.
    for set in [caps::CapSet::Ambient, caps::CapSet::Effective, caps::CapSet::Permitted] {
        let _ = caps::clear(None, set);
    }
    let mut symbolizer = None;
    let mut unwinder = Unwinder::default();
    for request in requests {
        let answer = match request {
            Request::LookUp(path, depth, offsets) => {
                let symbolizer = symbolizer.get_or_insert_with(Pair::new);
                Answer::Found(symbolizer.look_up(path, depth, &offsets))
            }
            Request::Unwind(modules, top) => Answer::Callers(unwinder.unwind(&modules, &top)),
            Request::Forget => {
                symbolizer = None;
                unwinder.forget();
                continue;
            }
        };
        if answers.send(answer).is_err() {
            return;
        }
    }
}

/// One that follows links to debug information and one that does not.
struct Pair {
    linking: Symbolizer,
    plain: Symbolizer,
}

impl Pair {
    fn new() -> Self {
        // Names are made readable by ourselves: theirs have no bound.
        let builder = || Symbolizer::builder().enable_demangling(false).enable_auto_reload(false);
        Self {
            linking: builder().build(),
            plain: builder().set_debug_dirs(Some(std::iter::empty::<PathBuf>())).build(),
        }
    }

    fn look_up(&self, path: PathBuf, depth: Depth, offsets: &[u64]) -> Vec<Option<Found>> {
        let symbolizer = if depth == Depth::DebugAndLinks { &self.linking } else { &self.plain };
        let mut elf = Elf::new(path);
        elf.debug_syms = depth != Depth::Symbols;
        let mut found = ask(symbolizer, &elf, offsets);
        if elf.debug_syms {
            // Debug information may be broken or lack a part, and often has names without the module they are in.
            elf.debug_syms = false;
            for (found, plain) in found.iter_mut().zip(ask(symbolizer, &elf, offsets)) {
                match (&mut *found, plain) {
                    (Some(found), Some(plain)) if is_fuller(&plain, found) => found.name = plain.name,
                    (Some(_), _) => {}
                    (None, plain) => *found = plain,
                }
            }
        }
        found
    }
}

/// Whether it is the same function, with more of its name.
fn is_fuller(plain: &Found, found: &Found) -> bool {
    let name = found.name.split('<').next().unwrap_or_default();
    plain.offset == found.offset && plain.name.len() > found.name.len() && plain.name.contains(name)
}

fn ask(symbolizer: &Symbolizer, elf: &Elf, offsets: &[u64]) -> Vec<Option<Found>> {
    match symbolizer.symbolize(&Source::Elf(elf.clone()), Input::FileOffset(offsets)) {
        Ok(symbols) => symbols.iter().map(|symbol| symbol.as_sym().map(found)).collect(),
        Err(_) => vec![None; offsets.len()],
    }
}

fn found(symbol: &Sym<'_>) -> Found {
    Found {
        name: demangled(&symbol.name),
        offset: symbol.offset as u64,
        place: place(symbol.code_info.as_deref()),
        inlined: symbol
            .inlined
            .iter()
            .take(super::MAX_FRAMES)
            .map(|inlined| (demangled(&inlined.name), place(inlined.code_info.as_ref())))
            .collect(),
    }
}

fn place(code: Option<&CodeInfo<'_>>) -> Place {
    let Some(code) = code else { return Place::default() };
    Place { file: Some(cut(&code.to_path().to_string_lossy())), line: code.line }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn look_up(engine: &mut Engine, content: &[u8], depth: Depth) -> Result<Vec<Option<Found>>, Failed> {
        let file = tempfile::NamedTempFile::new().expect("can be made");
        std::fs::write(file.path(), content).expect("is written");
        engine.look_up(file.path().to_owned(), depth, vec![0, 64, u64::MAX])
    }

    #[test]
    fn what_is_no_program_has_no_symbols() {
        let mut engine = Engine::default();
        for content in [&b""[..], b"\x7fELF", b"#!/bin/sh\n", &[0; 5000]] {
            assert_eq!(look_up(&mut engine, content, Depth::Debug), Ok(vec![None, None, None]));
        }
        assert_eq!(engine.look_up("/nonexistent".into(), Depth::Debug, vec![1]), Ok(vec![None]));
    }

    #[test]
    fn after_some_failures_there_are_no_symbols() {
        let mut engine = Engine { reader: None, given_up: MAX_GIVEN_UP - 1 };
        let (requests, _orders) = channel();
        let (results, answers) = channel();
        drop(results);
        engine.reader = Some(Reader { requests, answers });
        assert_eq!(look_up(&mut engine, b"", Depth::Debug), Err(Failed), "it ended");
        assert_eq!(look_up(&mut engine, b"", Depth::Debug), Err(Failed), "there is no other one");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// A program of our own, damaged. The reader may fail, we may not.
        #[test]
        fn no_damage_stops_us(damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..40)) {
            let mut content = std::fs::read("/bin/true").unwrap_or_default();
            prop_assume!(!content.is_empty());
            for (at, byte) in damage {
                // The headers at both ends, above all.
                let at = at.index(content.len());
                let at = if at % 3 == 0 { at } else { at % 1024 };
                content[at] = byte;
            }
            let _ = look_up(&mut Engine::default(), &content, Depth::Debug);
        }
    }
}
