//! Who goes first when all processors are busy: the thread that writes.
//!
//! All that happens waits for a commit, and under a load half of what a commit took was that its thread, of which there is one,
//! had no processor. So it takes precedence over other threads by a little, where the system allows that: to root, to
//! `CAP_SYS_NICE`, and within `RLIMIT_NICE`, which Pulse's systemd unit sets. The other way round, all others nicer than the
//! writer, needs no privilege, but puts Pulse behind whatever else wants the processors (`docs/DECISIONS.md`).
//!
//! Linux has a niceness for each thread. Elsewhere it is one of the whole process, and nothing is done.

use rustix::process::{getpriority_process, setpriority_process};

/// By how much the writer is less nice than others. Each step is a factor of 1.25, so its share of a processor is 2.4 times that
/// of another thread (`sched(7)`).
const BEFORE_OTHERS: i32 = 4;

/// Puts the calling thread before others; where that is refused, it stays as it is.
pub(super) fn go_first() {
    if cfg!(target_os = "linux")
        && let Ok(niceness) = getpriority_process(None)
        && let Err(refused) = setpriority_process(None, niceness - BEFORE_OTHERS)
    {
        tracing::debug!(cause = %refused, "the writer's thread has no precedence");
    }
}
