//! Saving: the old file or the new one, never half of one, whatever fails and whenever.
//!
//! A temporary file in the same folder → written, synced → read back and compared → renamed over the target → the folder
//! synced. Until the rename the old file is untouched; the rename itself is atomic (POSIX).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::store::format::{self, Contents};
use crate::store::storage::Storage;
use crate::{Error, Result};

/// One tensor to be saved: name, dtype, shape, bytes.
pub type Source<'a> = (&'a str, &'a str, &'a [usize], &'a [u8]);

static COUNTER: AtomicU64 = AtomicU64::new(0);

/// Bytes handed to the system at a time.
const PIECE: usize = 8 << 20;

/// Writes a model file; on an error `path` is what it was before.
pub fn save<S: Storage>(storage: &S, path: &Path, metadata: &str, tensors: &[Source<'_>]) -> Result<()> {
    let (header, order) = format::header(metadata, tensors)?;
    let temporary = temporary(path)?;
    let parts: Vec<&[u8]> = std::iter::once(&header[..]).chain(order.iter().map(|&i| tensors[i].3)).collect();
    let written = write(storage, &temporary, &parts).and_then(|()| storage.rename(&temporary, path));
    if let Err(error) = written {
        // A temporary file that cannot be removed is litter and nothing worse.
        let _ = storage.remove(&temporary);
        return Err(failed("save", path, &error));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    storage.sync_folder(folder).map_err(|error| failed("make durable", path, &error))
}

/// Reads and checks a model file; its bytes, and where the tensors stand in them.
pub fn load<S: Storage>(storage: &S, path: &Path) -> Result<(Vec<u8>, Contents)> {
    let bytes = storage.read(path).map_err(|error| failed("read", path, &error))?;
    let contents = format::parse(&bytes).map_err(|error| match error {
        Error::ModelFile(message) => Error::ModelFile(format!("{}: {message}", path.display())),
        other => other,
    })?;
    Ok((bytes, contents))
}

fn write<S: Storage>(storage: &S, path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let mut file = storage.create(path)?;
    for piece in parts.iter().flat_map(|part| part.chunks(PIECE)) {
        let mut left = piece;
        while !left.is_empty() {
            match storage.write(&mut file, left) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => left = &left[n..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
    storage.sync(&mut file)?;
    drop(file);
    let back = storage.read(path)?;
    let same = parts.iter().try_fold(&back[..], |left, part| left.strip_prefix(*part)).is_some_and(<[u8]>::is_empty);
    if same { Ok(()) } else { Err(io::Error::other("the disk gave back other bytes than were written")) }
}

fn temporary(path: &Path) -> Result<PathBuf> {
    let Some(name) = path.file_name() else {
        return Err(Error::InvalidParameter(format!("{:?} names no file to save to.", path.display().to_string())));
    };
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    let name = format!(".{}.{}-{number}.tmp", name.to_string_lossy(), std::process::id());
    Ok(path.with_file_name(name))
}

fn failed(what: &str, path: &Path, error: &io::Error) -> Error {
    Error::Io(error.raw_os_error(), format!("cannot {what} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::collections::BTreeMap;

    use super::*;

    /// Files in memory; the operation with number `fails` fails, and writes are short.
    #[derive(Default)]
    struct Memory {
        files: RefCell<BTreeMap<PathBuf, Vec<u8>>>,
        operations: Cell<usize>,
        fails: Option<usize>,
        spoils: Option<usize>,
    }

    impl Memory {
        fn step(&self) -> io::Result<()> {
            let now = self.operations.get();
            self.operations.set(now + 1);
            if self.fails == Some(now) { Err(io::Error::from_raw_os_error(28)) } else { Ok(()) }
        }
    }

    impl Storage for Memory {
        type File = PathBuf;
        fn create(&self, path: &Path) -> io::Result<PathBuf> {
            self.step()?;
            self.files.borrow_mut().insert(path.into(), Vec::new());
            Ok(path.into())
        }
        fn write(&self, file: &mut PathBuf, bytes: &[u8]) -> io::Result<usize> {
            let now = self.operations.get();
            self.step()?;
            let n = bytes.len().min(100);
            let mut bytes = bytes[..n].to_vec();
            if self.spoils == Some(now) {
                bytes[0] ^= 1;
            }
            self.files.borrow_mut().get_mut(file).unwrap().extend(bytes);
            Ok(n)
        }
        fn sync(&self, _: &mut PathBuf) -> io::Result<()> {
            self.step()
        }
        fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
            self.step()?;
            self.files.borrow().get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
        }
        fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
            self.step()?;
            let file = self.files.borrow_mut().remove(from).unwrap();
            self.files.borrow_mut().insert(to.into(), file);
            Ok(())
        }
        fn sync_folder(&self, _: &Path) -> io::Result<()> {
            self.step()
        }
        fn remove(&self, path: &Path) -> io::Result<()> {
            self.step()?;
            self.files.borrow_mut().remove(path).map(|_| ()).ok_or_else(|| io::ErrorKind::NotFound.into())
        }
    }

    fn new_file(storage: &Memory) -> Result<()> {
        save(storage, Path::new("m.ancf"), "{}", &[("x", "U8", &[3], b"new")])
    }

    #[test]
    fn whichever_operation_fails_the_file_is_the_old_or_the_new_one() {
        let clean = Memory::default();
        new_file(&clean).unwrap();
        let new = clean.files.borrow()[Path::new("m.ancf")].clone();
        let count = clean.operations.get();
        assert!(count > 8);
        for spoil in [false, true] {
            for k in 0..count {
                let storage = Memory { fails: (!spoil).then_some(k), spoils: spoil.then_some(k), ..Memory::default() };
                storage.files.borrow_mut().insert("m.ancf".into(), b"old".to_vec());
                let outcome = new_file(&storage);
                let files = storage.files.borrow();
                let now = &files[Path::new("m.ancf")];
                assert!(*now == new || (now == b"old" && outcome.is_err()), "operation {k}");
                assert!(files.len() == 1 || outcome.is_err(), "litter after success");
            }
        }
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let storage = Memory::default();
        new_file(&storage).unwrap();
        let (bytes, contents) = load(&storage, Path::new("m.ancf")).unwrap();
        let x = &contents.tensors[0];
        assert_eq!(&bytes[x.start..x.start + x.n_bytes], b"new");
        assert!(matches!(load(&storage, Path::new("other.ancf")), Err(Error::Io(..))));
    }
}
