//! Files that hold keys: readable only by their owner, and possibly FIFOs.

use super::poller::{Interest, Poller, Token};
use rustix::fs::{FileType, Mode, OFlags};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

/// A key file open for reading: a regular file, a FIFO or a device.
pub struct PrivateFile {
    file: File,
    mode: u32,
    owner: u32,
    is_fifo: bool,
}

impl PrivateFile {
    /// Opens `path` without waiting for a writer.
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

    /// Whether it belongs to a user other than root and the one that this process acts
    /// for: that user could put another key there.
    pub fn is_of_another_user(&self) -> bool {
        let own = rustix::process::geteuid();
        self.owner != own.as_raw() && self.owner != 0
    }

    /// Whether other users may read, write or execute it.
    pub fn is_exposed(&self) -> bool {
        self.mode & 0o077 != 0
    }

    /// Whether other users may write it.
    pub fn is_writable_by_others(&self) -> bool {
        self.mode & 0o022 != 0
    }

    /// Whether it is a FIFO. Before its first writer has opened it, a read returns the
    /// end of file.
    pub fn is_fifo(&self) -> bool {
        self.is_fifo
    }

    /// Watches for data under `token`.
    ///
    /// # Errors
    /// The system's.
    pub fn watch(&self, poller: &Poller, token: Token) -> io::Result<()> {
        match poller.watch(&self.file, token, Interest::READABLE) {
            // Epoll refuses regular files, which are always ready.
            Err(err) if err.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            result => result,
        }
    }

    /// Stops watching it.
    pub fn unwatch(&self, poller: &Poller) {
        poller.unwatch(&self.file);
    }

    /// Reads into `buffer`. Zero means the end.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if there is no data yet; otherwise the system's.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer)
    }
}

/// Whether `path` names an inherited descriptor. The user who started this process opened
/// that file, and under sudo(8) owns it.
pub fn is_descriptor(path: &Path) -> bool {
    ["/dev/fd", "/dev/stdin", "/proc/self/fd"].iter().any(|those| path.starts_with(those))
}

/// Writes `content` to the new file `path`, readable only by its owner.
///
/// # Errors
/// The system's; [`io::ErrorKind::AlreadyExists`], also for a dangling link.
pub fn create_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)?);
    file.write_all(content).and_then(|()| file.sync_all()).inspect_err(|_| {
        // Do not leave half a key behind.
        let _ = std::fs::remove_file(path);
    })
}
