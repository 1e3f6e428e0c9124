//! Saving: the old file or the new one, never half of one, whatever fails and whenever.
//!
//! A temporary file in the same folder → written, synced → read back and compared → renamed over the target → the folder
//! synced. Until the rename the old file is untouched; the rename itself is atomic (POSIX). A link stays a link, the new
//! file has the rights of the old one, and what killed writers left beside it is swept away first.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::runtime::cancel::Cancel;
use crate::store::format::{self, Contents};
use crate::store::storage::Storage;
use crate::{Error, Result};

/// One tensor to be saved: name, dtype, shape, bytes.
pub type Source<'a> = (&'a str, &'a str, &'a [usize], &'a [u8]);

static COUNTER: AtomicU64 = AtomicU64::new(0);

const SUFFIX: &str = ".ancf-tmp";

/// Bytes of the target's name in that of the temporary file.
const LONGEST: usize = 160;

/// Names tried for the temporary file.
const MAX_NAME_ATTEMPTS: usize = 16;

/// Bytes that may wait for a sync.
const MAX_UNSYNCED_BYTES: usize = 8 << 20;

/// Bytes handed to the system at a time.
const WRITE_CHUNK_BYTES: usize = 4 << 20;

/// Writes a model file; on an error `path` is what it was before.
pub fn save<S: Storage>(
    storage: &S,
    path: &Path,
    metadata: &str,
    tensors: &[Source<'_>],
    cancel: &Cancel,
) -> Result<()> {
    let (header, order) = format::header(metadata, tensors, cancel)?;
    let target = storage.target(path).map_err(|error| failed("save", path, &error))?;
    let Some(name) = target.file_name() else {
        return Err(Error::InvalidParameter(format!("{:?} names no file to save to.", path.display().to_string())));
    };
    // A name may be as long as the system allows; ours is longer by some thirty bytes.
    let prefix = format!(".{}.", shortened(&name.to_string_lossy()));
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Litter is no reason not to save.
    let _ = storage.sweep(folder, &prefix, SUFFIX);
    let parts: Vec<&[u8]> = std::iter::once(&header[..]).chain(order.iter().map(|&i| tensors[i].3)).collect();
    let (temporary, mut file) = create(storage, &target, &prefix).map_err(|error| failed("save", path, &error))?;
    let written =
        write(storage, &temporary, &mut file, &parts, cancel).and_then(|()| storage.rename(&temporary, &target));
    if let Err(error) = written {
        // A temporary file that cannot be removed is litter and nothing worse.
        let _ = storage.remove(&temporary);
        storage.close(file);
        cancel.check()?;
        return Err(failed("save", path, &error));
    }
    // Until here the open file kept others from sweeping it.
    drop(file);
    storage.sync_folder(folder).map_err(|error| failed("make durable", path, &error))
}

/// Reads and checks a model file; its bytes, and where the tensors stand in them.
pub fn load<S: Storage>(storage: &S, path: &Path, cancel: &Cancel) -> Result<(Vec<u8>, Contents)> {
    let bytes = storage.read(path, cancel).map_err(|error| match cancel.check() {
        Err(cancelled) => cancelled,
        Ok(()) => failed("read", path, &error),
    })?;
    let contents = format::parse(&bytes, cancel).map_err(|error| match error {
        Error::ModelFile(message) => Error::ModelFile(format!("{}: {message}", path.display())),
        other => other,
    })?;
    Ok((bytes, contents))
}

/// The beginning of a name, at most [`LONGEST`] bytes of it.
fn shortened(name: &str) -> &str {
    let end = name.char_indices().map(|(at, letter)| at + letter.len_utf8()).take_while(|&end| end <= LONGEST).last();
    &name[..end.unwrap_or(0)]
}

/// A new temporary file beside the target, with its name.
fn create<S: Storage>(storage: &S, target: &Path, prefix: &str) -> io::Result<(PathBuf, S::File)> {
    let mut taken = io::ErrorKind::AlreadyExists.into();
    for _ in 0..MAX_NAME_ATTEMPTS {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let path = target.with_file_name(format!("{prefix}{}-{number}{SUFFIX}", std::process::id()));
        match storage.create(&path, target) {
            Ok(file) => return Ok((path, file)),
            // Somebody else's file of that name, or ours, swept before it was locked.
            Err(error) if matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::ResourceBusy) => {
                taken = error;
            }
            Err(error) => {
                let _ = storage.remove(&path);
                return Err(error);
            }
        }
    }
    Err(taken)
}

fn write<S: Storage>(storage: &S, path: &Path, file: &mut S::File, parts: &[&[u8]], cancel: &Cancel) -> io::Result<()> {
    let mut waiting = 0;
    for chunk in parts.iter().flat_map(|part| part.chunks(WRITE_CHUNK_BYTES)) {
        if cancel.is_cancelled() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        // Synced as it goes: one long sync at the end could not be interrupted.
        waiting += chunk.len();
        if waiting > MAX_UNSYNCED_BYTES {
            storage.sync(file)?;
            waiting = chunk.len();
        }
        let mut left = chunk;
        while !left.is_empty() {
            match storage.write(file, left) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => left = &left[n..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
    storage.sync(file)?;
    let back = storage.read(path, cancel)?;
    let mut left = &back[..];
    let mut same = back.len() == parts.iter().map(|part| part.len()).sum::<usize>();
    for chunk in parts.iter().flat_map(|part| part.chunks(WRITE_CHUNK_BYTES)) {
        if cancel.is_cancelled() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let (first, rest) = left.split_at(chunk.len().min(left.len()));
        same &= first == chunk;
        left = rest;
    }
    if same { Ok(()) } else { Err(io::Error::other("the disk gave back other bytes than were written")) }
}

fn failed(what: &str, path: &Path, error: &io::Error) -> Error {
    Error::Io(error.raw_os_error(), format!("cannot {what} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::collections::BTreeMap;

    use super::*;

    /// How an operation goes wrong.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Fault {
        /// It reports this error of the system and does nothing.
        Error(i32),
        /// It does its work and reports an error all the same.
        Late(i32),
        /// A write keeps nothing and says so.
        Nothing,
        /// A write flips a bit and says nothing.
        Spoilt,
        /// A read gives back less than is there.
        Short,
        /// The process ends here.
        Killed,
    }

    /// Files in memory; the operation with number `at` goes wrong, and writes are short.
    #[derive(Default)]
    struct Memory {
        files: RefCell<BTreeMap<PathBuf, Vec<u8>>>,
        operations: Cell<usize>,
        fault: Option<(usize, Fault)>,
        dead: Cell<bool>,
    }

    impl Memory {
        fn step<T>(&self, work: impl FnOnce(Option<Fault>) -> io::Result<T>) -> io::Result<T> {
            let now = self.operations.get();
            self.operations.set(now + 1);
            let fault = self.fault.filter(|(at, _)| *at == now).map(|(_, fault)| fault);
            if fault == Some(Fault::Killed) {
                self.dead.set(true);
            }
            if self.dead.get() {
                return Err(io::ErrorKind::Other.into());
            }
            match fault {
                Some(Fault::Error(number)) => Err(io::Error::from_raw_os_error(number)),
                Some(Fault::Late(number)) => work(None).and(Err(io::Error::from_raw_os_error(number))),
                other => work(other),
            }
        }
    }

    impl Storage for Memory {
        type File = PathBuf;
        fn target(&self, path: &Path) -> io::Result<PathBuf> {
            self.step(|_| Ok(path.into()))
        }
        fn sweep(&self, _: &Path, prefix: &str, suffix: &str) -> io::Result<()> {
            self.step(|_| {
                let left = |path: &PathBuf| {
                    let name = path.to_string_lossy();
                    name.starts_with(prefix) && name.ends_with(suffix)
                };
                self.files.borrow_mut().retain(|path, _| !left(path));
                Ok(())
            })
        }
        fn create(&self, path: &Path, _: &Path) -> io::Result<PathBuf> {
            self.step(|_| {
                self.files.borrow_mut().insert(path.into(), Vec::new());
                Ok(path.into())
            })
        }
        fn write(&self, file: &mut PathBuf, bytes: &[u8]) -> io::Result<usize> {
            self.step(|fault| {
                let n = if fault == Some(Fault::Nothing) { 0 } else { bytes.len().min(100) };
                let mut bytes = bytes[..n].to_vec();
                if fault == Some(Fault::Spoilt) {
                    bytes[0] ^= 1;
                }
                self.files.borrow_mut().get_mut(file).unwrap().extend(bytes);
                Ok(n)
            })
        }
        fn sync(&self, _: &mut PathBuf) -> io::Result<()> {
            self.step(|_| Ok(()))
        }
        fn read(&self, path: &Path, _: &Cancel) -> io::Result<Vec<u8>> {
            self.step(|fault| {
                let files = self.files.borrow();
                let bytes = files.get(path).ok_or(io::ErrorKind::NotFound)?;
                Ok(bytes[..bytes.len() - usize::from(fault == Some(Fault::Short))].to_vec())
            })
        }
        fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
            self.step(|_| {
                let file = self.files.borrow_mut().remove(from).unwrap();
                self.files.borrow_mut().insert(to.into(), file);
                Ok(())
            })
        }
        fn sync_folder(&self, _: &Path) -> io::Result<()> {
            self.step(|_| Ok(()))
        }
        fn remove(&self, path: &Path) -> io::Result<()> {
            self.step(|_| {
                self.files.borrow_mut().remove(path).map(|_| ()).ok_or_else(|| io::ErrorKind::NotFound.into())
            })
        }
    }

    fn new_file(storage: &Memory) -> Result<()> {
        save(storage, Path::new("m.ancf"), "{}", &[("x", "U8", &[3], b"new")], &Cancel::default())
    }

    #[test]
    fn whichever_operation_fails_and_however_the_file_is_the_old_or_the_new_one() {
        let clean = Memory::default();
        new_file(&clean).unwrap();
        let new = clean.files.borrow()[Path::new("m.ancf")].clone();
        let count = clean.operations.get();
        assert!(count > 10);
        // ENOSPC, EIO, EDQUOT, EROFS, EACCES, EINTR, EFBIG
        let errors = [28, 5, 122, 30, 13, 4, 27];
        let mut faults = vec![Fault::Nothing, Fault::Spoilt, Fault::Short, Fault::Killed];
        faults.extend(errors.map(Fault::Error));
        faults.extend(errors.map(Fault::Late));
        for fault in faults {
            let mut refused = 0;
            for k in 0..count {
                let storage = Memory { fault: Some((k, fault)), ..Memory::default() };
                storage.files.borrow_mut().insert("m.ancf".into(), b"old".to_vec());
                let outcome = new_file(&storage);
                refused += usize::from(outcome.is_err());
                let mut files = storage.files.borrow_mut();
                let now = &files[Path::new("m.ancf")];
                assert!(*now == new || (now == b"old" && outcome.is_err()), "operation {k}: {fault:?}");
                assert!(files.len() == 1 || fault == Fault::Killed, "operation {k}: {fault:?} leaves litter");
                // The next save succeeds and sweeps what the killed one left.
                files.insert("m.ancf".into(), b"old".to_vec());
                let later = Memory { files: RefCell::new(files.clone()), ..Memory::default() };
                new_file(&later).unwrap();
                assert_eq!(*later.files.borrow(), BTreeMap::from([("m.ancf".into(), new.clone())]), "{k}: {fault:?}");
            }
            assert!(refused > 0, "{fault:?} never happened");
        }
    }

    #[test]
    fn a_save_that_is_stopped_leaves_the_old_file() {
        let storage = Memory::default();
        storage.files.borrow_mut().insert("m.ancf".into(), b"old".to_vec());
        let cancel = Cancel::default();
        cancel.cancel();
        let tensors: [Source<'_>; 1] = [("x", "U8", &[3], b"new")];
        assert_eq!(save(&storage, Path::new("m.ancf"), "{}", &tensors, &cancel), Err(Error::Cancelled));
        assert_eq!(*storage.files.borrow(), BTreeMap::from([("m.ancf".into(), b"old".to_vec())]));
        new_file(&storage).unwrap();
        assert!(matches!(load(&storage, Path::new("m.ancf"), &cancel), Err(Error::Cancelled)));
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let storage = Memory::default();
        new_file(&storage).unwrap();
        let (bytes, contents) = load(&storage, Path::new("m.ancf"), &Cancel::default()).unwrap();
        let x = &contents.tensors[0];
        assert_eq!(&bytes[x.start..x.start + x.n_bytes], b"new");
        assert!(matches!(load(&storage, Path::new("other.ancf"), &Cancel::default()), Err(Error::Io(..))));
    }
}
