//! Reaps orphaned processes if the program is the first process of a container, because the first process becomes the
//! parent of every orphan. An orphan that has ended stays in the process table until its parent has waited for it.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use rustix::process::{Pid, WaitOptions, waitpid};
use tokio::time::Instant;

/// The time for which an ended process is left alone, because code of this program may have started it and may still
/// wait for it.
const LEFT_FOR: Duration = Duration::from_secs(5);
/// The interval between two scans of the process table.
const LOOKS: Duration = Duration::from_secs(1);

/// Processes that have ended and that no parent has waited for.
#[derive(Debug)]
pub(super) struct Orphans {
    seen: HashMap<Pid, Instant>,
    looked: Instant,
}

impl Orphans {
    /// Returns `None` where another process is the first one.
    pub(super) fn here() -> Option<Self> {
        (std::process::id() == 1).then(|| Self { seen: HashMap::new(), looked: Instant::now() })
    }

    /// Reaps the processes that ended some time ago.
    pub(super) fn reap(&mut self) {
        let now = Instant::now();
        if now.saturating_duration_since(self.looked) < LOOKS {
            return;
        }
        self.looked = now;
        for pid in self.due(&ended(), now) {
            // Another part of the program may have waited for it since.
            let _ = waitpid(Some(pid), WaitOptions::NOHANG);
        }
    }

    /// The ended processes that were first seen long enough ago.
    fn due(&mut self, ended: &[Pid], now: Instant) -> Vec<Pid> {
        self.seen.retain(|pid, _| ended.contains(pid));
        let mut since = |pid: Pid| *self.seen.entry(pid).or_insert(now);
        ended.iter().copied().filter(|pid| now.saturating_duration_since(since(*pid)) >= LEFT_FOR).collect()
    }
}

/// The children of the first process that have ended.
fn ended() -> Vec<Pid> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid| is_ended_child(&fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default()))
        .filter_map(Pid::from_raw)
        .collect()
}

/// `17 (name, maybe with brackets) Z 1 …`: the state and the parent.
fn is_ended_child(stat: &str) -> bool {
    let mut rest = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    rest.next() == Some("Z") && rest.next() == Some("1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_children_of_the_first_process_that_have_ended_are_found() {
        assert!(is_ended_child("17 (sleep) Z 1 1 1 0"));
        assert!(is_ended_child("17 (a) S (b) Z 1 1"));
        assert!(!is_ended_child("17 (sleep) S 1 1 1 0") && !is_ended_child("17 (sleep) Z 9 1 1 0"));
        assert!(!is_ended_child(""));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_has_ended_is_left_alone_for_a_while() {
        let began = Instant::now();
        let mut orphans = Orphans { seen: HashMap::new(), looked: began };
        let (old, new) = (Pid::from_raw(7).unwrap(), Pid::from_raw(8).unwrap());
        assert_eq!(orphans.due(&[old], began), []);
        assert_eq!(orphans.due(&[old, new], began + LEFT_FOR), [old]);
        assert_eq!(orphans.due(&[new], began + LEFT_FOR + LEFT_FOR), [new]);
        assert_eq!(orphans.due(&[old], began + LEFT_FOR + LEFT_FOR), [], "its number is another's by now");
    }
}
