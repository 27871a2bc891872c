//! Files that hold keys: their owner's alone, and possibly pipes.

use super::poller::{Interest, Poller, Token};
use rustix::fs::{FileType, Mode, OFlags};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

/// A key file that is open for reading, whatever it is: a regular file, a FIFO, a device.
pub struct PrivateFile {
    file: File,
    mode: u32,
    owner: u32,
    is_fifo: bool,
}

impl PrivateFile {
    /// Opens `path`, and does not wait for anybody who writes to it.
    ///
    /// # Errors
    /// The system's; [`io::ErrorKind::IsADirectory`].
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
        let stat = rustix::fs::fstat(&file)?;
        let is_fifo = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => return Err(io::ErrorKind::IsADirectory.into()),
            kind => kind == FileType::Fifo,
        };
        Ok(PrivateFile { file, mode: stat.st_mode as u32, owner: stat.st_uid, is_fifo })
    }

    /// Whether it belongs to another user than root and the one that this process acts for:
    /// they could put another key there.
    pub fn is_of_another_user(&self) -> bool {
        let own = rustix::process::geteuid();
        self.owner != own.as_raw() && self.owner != 0
    }

    /// Whether other users may read or write it, or run it.
    pub fn is_exposed(&self) -> bool {
        self.mode & 0o077 != 0
    }

    /// Whether other users may write it.
    pub fn is_writable_by_others(&self) -> bool {
        self.mode & 0o022 != 0
    }

    /// Whether it is a FIFO: before its first writer has come, one reads as if it had
    /// ended.
    pub fn is_fifo(&self) -> bool {
        self.is_fifo
    }

    /// Asks `poller` for what can be read, under `token`.
    ///
    /// # Errors
    /// The system's.
    pub fn watch(&self, poller: &Poller, token: Token) -> io::Result<()> {
        match poller.watch(&self.file, token, Interest::READABLE) {
            // Epoll refuses regular files, which never make anybody wait.
            Err(err) if err.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            result => result,
        }
    }

    /// Asks for nothing any more.
    pub fn unwatch(&self, poller: &Poller) {
        poller.unwatch(&self.file);
    }

    /// Reads into `buffer`. Zero is the end.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when there is nothing now; else the system's.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer)
    }
}

/// Whether `path` names a descriptor that this process was started with: whoever started
/// it has opened that, and under sudo(8) it belongs to them.
pub fn is_descriptor(path: &Path) -> bool {
    ["/dev/fd", "/dev/stdin", "/proc/self/fd"].iter().any(|those| path.starts_with(those))
}

/// Writes `content` to the new file `path`, which its owner alone may read.
///
/// # Errors
/// The system's; [`io::ErrorKind::AlreadyExists`], also for a link that leads nowhere.
pub fn create_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)?);
    file.write_all(content).and_then(|()| file.sync_all()).inspect_err(|_| {
        // Half a key is worse than none.
        let _ = std::fs::remove_file(path);
    })
}
