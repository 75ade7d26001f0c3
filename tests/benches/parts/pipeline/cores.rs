//! Who used the processors: load, receiver, daemons and their MongoDB share them, so a figure is to be read with what each
//! had of them.

use std::{fs, time::Instant};

use pulse_tests::receiver::THREAD;

/// Ticks in which Linux tells processor time, in a second: the same on every machine (`USER_HZ`).
const TICKS: f64 = 100.0;

/// Processor time from some moment on.
pub(super) struct Cores {
    processes: Vec<(&'static str, u32)>,
    began: Instant,
    used: Used,
}

/// Seconds of processor time.
struct Used {
    /// Of each of the other processes.
    processes: Vec<f64>,
    ours: f64,
    receivers: f64,
}

impl Used {
    fn now(processes: &[(&'static str, u32)]) -> Self {
        let threads = fs::read_dir("/proc/self/task").expect("threads of this process");
        let threads = threads.filter_map(|entry| Some(entry.ok()?.path()));
        // A thread may end between the list and the look.
        let receivers =
            threads.filter(|path| fs::read_to_string(path.join("comm")).is_ok_and(|name| name.trim_end() == THREAD));
        Self {
            processes: processes.iter().map(|(_, process)| seconds(&format!("/proc/{process}/stat"))).collect(),
            ours: seconds("/proc/self/stat"),
            receivers: receivers.filter_map(|path| Some(seconds(path.join("stat").to_str()?))).sum(),
        }
    }
}

/// Processor time of a process or a thread, in it and in the kernel for it; 0 when it is gone.
fn seconds(stat: &str) -> f64 {
    let text = fs::read_to_string(stat).unwrap_or_default();
    // The name is in parentheses and may have spaces; after it the times are the 12th and the 13th field.
    let fields = text.rsplit_once(") ").map_or("", |(_, fields)| fields).split(' ');
    fields.skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / TICKS
}

impl Cores {
    /// From now on, of this process and of these, each under its name.
    pub(super) fn from_now(processes: Vec<(&'static str, u32)>) -> Self {
        let used = Used::now(&processes);
        Self { processes, began: Instant::now(), used }
    }

    /// How many processors each has kept busy, for a note.
    pub(super) fn note(&self) -> String {
        let (now, took) = (Used::now(&self.processes), self.began.elapsed().as_secs_f64());
        let receivers = (now.receivers - self.used.receivers) / took;
        let load = (now.ours - self.used.ours) / took - receivers;
        let mut note = String::from("cores: ");
        for ((name, _), (now, before)) in self.processes.iter().zip(now.processes.iter().zip(&self.used.processes)) {
            note += &format!("{name} {:.2}, ", (now - before) / took);
        }
        note + &format!("load {load:.2}, receiver {receivers:.2}")
    }
}
