//! Standard input and output: what their ends mean, and what a terminal in the
//! background may do.

use crate::error::Error;
use crate::sys::poller::{Interest, Poller, STDIN, STDOUT};
use crate::sys::stream::{self, Inherited, Kind, Store, Stream};
use crate::sys::tty;
use crate::ui::caret::Caret;
use std::io::{self, IoSlice, IoSliceMut};

/// Finds out before anybody has come what would stop a session.
///
/// # Errors
/// [`Error::Input`] for a directory; [`Error::Output`] where data could only come, and
/// would go to the file of the messages. (Who has something to send may log both to one
/// file: then it is found out when data comes.)
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

/// Sends nothing (`-d`): `/dev/null` in the place of standard input.
///
/// # Errors
/// [`Error::System`].
pub fn no_input() -> Result<(), Error> {
    stream::no_input().map_err(|err| Error::System("/dev/null", err))
}

/// What the other end has to add to its command line, if only this one's input or output
/// is redirected.
pub fn counterpart() -> &'static str {
    let is_data = |fd| matches!(Kind::of(fd), Some(Kind::File | Kind::Pipe | Kind::Socket));
    match (is_data(stream::stdin()), is_data(stream::stdout())) {
        (true, false) => " > FILE",
        (false, true) => " < FILE",
        _ => "",
    }
}

/// Whether it is the regular file that standard error goes to.
fn has_messages(stdout: Inherited) -> bool {
    stream::are_same(Kind::File, stdout, stream::stderr())
}

fn messages_among_data() -> io::Error {
    io::Error::other("messages go to the same file; redirect them: 2>log")
}

/// Both of them, to be had before there is a peer.
pub struct Stdio {
    /// Standard input.
    pub input: Input,
    /// Standard output.
    pub output: Output,
}

impl Stdio {
    /// Descriptors 0 and 1.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn new(poller: &Poller) -> Result<Self, Error> {
        Self::over(stream::stdin(), stream::stdout(), poller)
    }

    /// Two others that are used in the same way, for tests. `output` is closed at its end.
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
    /// What a read came upon behind bytes that had to be handed over first.
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

    /// Bytes that it has, where that is known.
    pub fn rest_of_file(&self) -> Option<u64> {
        stream::rest_of_file(self.stream.fd())
    }

    /// Whether it was a terminal, and has hung up.
    pub fn has_hung_up(&self) -> bool {
        self.is_terminal() && tty::has_hung_up(self.stream.fd())
    }

    /// Whether a read may do something.
    pub fn is_ready(&self) -> bool {
        self.stream.ready
    }

    /// The loop saw an event for it, or the process was resumed: what the background
    /// could not read may be ours now.
    pub fn set_ready(&mut self) {
        self.stream.ready = true;
    }

    /// Reads into `pieces`. Zero, without an error, is the end.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when there is nothing now, or this is a
    /// terminal and scat is in its background; else the system's.
    pub fn read(&mut self, pieces: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        if self.is_terminal() && !self.is_in_foreground() {
            self.stream.ready = false;
            return Err(io::ErrorKind::WouldBlock.into());
        }
        match self.read_full(pieces) {
            // A window that was closed is not Ctrl-D.
            Ok(0) if self.has_hung_up() => Err(io::ErrorKind::ConnectionAborted.into()),
            result => result,
        }
    }

    /// What one call hands over can be less than a frame takes. Full frames are
    /// cheaper, so a pipe is asked again until it is empty.
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
                // The end is there again next time.
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

    /// Throws away what was typed and not entered, so that it does not land in the shell.
    pub fn discard_typed(&self) {
        if self.is_terminal() && self.is_in_foreground() {
            tty::discard_input(self.stream.fd());
        }
    }

    /// A terminal that is not our controlling one, or has hung up, has no background.
    fn is_in_foreground(&self) -> bool {
        tty::is_in_foreground(self.stream.fd()).unwrap_or(true)
    }
}

/// Standard output.
pub struct Output {
    /// Until it is closed.
    stream: Option<Stream>,
    /// A terminal's: everything else gets the bytes as they are.
    caret: Option<Box<Caret>>,
    /// Of what a terminal is to be shown next, so many bytes are text.
    text: usize,
    /// A regular file's.
    store: Option<Store>,
    /// It is the file that standard error goes to, so that messages would stand among
    /// the data. A pipe or a terminal for both can be meant so; a file with messages
    /// in it is a copy that is wrong.
    has_messages: bool,
    /// An event told that nobody reads it.
    is_unread: bool,
}

impl Output {
    fn new(stdout: Inherited, poller: &Poller) -> io::Result<Self> {
        let mut stream = Stream::new(stdout, Interest::WRITABLE)?;
        stream.widen();
        stream.register(poller, STDOUT)?;
        Ok(Output {
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

    /// Whether nobody reads it any more, so that a write would fail. Of a terminal a signal
    /// tells that.
    pub fn is_unread(&self) -> bool {
        self.is_unread && !self.is_terminal()
    }

    /// The loop saw that nobody reads it.
    pub fn set_unread(&mut self) {
        self.is_unread = true;
    }

    /// Lets the next poll tell anew whether nobody reads it: a FIFO may have another reader
    /// by now, and who polled before may have missed it.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn look_again(&mut self, poller: &Poller) -> Result<(), Error> {
        self.is_unread = false;
        let Some(stream) = &self.stream else { return Ok(()) };
        stream.look_again(poller, STDOUT).map_err(|err| Error::System("standard output", err))
    }

    /// Whether it was a terminal, and has hung up.
    pub fn has_hung_up(&self) -> bool {
        let has = |stream: &Stream| stream.is_terminal && tty::has_hung_up(stream.fd());
        self.stream.as_ref().is_some_and(has)
    }

    /// Whether a write may do something.
    pub fn is_ready(&self) -> bool {
        self.stream.as_ref().is_some_and(|stream| stream.ready)
    }

    /// The loop saw an event for it.
    pub fn set_ready(&mut self) {
        if let Some(stream) = &mut self.stream {
            stream.ready = true;
        }
    }

    /// Writes from `pieces`; returns how many of their bytes were taken. What was not has
    /// to come again. A terminal is shown their control characters instead.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when it takes nothing now;
    /// [`io::ErrorKind::InvalidData`] for a terminal and bytes that are no text, of which
    /// nothing was shown; else the system's.
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
        // All that is there is looked at before the first byte is shown.
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

    /// Whether a terminal was shown the beginning of a line, and not its end.
    pub fn is_within_line(&self) -> bool {
        self.caret.as_ref().is_some_and(|caret| caret.is_within_line())
    }

    /// Whether what is written counts only after [`Output::store`].
    pub fn has_to_store(&self) -> bool {
        self.store.is_some()
    }

    /// Everything is written: finds out whether the file system has stored it. The first
    /// call counts.
    ///
    /// # Errors
    /// The system's, such as a disk that is full after all.
    pub fn store(&mut self) -> io::Result<()> {
        self.store.take().map_or(Ok(()), Store::close)
    }

    /// Lets go of standard output, so that its reader sees the end.
    pub fn close(&mut self) {
        if let Some(mut stream) = self.stream.take() {
            if let Some(held) = self.caret.as_ref().map(|caret| caret.held()) {
                let _ = stream.write(&[IoSlice::new(held)]);
            }
            stream.close();
        }
    }
}
