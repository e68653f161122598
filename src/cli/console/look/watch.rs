//! Notices changes of the folder with a person's own themes, also when it is made later.
//!
//! Decides when a change is over. Never reads a theme. Contract: whatever changed is told after it
//! came to rest, once.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

/// Editors write a file in several steps.
const QUIET: Duration = Duration::from_millis(150);

/// The folder, or while there is none the nearest one above it.
struct Watched {
    notes: OwnedFd,
    dir: PathBuf,
    place: PathBuf,
    number: Option<i32>,
}

/// Sends a message each time that something in `dir` changed.
pub fn watch<T: Send + 'static>(dir: &Path, sender: Sender<T>, message: fn() -> T) {
    // Without it a theme changes at the next start.
    let Ok(mut watched) = Watched::new(dir) else { return };
    let _ = thread::Builder::new().name("themes".to_owned()).spawn(move || {
        while let Ok(told) = watched.next() {
            if told && sender.send(message()).is_err() {
                return;
            }
        }
    });
}

impl Watched {
    fn new(dir: &Path) -> io::Result<Watched> {
        let notes = inotify::init(CreateFlags::CLOEXEC)?;
        let dir = dir.to_owned();
        let mut watched = Watched { notes, dir, place: PathBuf::new(), number: None };
        watched.follow()?;
        Ok(watched)
    }

    /// Waits for a change; true when it is one of the folder.
    fn next(&mut self) -> io::Result<bool> {
        settled(&self.notes)?;
        let before = self.place == self.dir;
        // Before it is told: what comes later is a change of its own.
        self.follow()?;
        Ok(before || self.place == self.dir)
    }

    /// Looks at what there is now.
    fn follow(&mut self) -> io::Result<()> {
        loop {
            let place = nearest(&self.dir).to_owned();
            if place != self.place
                && let Some(number) = self.number.take()
            {
                // One that was deleted is not watched any more.
                let _ = inotify::remove_watch(&self.notes, number);
            }
            let gone = WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF | WatchFlags::MOVED_TO;
            let flags = if place == self.dir {
                gone | WatchFlags::CLOSE_WRITE | WatchFlags::DELETE
            } else {
                gone | WatchFlags::CREATE
            };
            match inotify::add_watch(&self.notes, &place, flags) {
                Ok(number) => self.number = Some(number),
                // It went meanwhile.
                Err(rustix::io::Errno::NOENT) => continue,
                Err(error) => return Err(error.into()),
            }
            self.place = place;
            if nearest(&self.dir) == self.place {
                return Ok(());
            }
        }
    }
}

fn nearest(dir: &Path) -> &Path {
    let folder = |place: &&Path| fs::metadata(place).is_ok_and(|facts| facts.is_dir());
    dir.ancestors().find(folder).unwrap_or(Path::new("/"))
}

/// Waits for a change, and until there was none for a little while.
fn settled(notes: &OwnedFd) -> io::Result<()> {
    let mut events = [0; 4096];
    rustix::io::read(notes, &mut events)?;
    let quiet = Timespec::try_from(QUIET).ok();
    loop {
        let mut fds = [PollFd::new(notes, PollFlags::IN)];
        if poll(&mut fds, quiet.as_ref())? == 0 {
            return Ok(());
        }
        rustix::io::read(notes, &mut events)?;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Instant;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    #[test]
    fn a_folder_is_noticed_whenever_it_is_made() {
        let above = tempfile::tempdir().expect("a directory");
        let dir = above.path().join("quarterdeck/themes");
        let (sender, changes) = mpsc::channel();
        watch(&dir, sender, || ());
        for round in ["first", "again"] {
            fs::create_dir_all(&dir).expect("a folder");
            changes.recv_timeout(PATIENCE).expect("the folder");
            while changes.recv_timeout(3 * QUIET).is_ok() {}
            fs::write(dir.join("own.toml"), round).expect("a file");
            changes.recv_timeout(PATIENCE).expect("the file");
            fs::remove_dir_all(above.path().join("quarterdeck")).expect("it was there");
            changes.recv_timeout(PATIENCE).expect("its end");
            while changes.recv_timeout(3 * QUIET).is_ok() {}
        }
    }

    #[test]
    fn what_is_written_in_several_steps_is_one_change() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut watched = Watched::new(dir.path()).expect("it is watched");
        let begun = Instant::now();
        for step in ["one", "two", "three"] {
            fs::write(dir.path().join("own.toml"), step).expect("a file");
        }
        assert!(watched.next().expect("a change"));
        assert!(begun.elapsed() >= QUIET, "not before it came to rest");
        let mut fds = [PollFd::new(&watched.notes, PollFlags::IN)];
        let none = Timespec::default();
        assert_eq!(poll(&mut fds, Some(&none)).expect("it can be asked"), 0, "nothing is left");
    }
}
