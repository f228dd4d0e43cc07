//! What comes back, put together from datagrams.

use std::{collections::hash_map::Entry, num::NonZeroU64};

use rustc_hash::FxHashMap;

use super::{
    DiagSocket, Dump, Malformed, ReadAt,
    wire::{NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR, NLMSG_NOOP, NLMSG_OVERRUN, messages},
};

/// An answer as far as it has come.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    sockets: Vec<DiagSocket>,
    malformed: u64,
    is_dump: bool,
    is_incomplete: bool,
}

impl Answer {
    /// Nothing yet; of a list of sockets, or of one socket.
    pub(crate) fn new(is_dump: bool) -> Self {
        Self { is_dump, ..Self::default() }
    }

    /// Whether the kernel has said that something is missing or was seen while it changed.
    pub(super) fn is_incomplete(&self) -> bool {
        self.is_incomplete
    }

    /// Takes in a datagram. Gives the code at the end of the answer: 0, or a negative errno.
    pub(crate) fn add(
        &mut self,
        datagram: &[u8],
        sequence: u32,
        at: ReadAt,
    ) -> Result<Option<i32>, Malformed> {
        for message in messages(datagram) {
            let message = message?;
            if message.seq != sequence {
                continue;
            }
            self.is_incomplete |= message.flags & NLM_F_DUMP_INTR != 0;
            match message.kind {
                NLMSG_DONE | NLMSG_ERROR => return message.code().map(Some),
                NLMSG_OVERRUN => self.is_incomplete = true,
                NLMSG_NOOP => {}
                _ => match DiagSocket::parse(&message, at) {
                    Ok(socket) => self.sockets.push(socket),
                    Err(_) => self.malformed += 1,
                },
            }
            if !self.is_dump {
                // The one reply to a question about one socket has nothing after it.
                return Ok(Some(0));
            }
        }
        Ok(None)
    }

    /// A socket that went from one place of the table to another during the walk is reported twice, as what it was
    /// and as what it became: the later report stays.
    pub(crate) fn finish(self) -> Dump {
        let mut sockets: Vec<DiagSocket> = Vec::with_capacity(self.sockets.len());
        let mut places: FxHashMap<NonZeroU64, usize> = FxHashMap::default();
        places.reserve(self.sockets.len());
        for socket in self.sockets {
            let place = socket.cookie.map(|cookie| places.entry(cookie));
            match place {
                Some(Entry::Occupied(place)) => sockets[*place.get()] = socket,
                Some(Entry::Vacant(place)) => {
                    place.insert(sockets.len());
                    sockets.push(socket);
                }
                None => sockets.push(socket),
            }
        }
        Dump { sockets, malformed: self.malformed }
    }
}

#[cfg(all(test, target_endian = "little"))]
mod tests {
    use super::{super::fixtures, *};

    fn datagram(parts: &[&str]) -> Vec<u8> {
        parts.iter().flat_map(|hex| fixtures::bytes(hex)).collect()
    }

    #[test]
    fn an_answer_ends_with_done_and_holds_each_socket_once() -> Result<(), Malformed> {
        let mut answer = Answer::new(true);
        let first = datagram(&[fixtures::FIN_WAIT2, fixtures::SYN_RECV]);
        assert_eq!(answer.add(&first, 1, fixtures::AT)?, None);
        // Its time-wait socket has meanwhile entered TIME_WAIT and is met again.
        let mut second = datagram(&[fixtures::FIN_WAIT2, fixtures::DONE, fixtures::LISTEN]);
        second[17] = 6;
        assert_eq!(answer.add(&second, 1, fixtures::AT)?, Some(0));
        let states: Vec<_> = answer.finish().sockets.iter().map(|socket| socket.state.name()).collect();
        assert_eq!(states, ["TIME_WAIT", "SYN_RECV"]);
        Ok(())
    }

    #[test]
    fn answers_to_earlier_questions_are_passed_over() -> Result<(), Malformed> {
        let mut answer = Answer::new(true);
        let old = datagram(&[fixtures::FIN_WAIT2, fixtures::DONE]);
        assert_eq!(answer.add(&old, 2, fixtures::AT)?, None);
        assert!(answer.sockets.is_empty());
        Ok(())
    }

    #[test]
    fn an_interrupted_dump_is_known_as_such_and_a_bad_socket_is_counted() -> Result<(), Malformed> {
        let mut answer = Answer::new(true);
        let mut bytes = datagram(&[fixtures::FIN_WAIT2, fixtures::LISTEN]);
        bytes[6] = 0x12;
        bytes[16] = 0;
        assert_eq!(answer.add(&bytes, 1, fixtures::AT)?, None);
        assert!(answer.is_incomplete);
        assert_eq!((answer.malformed, answer.sockets.len()), (1, 1));
        Ok(())
    }
}
