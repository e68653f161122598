//! A disk that can be filled, or made read-only, without harm to the machine.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// A file system of its own, as small as asked for; unmounted with the test.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` where this user may not mount; a limit of file sizes stands in for it then.
    pub fn mount(place: &Path) -> Option<SmallDisk> {
        fs::create_dir(place).expect("makes");
        let mut command = Command::new("/bin/mount");
        command.args(["-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs"]).arg(place);
        let done = command.output().is_ok_and(|output| output.status.success());
        done.then(|| SmallDisk(place.to_owned()))
    }

    /// Waits for what holds a file open for writing: the kernel closes the files of an engine that
    /// was just killed a moment later.
    pub fn remount(&self, option: &str) {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let mut command = Command::new("/bin/mount");
            command.args(["-o", &format!("remount,{option}")]).arg(&self.0);
            let output = command.output().expect("it starts");
            if output.status.success() {
                return;
            }
            assert!(Instant::now() < deadline, "{output:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn fill(&self) {
        let mut file = fs::File::create(self.0.join("filler")).expect("makes");
        while file.write_all(&[7; 512]).is_ok() {}
    }

    pub fn free(&self) {
        fs::remove_file(self.0.join("filler")).expect("removes");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // An engine that was just killed may hold it for a moment: lazily.
        let _ = Command::new("/bin/umount").arg("-l").arg(&self.0).status();
    }
}
