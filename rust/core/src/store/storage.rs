//! All access to the disk, behind one trait, so that every failure can be made to happen in a test.
//!
//! A temporary file is locked for as long as its writer lives, which tells it from what a killed writer left behind: the
//! system drops the lock of a process that ends, however it ends.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
#[cfg(unix)]
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::runtime::cancel::Cancel;
use crate::runtime::simd::huge_pages::advise_whole_pages;

/// What saving asks of a file system.
pub trait Storage {
    /// An open file.
    type File;
    /// The file that a name stands for: a link's target, and the name itself where there is nothing yet. An error where
    /// it is a folder or a device.
    fn target(&self, path: &Path) -> io::Result<PathBuf>;
    /// Removes what killed writers left in a folder: files whose name begins and ends like this and that nobody holds.
    fn sweep(&self, folder: &Path, prefix: &str, suffix: &str) -> io::Result<()>;
    /// A new file with the rights of the file `like`, where that exists; an error where the new one exists.
    fn create(&self, path: &Path, like: &Path) -> io::Result<Self::File>;
    /// Writes some bytes and says how many.
    fn write(&self, file: &mut Self::File, bytes: &[u8]) -> io::Result<usize>;
    /// Everything written is on the disk afterwards.
    fn sync(&self, file: &mut Self::File) -> io::Result<()>;
    /// The file's bytes; an error of the kind `Interrupted` when the caller wants to stop.
    fn read(&self, path: &Path, cancel: &Cancel) -> io::Result<Vec<u8>>;
    /// The new name holds the file, and whatever it held before is gone.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// The folder's entries are on the disk afterwards.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Closes a file that was removed.
    fn close(&self, file: Self::File) {
        drop(file);
    }
}

/// Bytes read between two looks at whether the caller wants to stop.
const PIECE: usize = 8 << 20;

const NO_FILE: &str = "it is a device or a pipe, not a file";

/// With its number, by which Python chooses the exception.
fn is_a_folder() -> io::Error {
    const EISDIR: i32 = 21;
    if cfg!(unix) { io::Error::from_raw_os_error(EISDIR) } else { io::ErrorKind::IsADirectory.into() }
}

/// The real one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

impl Storage for Disk {
    type File = File;

    fn target(&self, path: &Path) -> io::Result<PathBuf> {
        match fs::metadata(path) {
            Ok(about) if about.is_dir() => Err(is_a_folder()),
            Ok(about) if !about.is_file() => Err(io::Error::new(io::ErrorKind::InvalidInput, NO_FILE)),
            Ok(_) if fs::symlink_metadata(path)?.is_symlink() => fs::canonicalize(path),
            Ok(_) => Ok(path.into()),
            // A link to nothing yet: its target will be made.
            Err(error) if error.kind() == io::ErrorKind::NotFound => match fs::read_link(path) {
                Ok(target) => Ok(path.parent().unwrap_or(Path::new("")).join(target)),
                Err(_) => Ok(path.into()),
            },
            Err(error) => Err(error),
        }
    }

    fn sweep(&self, folder: &Path, prefix: &str, suffix: &str) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let left = name.to_str().is_some_and(|name| name.starts_with(prefix) && name.ends_with(suffix));
            if left && entry.file_type()?.is_file() {
                let file = OpenOptions::new().write(true).open(entry.path())?;
                if file.try_lock().is_ok() {
                    fs::remove_file(entry.path())?;
                }
            }
        }
        Ok(())
    }

    fn create(&self, path: &Path, like: &Path) -> io::Result<File> {
        let file = OpenOptions::new().write(true).create_new(true).open(path)?;
        // Where there are no locks, nothing is swept either. Between opening and locking, somebody else may have swept.
        if matches!(file.try_lock(), Err(TryLockError::WouldBlock)) || !path.exists() {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        if let Ok(about) = fs::metadata(like) {
            // An administrator who saves over somebody's model leaves it theirs; nobody else may give files away.
            #[cfg(unix)]
            let _ = std::os::unix::fs::fchown(&file, Some(about.uid()), Some(about.gid()));
            file.set_permissions(about.permissions())?;
        }
        Ok(file)
    }

    fn write(&self, file: &mut File, bytes: &[u8]) -> io::Result<usize> {
        file.write(bytes)
    }

    fn sync(&self, file: &mut File) -> io::Result<()> {
        file.sync_all()
    }

    fn read(&self, path: &Path, cancel: &Cancel) -> io::Result<Vec<u8>> {
        // Asked before it is opened: opening a pipe would wait for its writer, and a device may never end.
        let about = fs::metadata(path)?;
        if about.is_dir() {
            return Err(is_a_folder());
        }
        if !about.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, NO_FILE));
        }
        let mut file = File::open(path)?;
        // Exactly the file's length: `read_to_end` alone would grow in steps and take up to twice the memory.
        let length = usize::try_from(about.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(length.saturating_add(1)).map_err(|_| io::ErrorKind::OutOfMemory)?;
        advise_whole_pages(&mut bytes);
        while bytes.len() < length {
            if cancel.is_cancelled() {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let left = (length - bytes.len()).min(PIECE);
            if Read::by_ref(&mut file).take(left as u64).read_to_end(&mut bytes)? == 0 {
                break;
            }
        }
        Ok(bytes)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let old = if cfg!(unix) { File::open(to).ok() } else { None };
        fs::rename(from, to)?;
        if let Some(old) = old {
            close_in_background(old);
        }
        Ok(())
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        // Folders cannot be opened on every system; where they can, the new name is made durable.
        if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn close(&self, file: File) {
        close_in_background(file);
    }
}

/// With the last handle of a file without a name the system takes its space back: 85 ms for 300 MB on ext4, for which nobody
/// should wait. Where no thread can be started, or the process ends, it closes all the same.
fn close_in_background(file: File) {
    let _ = std::thread::Builder::new().name("ancf-close".into()).spawn(|| drop(file));
}
