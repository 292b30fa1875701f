//! Processors that do not fall asleep.
//!
//! In a virtual machine a processor with nothing to do is halted by the hypervisor, and to wake it
//! takes longer than all that a proxy does for a query. As long as [`Awake`] lives, each processor
//! has a thread of the class `SCHED_IDLE` (sched(7)) that counts: it runs only where nothing else
//! wants to, and whoever wants to is let in at once.

use std::hint::black_box;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use super::process::output;

/// Threads that count until this is dropped.
pub(super) struct Awake {
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Awake {
    /// One thread for each processor that this process may use.
    pub(super) fn keep() -> Result<Self, String> {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let mut awake = Self {
            over: Arc::default(),
            threads: Vec::new(),
        };
        for _ in 0..processors {
            let over = Arc::clone(&awake.over);
            let (tell, told) = std::sync::mpsc::sync_channel(1);
            awake.threads.push(std::thread::spawn(move || {
                let stepped_back = step_back();
                let counts = stepped_back.is_ok();
                tell.send(stepped_back).ok();
                let mut number = 0_u64;
                while counts && !over.load(Ordering::Relaxed) {
                    // No pause instruction: a hypervisor takes that for a sign to halt.
                    number = black_box(number.wrapping_add(1));
                }
            }));
            told.recv().map_err(|error| error.to_string())??;
        }
        Ok(awake)
    }
}

/// Puts this thread behind everybody else.
fn step_back() -> Result<(), String> {
    let own = std::fs::read_link("/proc/thread-self").map_err(|error| error.to_string())?;
    let id = own.file_name().ok_or("/proc/thread-self names no thread")?;
    output(Command::new("chrt").args(["--idle", "--pid", "0"]).arg(id)).map(drop)
}

impl Drop for Awake {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // One that broke down has ended, which is all that is wanted.
            thread.join().ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_steps_back_stands_behind_everybody_else() {
        let policy = || {
            let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
            // Field 41 (proc(5)); the second is a name, which may have spaces.
            let (_, rest) = stat.rsplit_once(')').unwrap();
            rest.split_whitespace().nth(41 - 3).unwrap().to_owned()
        };
        let own = std::thread::spawn(move || {
            let before = policy();
            step_back().unwrap();
            (before, policy())
        });
        let [other, idle] = ["0", "5"].map(ToOwned::to_owned);
        assert_eq!(own.join().unwrap(), (other, idle));
    }

    #[test]
    fn it_has_an_end() {
        let awake = Awake::keep().unwrap();
        let over = Arc::clone(&awake.over);
        drop(awake);
        assert_eq!(Arc::strong_count(&over), 1, "no thread is left that asks");
    }
}
