//! Makes sure that no process of a broker outlives its test.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Waits until its input ends. The kernel ends the input when the test's process ends in any way. Then kills every
/// process group that the file names, and removes the folder.
const SCRIPT: &str = r#"
cat > /dev/null
for group in $(cat "$1/groups"); do kill -s KILL -- "-$group"; done
for try in 1 2 3 4 5 6 7 8 9 10; do rm -rf "$1" 2> /dev/null && break; sleep 0.1; done
"#;

/// A process that ends a broker's processes and removes their folder when it is dropped or its parent dies.
#[derive(Debug)]
pub(super) struct Guard {
    groups: PathBuf,
    process: Child,
}

impl Guard {
    /// Starts the guard of a folder.
    pub(super) fn over(folder: &Path) -> io::Result<Self> {
        let groups = folder.join("groups");
        fs::write(&groups, "")?;
        let mut command = Command::new("/bin/sh");
        command.args(["-c", SCRIPT, "guard"]).arg(folder);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.process_group(0).spawn()?;
        Ok(Self { groups, process })
    }

    /// Records the current process groups.
    pub(super) fn watch(&self, groups: &[u32]) -> io::Result<()> {
        let lines: Vec<String> = groups.iter().map(u32::to_string).collect();
        fs::write(&self.groups, lines.join("\n"))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}
