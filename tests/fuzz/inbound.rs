//! The receive buffer, compared with a plain list of its contents.

#![no_main]

use libfuzzer_sys::fuzz_target;
use scat::protocol::cipher::Cipher;
use scat::protocol::frame::{Error, Kind};
use scat::protocol::inbound::{CAPACITY, Inbound, PIECES};
use scat_fuzz::input::Input;
use scat_fuzz::wire::Direction;
use std::collections::VecDeque;

const CIPHER: Cipher = Cipher::ChaChaPoly;
const KEY: [u8; 32] = [7; 32];
/// Bytes of frames that fit while the output is blocked.
const HELD: usize = 1 << 18;

/// Content for the output, and the size of the frames up to its end.
struct Waiting {
    content: Vec<u8>,
    frames: usize,
}

struct Game {
    inbound: Inbound,
    sealing: Direction,
    opening: Direction,
    /// Bytes made, but not given to the buffer yet.
    wire: Vec<u8>,
    /// Bytes given to the buffer, not opened yet.
    given: Vec<u8>,
    waiting: VecDeque<Waiting>,
    /// Bytes of frames without content after the last content that waits.
    bare: usize,
    made: u8,
}

impl Game {
    fn step(&mut self, input: &mut Input<'_>) {
        // Fatal actions are rarer, so that most games last for a while.
        let action = input.byte();
        let is_bold = action >= 220;
        match action % 11 {
            0 | 1 => {
                let len = input.size().min(65_535 - 19);
                self.frame(0, len, 0);
            }
            2 => self.frame(
                input.byte() % if is_bold { 10 } else { 8 },
                input.byte().into(),
                input.size(),
            ),
            // A length that reaches past the end, or close to it.
            3 if is_bold => {
                let len = input.size().clamp(4, 1000);
                let clen =
                    if input.bit() { input.short() } else { len - 4 + input.pick(&[1, 2, 3]) };
                let mut plain = vec![0; len];
                plain[1..3].copy_from_slice(&(clen as u16).to_be_bytes());
                self.wire.extend(self.sealing.seal(&plain));
            }
            4 if is_bold => {
                let len = input.byte();
                self.wire.extend_from_slice(input.take(len.into()));
            }
            5 if is_bold => {
                let at = input.short();
                if let Some(byte) = self.wire.get_mut(at) {
                    *byte ^= 1 << (input.byte() % 8);
                }
            }
            6 => self.give(input.size()),
            7 => self.write(input.size()),
            8 => {
                self.inbound.discard();
                self.waiting.clear();
                self.bare = 0;
            }
            // Sealed, but shorter than any frame.
            9 if is_bold => {
                let len = input.byte() % 4;
                self.wire.extend(self.sealing.seal(&[0; 3][..usize::from(len.min(2))]));
            }
            _ => self.give(usize::MAX),
        }
    }

    /// A frame of `kind` with `clen` bytes and padding.
    fn frame(&mut self, kind: u8, clen: usize, padding: usize) {
        let mut plain = vec![kind, (clen >> 8) as u8, clen as u8];
        self.made = self.made.wrapping_add(1);
        plain.extend((0..clen).map(|at| (at % 251) as u8 ^ self.made));
        plain.resize(plain.len() + padding.min(65_535 - 16 - plain.len()), 0);
        self.wire.extend(self.sealing.seal(&plain));
    }

    fn give(&mut self, most: usize) {
        let space = self.inbound.space();
        let n = most.min(space.len()).min(self.wire.len());
        space[..n].copy_from_slice(&self.wire[..n]);
        self.inbound.received(n);
        self.given.extend(self.wire.drain(..n));
    }

    /// Opens everything that has arrived. Returns false once a frame was fatal.
    fn open(&mut self) -> bool {
        loop {
            let expected = self.expect();
            match (self.inbound.open(), expected) {
                (Ok(None), Ok(None)) => return true,
                (Ok(Some((kind, got))), Ok(Some((code, content, len)))) => {
                    assert!(kind as u8 == code && got == content, "another frame");
                    self.inbound.accept();
                    self.bare += len;
                    if kind == Kind::Data && !content.is_empty() {
                        let frames = std::mem::take(&mut self.bare);
                        self.waiting.push_back(Waiting { content, frames });
                    }
                }
                (Err(got), Err(err)) => {
                    assert_eq!(got, err);
                    return false;
                }
                (got, expected) => panic!("{:?} for {:?}", got.is_ok(), expected.is_ok()),
            }
        }
    }

    /// Opens a frame by scat-protocol(7).
    fn expect(&mut self) -> Result<Option<(u8, Vec<u8>, usize)>, Error> {
        let Some((len, rest)) = self.given.split_first_chunk() else { return Ok(None) };
        let len = usize::from(u16::from_be_bytes(*len));
        if len < 19 {
            return Err(Error::Short);
        }
        let Some(sealed) = rest.get(..len) else { return Ok(None) };
        let plain = self.opening.open(sealed).ok_or(Error::Forged)?;
        self.given.drain(..2 + len);
        let clen = usize::from(u16::from_be_bytes([plain[1], plain[2]]));
        if plain[0] > 8 {
            return Err(Error::Kind);
        }
        let content = plain.get(3..3 + clen).ok_or(Error::Clen)?;
        Ok(Some((plain[0], content.to_vec(), 2 + len)))
    }

    fn write(&mut self, most: usize) {
        let shown = self.inbound.plain();
        let mut n: usize = shown.iter().map(|piece| piece.len()).sum();
        n = n.min(most);
        self.inbound.written(n);
        while let Some(first) = self.waiting.front_mut() {
            let len = n.min(first.content.len());
            first.content.drain(..len);
            n -= len;
            if !first.content.is_empty() {
                break;
            }
            self.waiting.pop_front();
        }
    }

    fn check(&mut self) {
        let len: usize = self.waiting.iter().map(|waiting| waiting.content.len()).sum();
        assert_eq!(self.inbound.plain_len(), len);
        let pieces = self.inbound.plain();
        let mut shown = pieces.iter().filter(|piece| !piece.is_empty());
        for waiting in self.waiting.iter().take(PIECES) {
            assert!(**shown.next().expect("a piece") == *waiting.content, "other bytes come out");
        }
        assert!(shown.next().is_none(), "a piece too many");
        // However much waits for the output, this much more can be read.
        let frames: usize = self.waiting.iter().map(|waiting| waiting.frames).sum();
        let held = frames + self.bare + self.given.len();
        let has_space = self.inbound.has_space();
        assert!(has_space || held > HELD, "{held} bytes held, and no space");
        assert!(has_space || !self.waiting.is_empty(), "no space, and nothing to write");
        let space = self.inbound.space().len();
        assert!(has_space == (space > 0) && space <= CAPACITY);
        if self.waiting.is_empty() {
            self.bare = 0;
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let mut game = Game {
        inbound: Inbound::new(CIPHER, &KEY, vec![0; CAPACITY].into()),
        sealing: Direction::new(CIPHER, KEY),
        opening: Direction::new(CIPHER, KEY),
        wire: Vec::new(),
        given: Vec::new(),
        waiting: VecDeque::new(),
        bare: 0,
        made: 0,
    };
    for _ in 0..200 {
        if input.is_empty() {
            break;
        }
        game.step(&mut input);
        if !game.open() {
            return;
        }
        game.check();
    }
});
