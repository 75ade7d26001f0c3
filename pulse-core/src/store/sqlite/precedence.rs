//! Who goes first when all processors are busy: the thread that writes.
//!
//! All that happens waits for a commit, and under a load half of what a commit took was that its thread, of which there is one,
//! had no processor. So it goes before the other threads of its process by a little, where the system allows that: with
//! `CAP_SYS_NICE`, and within `RLIMIT_NICE`, which Pulse's systemd unit sets. The other way round, all others nicer than the
//! writer, needs no privilege, but puts Pulse behind whatever else wants the processors (`docs/DECISIONS.md`).
//!
//! Linux has a niceness for each thread. Elsewhere it is one of the whole process, and nothing is done.

use rustix::process::{getpriority_process, setpriority_process};

/// By how much the writer is less nice than others, at most. Each step is a factor of 1.25, so its share of a processor is 2.4
/// times that of another thread (`sched(7)`).
const BEFORE_OTHERS: i32 = 4;

/// Puts the calling thread before others, as far as it may.
pub(super) fn go_first() {
    if cfg!(target_os = "linux")
        && let Ok(niceness) = getpriority_process(None)
    {
        let allowed = (1..=BEFORE_OTHERS).rev().find(|by| setpriority_process(None, niceness - by).is_ok());
        tracing::debug!(by = allowed.unwrap_or(0), "the thread that writes goes before the others");
    }
}
