//! Locks the file of a sink, so that no sink empties a file that another sink has open, and only one sink writes at a
//! time.
//!
//! Every sink that has a file open holds a claim on it. Any number of sinks may append to one file: workers of one run,
//! several tasks, several runs. A sink that empties the file needs exclusive access until the file is empty. A sink of
//! a workbook needs exclusive access as long as it is open. Sinks of one process share one claim, so that a file which
//! several tasks of a run empty is emptied once.
//!
//! On Linux the locks belong to the open file and to ranges far beyond any content (`F_OFD_SETLK`). Such locks hold
//! under every name of the file, end with the process, and need no second file. On other systems a lock covers the
//! whole file, so it protects only single writes, and sinks with exclusive access.

use std::fs::{File, Metadata};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// The condition that a sink sets for the other sinks that have its file open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// No other sink empties the file.
    Append,
    /// No other sink has the file open before it is empty.
    Empty,
    /// No other sink has the file open at all.
    Alone,
}

/// The reason why a file cannot be claimed.
#[derive(Debug)]
pub(super) enum Refused {
    /// Another sink has the file open.
    Taken,
    /// Another sink is about to empty the file, or has exclusive access.
    Closed,
    /// The system refused to lock the file.
    Failed(io::Error),
}

/// The claims of this process, one for each file.
static CLAIMS: Mutex<Vec<(Identity, Weak<Claim>)>> = Mutex::new(Vec::new());

/// One file under any of its names; `None` where the system gives files no identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity(Option<(u64, u64)>);

/// A file that sinks of this process have open.
#[derive(Debug)]
pub(super) struct Claim {
    /// Holds the lock.
    file: File,
    state: Mutex<State>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// No run of its sinks has started yet.
    Fresh(Wish),
    /// The file was emptied, or written to.
    Started,
}

impl Identity {
    /// The identity of the file that has this metadata.
    #[cfg(unix)]
    pub(super) fn of(metadata: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        Self(Some((metadata.dev(), metadata.ino())))
    }

    #[cfg(not(unix))]
    pub(super) fn of(_: &Metadata) -> Self {
        Self(None)
    }
}

impl Claim {
    /// Claims a file, or joins the claim of this process on it.
    pub(super) fn new(file: &File, identity: Identity, wish: Wish) -> Result<Arc<Self>, Refused> {
        // The list stays locked until the claim is in it, so that two sinks of this process cannot both lock the file.
        let mut claims = lock(&CLAIMS);
        claims.retain(|(_, claim)| claim.strong_count() > 0);
        let same = |other: &&(Identity, Weak<Self>)| identity.0.is_some() && other.0 == identity;
        if let Some(claim) = claims.iter().find(same).and_then(|(_, claim)| claim.upgrade()) {
            return claim.join(wish).map(|()| claim);
        }
        let file = file.try_clone().map_err(Refused::Failed)?;
        let got = if wish == Wish::Append { locks::have(&file) } else { locks::have_alone(&file) };
        match got.map_err(Refused::Failed)? {
            true => {}
            false if wish == Wish::Append => return Err(Refused::Closed),
            false => return Err(Refused::Taken),
        }
        let claim = Arc::new(Self { file, state: Mutex::new(State::Fresh(wish)) });
        claims.push((identity, Arc::downgrade(&claim)));
        Ok(claim)
    }

    /// Adds one more sink of this process.
    fn join(&self, wish: Wish) -> Result<(), Refused> {
        let mut state = lock(&self.state);
        match (*state, wish) {
            (State::Fresh(Wish::Alone), _) | (_, Wish::Alone) | (State::Started, Wish::Empty) => {
                Err(Refused::Taken)
            }
            (State::Fresh(Wish::Append), Wish::Empty) => match locks::have_alone(&self.file) {
                Ok(true) => {
                    *state = State::Fresh(Wish::Empty);
                    Ok(())
                }
                Ok(false) => Err(Refused::Taken),
                Err(error) => Err(Refused::Failed(error)),
            },
            (State::Fresh(_), Wish::Empty) | (_, Wish::Append) => Ok(()),
        }
    }

    /// Empties the file once, if one of its sinks asks for it. From then on other sinks may append to the file.
    pub(super) fn start(&self) -> io::Result<()> {
        let mut state = lock(&self.state);
        match *state {
            State::Fresh(Wish::Empty) => {
                self.file.set_len(0)?;
                locks::share(&self.file)?;
                *state = State::Started;
            }
            State::Fresh(Wish::Append) => *state = State::Started,
            State::Fresh(Wish::Alone) | State::Started => {}
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps every other sink from writing until [`unlock`].
pub(super) fn lock_for_write(file: &File) -> io::Result<()> {
    locks::write(file)
}

/// Lets the next sink write.
pub(super) fn unlock(file: &File) -> io::Result<()> {
    locks::written(file)
}

#[cfg(target_os = "linux")]
mod locks {
    use std::fs::File;
    use std::io;

    use nix::errno::Errno;
    use nix::fcntl::{FcntlArg, fcntl};
    use nix::libc;

    /// The byte that a sink locks while it writes.
    const WRITING: i64 = 1 << 62;
    /// The first of the bytes of which each claim locks one.
    const HAVING: i64 = WRITING + 1;
    const PLACES: i64 = 1 << 20;

    /// Locks one of the places; false if another process has all of them.
    pub(super) fn have(file: &File) -> io::Result<bool> {
        // Two claims choose the same place once in a million times, so eight collisions in a row mean that another sink
        // has all places.
        for _ in 0..8 {
            if set(file, libc::F_WRLCK, HAVING + fastrand::i64(0..PLACES), 1)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Locks all places; false if another process has one.
    pub(super) fn have_alone(file: &File) -> io::Result<bool> {
        set(file, libc::F_WRLCK, HAVING, PLACES)
    }

    /// Keeps one of all places.
    pub(super) fn share(file: &File) -> io::Result<()> {
        let mine = fastrand::i64(0..PLACES);
        set(file, libc::F_UNLCK, HAVING, mine)?;
        set(file, libc::F_UNLCK, HAVING + mine + 1, PLACES - mine - 1).map(drop)
    }

    pub(super) fn write(file: &File) -> io::Result<()> {
        loop {
            match fcntl(file, FcntlArg::F_OFD_SETLKW(&range(libc::F_WRLCK, WRITING, 1))) {
                Err(Errno::EINTR) => {}
                done => return unsupported(done.map(|_| true)).map(drop),
            }
        }
    }

    pub(super) fn written(file: &File) -> io::Result<()> {
        set(file, libc::F_UNLCK, WRITING, 1).map(drop)
    }

    fn set(file: &File, kind: i32, start: i64, length: i64) -> io::Result<bool> {
        // For the system, a length of 0 means the rest of the file.
        if length == 0 {
            return Ok(true);
        }
        match fcntl(file, FcntlArg::F_OFD_SETLK(&range(kind, start, length))) {
            Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
            done => unsupported(done.map(|_| true)),
        }
    }

    /// On a file system without locks, a sink writes without a lock.
    fn unsupported(done: nix::Result<bool>) -> io::Result<bool> {
        match done {
            Err(Errno::ENOLCK | Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::EINVAL) => Ok(true),
            done => done.map_err(io::Error::from),
        }
    }

    fn range(kind: i32, start: i64, length: i64) -> libc::flock {
        let kind = libc::c_short::try_from(kind).unwrap_or_default();
        let whence = libc::c_short::try_from(libc::SEEK_SET).unwrap_or_default();
        libc::flock { l_type: kind, l_whence: whence, l_start: start, l_len: length, l_pid: 0 }
    }
}

#[cfg(not(target_os = "linux"))]
mod locks {
    use std::fs::{File, TryLockError};
    use std::io;

    pub(super) fn have(_: &File) -> io::Result<bool> {
        Ok(true)
    }

    pub(super) fn have_alone(file: &File) -> io::Result<bool> {
        match file.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    pub(super) fn share(file: &File) -> io::Result<()> {
        file.unlock()
    }

    pub(super) fn write(file: &File) -> io::Result<()> {
        file.lock()
    }

    pub(super) fn written(file: &File) -> io::Result<()> {
        file.unlock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &std::path::Path) -> (File, Identity) {
        let file = File::options().append(true).create(true).open(path).unwrap();
        let identity = Identity::of(&file.metadata().unwrap());
        (file, identity)
    }

    #[test]
    fn sinks_of_one_process_empty_their_file_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, "old").unwrap();
        let (file, identity) = open(&path);
        let first = Claim::new(&file, identity, Wish::Append).unwrap();
        let second = Claim::new(&file, identity, Wish::Empty).unwrap();
        let third = Claim::new(&file, identity, Wish::Empty).unwrap();
        first.start().unwrap();
        std::fs::write(&path, "new").unwrap();
        second.start().unwrap();
        third.start().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
        // From here on, the file has content that a second sink could erase.
        assert!(matches!(Claim::new(&file, identity, Wish::Empty), Err(Refused::Taken)));
        assert!(matches!(Claim::new(&file, identity, Wish::Alone), Err(Refused::Taken)));
        Claim::new(&file, identity, Wish::Append).unwrap();
    }

    /// Without an identity there is no claim to join, so each sink acts as a separate process.
    #[cfg(target_os = "linux")]
    #[test]
    fn processes_append_together_and_empty_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let claim = |wish| Claim::new(&open(&path).0, Identity(None), wish);
        let appends = [claim(Wish::Append).unwrap(), claim(Wish::Append).unwrap()];
        for wish in [Wish::Empty, Wish::Alone] {
            assert!(matches!(claim(wish), Err(Refused::Taken)), "{wish:?}");
        }
        drop(appends);
        let empties = claim(Wish::Empty).unwrap();
        assert!(matches!(claim(Wish::Append), Err(Refused::Closed)), "it is not empty yet");
        empties.start().unwrap();
        let appends = claim(Wish::Append).unwrap();
        assert!(matches!(claim(Wish::Empty), Err(Refused::Taken)));
        drop((empties, appends));
        let alone = claim(Wish::Alone).unwrap();
        alone.start().unwrap();
        assert!(matches!(claim(Wish::Append), Err(Refused::Closed)));
    }
}
