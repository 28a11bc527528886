//! The data directory: its lock, its version, its free space, and writing that is durable once it returns.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::Error;

/// The version of the layout that this program writes. It reads this one and earlier ones.
pub(crate) const FORMAT_VERSION: u32 = 1;

/// How the names of files end that are not finished. They are removed when the directory is opened.
pub(crate) const TEMPORARY: &str = ".tmp";

const LOCK: &str = "LOCK";
const VERSION: &str = "VERSION";

/// A data directory that is this process's alone as long as the value lives.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    /// Holds the lock: the system lets go of it when the file is closed, however the process ends.
    lock: File,
}

impl Drop for DataDir {
    fn drop(&mut self) {
        // Closing alone is not enough: a child process that is being started just now has the file open too.
        let _ = self.lock.unlock();
    }
}

impl DataDir {
    /// Opens the directory, makes it if it is not there (readable by its owner only), locks it, checks its version,
    /// and removes unfinished files.
    ///
    /// # Errors
    /// When it cannot be made or read, another process has it, a newer version wrote it, or it holds something else.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let told = |what: &str, error: &io::Error| {
            Error::input(format!("{what} the data directory {}: {error}", path.display()))
        };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|e| told("cannot create", &e))?;
        let path = path.canonicalize().map_err(|e| told("cannot open", &e))?;
        let lock = lock(&path)?;
        check_version(&path)?;
        remove_temporary(&path).map_err(|e| told("cannot remove unfinished files from", &e))?;
        Ok(Self { path, lock })
    }

    /// Where it is, absolute.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// How many bytes this process may still write on the directory's file system.
    ///
    /// # Errors
    /// When the system does not tell.
    pub(crate) fn free_space(&self) -> io::Result<u64> {
        let told = rustix::fs::statvfs(&self.path).map_err(io::Error::from)?;
        Ok(told.f_bavail.saturating_mul(told.f_frsize))
    }

    /// How many bytes of the disk its files take, those that are reserved but not written yet included.
    ///
    /// # Errors
    /// When a directory in it cannot be read.
    pub(crate) fn used_bytes(&self) -> io::Result<u64> {
        let mut used = 0;
        walk(&self.path, &mut |entry| {
            // A file may go while its directory is read.
            used += entry.metadata().map_or(0, |metadata| metadata.blocks().saturating_mul(512));
            Ok(())
        })?;
        Ok(used)
    }
}

fn lock(directory: &Path) -> Result<File, Error> {
    let path = directory.join(LOCK);
    let failed = |error: io::Error| Error::input(format!("cannot lock {}: {error}", path.display()));
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        // What is in it is the other process's until the lock is ours.
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::Error(error)) => return Err(failed(error)),
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            // The other process may be just about to write it.
            let pid = match (&file).take(32).read_to_string(&mut text).map(|_| text.trim()) {
                Ok(pid) if !pid.is_empty() => format!(" (process {pid})"),
                _ => String::new(),
            };
            return Err(Error::input(format!(
                "the data directory {} is in use by another process{pid}; end that one, or name another directory",
                directory.display()
            )));
        }
    }
    // It is for people only, so it need not be durable.
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .map_err(failed)?;
    Ok(file)
}

fn check_version(directory: &Path) -> Result<(), Error> {
    let path = directory.join(VERSION);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return start(directory, &path),
        Err(error) => return Err(Error::input(format!("cannot read {}: {error}", path.display()))),
    };
    match text.trim().parse::<u32>() {
        Ok(version) if (1..=FORMAT_VERSION).contains(&version) => Ok(()),
        Ok(version) => Err(Error::input(format!(
            "the data directory {} has format version {version}, and this program knows versions up to \
             {FORMAT_VERSION}; use the program that wrote it, or name another directory",
            directory.display()
        ))),
        Err(_) => Err(Error::input(format!(
            "{} holds `{}` in place of a version such as {FORMAT_VERSION}",
            path.display(),
            text.trim().chars().take(40).collect::<String>()
        ))),
    }
}

/// Writes the version into a directory that is empty but for what an interrupted start leaves. Somebody's home
/// directory, given by mistake, is refused.
fn start(directory: &Path, version: &Path) -> Result<(), Error> {
    let failed = |error: io::Error| Error::input(format!("cannot write {}: {error}", version.display()));
    for entry in fs::read_dir(directory).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let known = name == LOCK || name == "lost+found" || name == format!("{VERSION}{TEMPORARY}").as_str();
        if !known {
            return Err(Error::input(format!(
                "{} is no data directory: it has no file {VERSION}, and it holds {}; name an empty or a new one",
                directory.display(),
                name.display()
            )));
        }
    }
    write_atomically(version, format!("{FORMAT_VERSION}\n").as_bytes()).map_err(failed)?;
    // The directory may be new, and those above it too. Those that are not ours to open were there before.
    for above in directory.ancestors().skip(1) {
        let _ = sync_directory(above);
    }
    Ok(())
}

/// Removes what was being written when a process ended. Only names that end in [`TEMPORARY`] go.
fn remove_temporary(directory: &Path) -> io::Result<()> {
    walk(directory, &mut |entry| {
        let unfinished = entry.file_name().as_encoded_bytes().ends_with(TEMPORARY.as_bytes());
        if unfinished { fs::remove_file(entry.path()) } else { Ok(()) }
    })
}

/// Calls `each` for every file below the directory; links are files and are not followed.
fn walk(directory: &Path, each: &mut dyn FnMut(&fs::DirEntry) -> io::Result<()>) -> io::Result<()> {
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            // It is not ours to read, and holds nothing of ours.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => continue,
            Err(error) => return Err(named(&directory, &error)),
        };
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_dir() { open.push(entry.path()) } else { each(&entry)? }
        }
    }
    Ok(())
}

/// The name under which a file is written before it gets its own; in the same directory.
pub(crate) fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(TEMPORARY);
    PathBuf::from(name)
}

/// Writes a file whole or not at all: whatever happens, there is the old content or the new one. It is durable when
/// this returns.
///
/// # Errors
/// Those of the file system; the unfinished file is gone then.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let unfinished = temporary(path);
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&unfinished)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()));
    match written.map_err(|error| named(&unfinished, &error)).and_then(|()| publish(&unfinished, path)) {
        Ok(()) => Ok(()),
        Err(error) => {
            let _ = fs::remove_file(&unfinished);
            Err(error)
        }
    }
}

/// Gives a finished and synced file its name. It is durable when this returns.
///
/// # Errors
/// Those of the file system. The file may have either name then.
pub(crate) fn publish(unfinished: &Path, path: &Path) -> io::Result<()> {
    fs::rename(unfinished, path).map_err(|error| named(path, &error))?;
    sync_parent(path)
}

/// Removes a file. It is durable when this returns. A file that is not there is removed.
///
/// # Errors
/// Those of the file system.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Ok(()) => sync_parent(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(named(path, &error)),
    }
}

/// Makes the names in a directory durable.
///
/// # Errors
/// Those of the file system.
pub(crate) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory).and_then(|file| file.sync_all()).map_err(|error| named(directory, &error))
}

fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_directory(parent),
        _ => sync_directory(Path::new(".")),
    }
}

/// The same error with the path in it.
pub(crate) fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Whether an error means that there is no room: the disk, the quota, or the allowed size of a file is used up.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use tempfile::tempdir;

    use super::*;

    fn refused(path: &Path) -> String {
        let error = DataDir::open(path).unwrap_err();
        assert!(error.is_input());
        error.to_string()
    }

    /// Feature: A8
    #[test]
    fn a_directory_is_one_processs_alone() {
        let root = tempdir().unwrap();
        let path = root.path().join("a/b");
        let dir = DataDir::open(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        let told = refused(&path);
        assert!(
            told.contains(&format!("/a/b is in use by another process (process {})", std::process::id())),
            "{told}"
        );
        drop(dir);
        DataDir::open(&path).unwrap();
    }

    #[test]
    fn versions_that_are_not_known_are_refused_by_name() {
        let root = tempdir().unwrap();
        drop(DataDir::open(root.path()).unwrap());
        let version = root.path().join(VERSION);
        assert_eq!(fs::read_to_string(&version).unwrap(), "1\n");
        fs::write(&version, "9\n").unwrap();
        let told = refused(root.path());
        assert!(told.contains("has format version 9, and this program knows versions up to 1"), "{told}");
        for wrong in ["", "0", "one", "-1"] {
            fs::write(&version, wrong).unwrap();
            refused(root.path());
        }
    }

    #[test]
    fn a_directory_of_somebody_elses_is_left_alone() {
        let root = tempdir().unwrap();
        fs::write(root.path().join("thesis.tmp"), "x").unwrap();
        let told = refused(root.path());
        assert!(told.contains("it holds thesis.tmp"), "{told}");
        assert!(root.path().join("thesis.tmp").exists());
        let file = root.path().join("file");
        fs::write(&file, "x").unwrap();
        assert!(refused(&file).contains("/file: "));
    }

    #[test]
    fn unfinished_files_go_and_others_stay() {
        let root = tempdir().unwrap();
        drop(DataDir::open(root.path()).unwrap());
        let below = root.path().join("spans");
        fs::create_dir(&below).unwrap();
        for name in ["one.parquet", "two.parquet.tmp"] {
            fs::write(below.join(name), [1; 9000]).unwrap();
        }
        let dir = DataDir::open(root.path()).unwrap();
        assert!(below.join("one.parquet").exists());
        assert!(!below.join("two.parquet.tmp").exists());
        assert!((9000..100_000).contains(&dir.used_bytes().unwrap()));
        assert!(dir.free_space().unwrap() > 0);
    }

    #[test]
    fn a_file_is_replaced_whole_or_stays() {
        let root = tempdir().unwrap();
        let path = root.path().join("state.json");
        write_atomically(&path, b"old").unwrap();
        write_atomically(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert!(!temporary(&path).exists());
        fs::create_dir(temporary(&path)).unwrap();
        let error = write_atomically(&path, b"newer").unwrap_err();
        assert!(error.to_string().contains("state.json.tmp: "), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"new");
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert!(!path.exists());
    }
}
