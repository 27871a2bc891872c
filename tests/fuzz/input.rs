//! The fuzzer's bytes as a sequence of choices. After the last byte, all choices are 0.

/// The remaining bytes.
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Input(bytes)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((byte, rest)) => {
                self.0 = rest;
                *byte
            }
            None => 0,
        }
    }

    pub fn bit(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// 0 to 65535.
    pub fn short(&mut self) -> usize {
        usize::from(u16::from_be_bytes([self.byte(), self.byte()]))
    }

    /// A number of bytes: mostly few, sometimes more than a frame or a buffer holds.
    pub fn size(&mut self) -> usize {
        let byte = usize::from(self.byte());
        match byte {
            0..=127 => byte,
            128..=191 => (byte - 127) << 12,
            192..=223 => self.short(),
            224..=239 => 65_277 - 8 + (byte - 224),
            240..=254 => (byte - 239) << 16,
            _ => usize::MAX,
        }
    }

    /// At most `len` bytes, unchanged.
    pub fn take(&mut self, len: usize) -> &'a [u8] {
        let (head, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        head
    }

    /// All remaining bytes.
    pub fn rest(&mut self) -> &'a [u8] {
        self.take(usize::MAX)
    }

    /// One of `choices`.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::from(self.byte()) % choices.len()]
    }
}
