//! Standard input and output: what their ends mean, and the rules for a terminal in the
//! background.

use crate::error::Error;
use crate::sys::poller::{Interest, Poller, STDIN, STDOUT};
use crate::sys::stream::{self, Inherited, Kind, Store, Stream};
use crate::sys::tty;
use crate::ui::caret::Caret;
use std::io::{self, IoSlice, IoSliceMut};

/// Rejects a stdin or stdout that cannot work, before there is a peer.
///
/// # Errors
/// [`Error::Input`] for a directory; [`Error::Output`] if received data would go to the
/// file of the messages. (If there is something to send, both may be logged to one file;
/// then the error comes with the first data.)
pub fn check() -> Result<(), Error> {
    let stdin = Kind::of(stream::stdin());
    if stdin == Some(Kind::Directory) {
        return Err(Error::Input(io::ErrorKind::IsADirectory.into()));
    }
    let has_data = matches!(stdin, Some(Kind::File | Kind::Pipe | Kind::Socket));
    match has_messages(stream::stdout()) && !has_data {
        true => Err(Error::Output(messages_among_data())),
        false => Ok(()),
    }
}

/// Sends nothing (`-d`): replaces standard input with `/dev/null`.
///
/// # Errors
/// [`Error::System`].
pub fn no_input() -> Result<(), Error> {
    stream::no_input().map_err(|err| Error::System("/dev/null", err))
}

/// Returns the redirection that the other end needs, if only this one's input or output
/// is redirected.
pub fn counterpart() -> &'static str {
    let is_data = |fd| matches!(Kind::of(fd), Some(Kind::File | Kind::Pipe | Kind::Socket));
    match (is_data(stream::stdin()), is_data(stream::stdout())) {
        (true, false) => " > FILE",
        (false, true) => " < FILE",
        _ => "",
    }
}

/// Whether standard error goes to the same regular file.
fn has_messages(stdout: Inherited) -> bool {
    stream::are_same(Kind::File, stdout, stream::stderr())
}

fn messages_among_data() -> io::Error {
    io::Error::other("messages go to the same file; redirect them: 2>log")
}

/// Both of them, opened before there is a peer.
pub struct Stdio {
    /// Standard input.
    pub input: Input,
    /// Standard output.
    pub output: Output,
}

impl Stdio {
    /// Uses descriptors 0 and 1.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn new(poller: &Poller) -> Result<Self, Error> {
        Self::over(stream::stdin(), stream::stdout(), poller)
    }

    /// Uses two other descriptors, for tests. `output` is closed at its end.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn over(input: Inherited, output: Inherited, poller: &Poller) -> Result<Self, Error> {
        let set_up = |err| Error::System("standard input and output", err);
        let input = Input::new(input, poller).map_err(set_up)?;
        let output = Output::new(output, poller).map_err(set_up)?;
        Ok(Stdio { input, output })
    }
}

/// Standard input.
pub struct Input {
    stream: Stream,
    /// An error seen after some bytes were read; the next call returns it.
    pending_error: Option<io::Error>,
}

impl Input {
    fn new(stdin: Inherited, poller: &Poller) -> io::Result<Self> {
        let mut stream = Stream::new(stdin, Interest::READABLE)?;
        stream.widen();
        stream.register(poller, STDIN)?;
        Ok(Input { stream, pending_error: None })
    }

    /// Whether it is a terminal.
    pub fn is_terminal(&self) -> bool {
        self.stream.is_terminal
    }

    /// Returns the bytes that it has, if known.
    pub fn rest_of_file(&self) -> Option<u64> {
        stream::rest_of_file(self.stream.fd())
    }

    /// Whether it was a terminal and has hung up.
    pub fn has_hung_up(&self) -> bool {
        self.is_terminal() && tty::has_hung_up(self.stream.fd())
    }

    /// Whether a read may succeed.
    pub fn is_ready(&self) -> bool {
        self.stream.ready
    }

    /// Records an event, or that the process was resumed and may now be in the
    /// foreground.
    pub fn set_ready(&mut self) {
        self.stream.ready = true;
    }

    /// Reads into `pieces`. Zero, without an error, means the end.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if there is no data yet, or if this is a terminal and scat
    /// is in its background; otherwise the system's.
    pub fn read(&mut self, pieces: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        if self.is_terminal() && !self.is_in_foreground() {
            self.stream.ready = false;
            return Err(io::ErrorKind::WouldBlock.into());
        }
        match self.read_full(pieces) {
            // A closed window is not Ctrl-D.
            Ok(0) if self.has_hung_up() => Err(io::ErrorKind::ConnectionAborted.into()),
            result => result,
        }
    }

    /// Reads until the frame is full or a pipe is empty, because one call may return less
    /// than a frame holds and full frames are cheaper.
    fn read_full(&mut self, mut pieces: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let mut len = 0;
        loop {
            match self.pending_error.take().map_or_else(|| self.stream.read(pieces), Err) {
                Ok(n) if n > 0 && self.stream.can_read_on() => {
                    IoSliceMut::advance_slices(&mut pieces, n);
                    len += n;
                    if pieces.iter().all(|piece| piece.is_empty()) {
                        return Ok(len);
                    }
                }
                // The end will be reported again.
                Ok(n) => return Ok(len + n),
                Err(err) if len == 0 => return Err(err),
                Err(err) => {
                    // The system may report an error only once.
                    let is_real = err.kind() != io::ErrorKind::WouldBlock;
                    self.pending_error = is_real.then_some(err);
                    return Ok(len);
                }
            }
        }
    }

    /// Drops what was typed but not entered, so that it does not reach the shell.
    pub fn discard_typed(&self) {
        if self.is_terminal() && self.is_in_foreground() {
            tty::discard_input(self.stream.fd());
        }
    }

    /// Whether it may be read. A terminal that is not the controlling one, or has hung
    /// up, has no background.
    fn is_in_foreground(&self) -> bool {
        tty::is_in_foreground(self.stream.fd()).unwrap_or(true)
    }
}

/// Standard output.
pub struct Output {
    /// `None` once it is closed.
    stream: Option<Stream>,
    /// For a terminal: everything else gets the bytes unchanged.
    caret: Option<Box<Caret>>,
    /// Bytes of the next data for a terminal that are known to be text.
    text: usize,
    /// For a regular file.
    store: Option<Store>,
    /// It is the file that standard error goes to. A pipe or a terminal for both can be
    /// intended, but messages in a file would corrupt the received data.
    has_messages: bool,
    /// A terminal may show what is written: it is one, or a pipe, which can end at one.
    may_be_shown: bool,
    /// An event reported that nobody reads it.
    is_unread: bool,
}

impl Output {
    fn new(stdout: Inherited, poller: &Poller) -> io::Result<Self> {
        let mut stream = Stream::new(stdout, Interest::WRITABLE)?;
        stream.widen();
        stream.register(poller, STDOUT)?;
        let is_piped = matches!(Kind::of(stdout), Some(Kind::Pipe | Kind::Socket));
        Ok(Output {
            may_be_shown: stream.is_terminal || is_piped,
            caret: stream.is_terminal.then(Box::default),
            text: 0,
            stream: Some(stream),
            store: Store::of(stdout)?,
            has_messages: has_messages(stdout),
            is_unread: false,
        })
    }

    /// Whether it is a terminal.
    pub fn is_terminal(&self) -> bool {
        self.caret.is_some()
    }

    /// Whether a terminal may show what is written: it is one, or a pipe, which can end at
    /// one.
    pub fn may_be_shown(&self) -> bool {
        self.may_be_shown
    }

    /// Whether nobody reads it any more, so that a write would fail. For a terminal, a
    /// signal reports that instead.
    pub fn is_unread(&self) -> bool {
        self.is_unread && !self.is_terminal()
    }

    /// Records that nobody reads it.
    pub fn set_unread(&mut self) {
        self.is_unread = true;
    }

    /// Makes the next poll check again whether nobody reads it: a FIFO may have a new
    /// reader, and an earlier event may have been missed.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn look_again(&mut self, poller: &Poller) -> Result<(), Error> {
        self.is_unread = false;
        let Some(stream) = &self.stream else { return Ok(()) };
        stream.look_again(poller, STDOUT).map_err(|err| Error::System("standard output", err))
    }

    /// Whether it was a terminal and has hung up.
    pub fn has_hung_up(&self) -> bool {
        let has = |stream: &Stream| stream.is_terminal && tty::has_hung_up(stream.fd());
        self.stream.as_ref().is_some_and(has)
    }

    /// Whether a write may succeed.
    pub fn is_ready(&self) -> bool {
        self.stream.as_ref().is_some_and(|stream| stream.ready)
    }

    /// Records an event.
    pub fn set_ready(&mut self) {
        if let Some(stream) = &mut self.stream {
            stream.ready = true;
        }
    }

    /// Writes from `pieces`; returns how many of their bytes were taken. The caller must
    /// pass the rest again. A terminal shows control characters in caret notation.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if it takes nothing now; [`io::ErrorKind::InvalidData`] if
    /// the bytes for a terminal are not text, of which nothing was shown; otherwise the
    /// system's.
    pub fn write(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.has_messages {
            return Err(messages_among_data());
        }
        let Some(stream) = &mut self.stream else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let Some(caret) = &mut self.caret else {
            return stream.write(pieces);
        };
        // Check all data before showing its first byte.
        let mut text = self.text;
        for piece in pieces {
            let unseen = &piece[text.min(piece.len())..];
            if unseen.contains(&0) {
                return Err(io::ErrorKind::InvalidData.into());
            }
            text -= piece.len() - unseen.len();
        }
        self.text = pieces.iter().map(|piece| piece.len()).sum();
        let shown = caret.write(pieces, |shown| stream.write(&[IoSlice::new(shown)]))?;
        self.text -= shown;
        Ok(shown)
    }

    /// Whether a terminal shows an unfinished line.
    pub fn is_within_line(&self) -> bool {
        self.caret.as_ref().is_some_and(|caret| caret.is_within_line())
    }

    /// Whether written data counts only after [`Output::store`].
    pub fn has_to_store(&self) -> bool {
        self.store.is_some()
    }

    /// Finds out whether the file system has stored everything that was written. Only the
    /// first call has an effect.
    ///
    /// # Errors
    /// The system's, such as a disk that is full after all.
    pub fn store(&mut self) -> io::Result<()> {
        self.store.take().map_or(Ok(()), Store::close)
    }

    /// Closes standard output, so that its reader sees the end.
    pub fn close(&mut self) {
        if let Some(mut stream) = self.stream.take() {
            if let Some(held) = self.caret.as_ref().map(|caret| caret.held()) {
                let _ = stream.write(&[IoSlice::new(held)]);
            }
            stream.close();
        }
    }
}
