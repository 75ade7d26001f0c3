//! Whose turn it is: which of the jobs that wait for the writer make up its next group.
//!
//! The patient ones, which end what has been done already (a delivery, a job, the sums of a session), are held back while there are
//! others, and so come in larger groups: a commit of thirty ends writes few more pages than one of two. None is held back for
//! more than [`PASSED`] groups, nor more than [`PATIENT`] of them; when nobody else is there, none is at all.

/// How many groups go before one that is patient, at most.
const PASSED: usize = 8;
/// How many may be held back.
const PATIENT: usize = 32;

/// The jobs that are held back. `J` is a job.
pub(super) struct Turns<J> {
    patient: Vec<J>,
    passed: usize,
}

impl<J> Default for Turns<J> {
    fn default() -> Self {
        Self { patient: Vec::new(), passed: 0 }
    }
}

impl<J> Turns<J> {
    /// Whether none is held back.
    pub(super) fn is_empty(&self) -> bool {
        self.patient.is_empty()
    }

    /// The next group, when these have come: in their order, and behind them those that are held back no longer. Empty only when
    /// none has come and none is held back.
    pub(super) fn next(&mut self, come: Vec<J>, is_patient: impl Fn(&J) -> bool) -> Vec<J> {
        let (patient, mut group): (Vec<J>, Vec<J>) = come.into_iter().partition(is_patient);
        self.patient.extend(patient);
        if group.is_empty() || self.passed == PASSED || self.patient.len() >= PATIENT {
            group.append(&mut self.patient);
            self.passed = 0;
        } else if !self.patient.is_empty() {
            self.passed += 1;
        }
        group
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets these come: numbers from a hundred on are patient.
    fn next(turns: &mut Turns<usize>, come: impl IntoIterator<Item = usize>) -> Vec<usize> {
        turns.next(come.into_iter().collect(), |job| *job >= 100)
    }

    #[test]
    fn patient_ones_let_others_go_first() {
        let mut turns = Turns::default();
        assert_eq!(next(&mut turns, [100, 1, 101, 2]), [1, 2]);
        assert_eq!(next(&mut turns, [3, 102]), [3]);
        assert!(!turns.is_empty());
        assert_eq!(next(&mut turns, []), [100, 101, 102]);
        assert!(turns.is_empty());
        assert_eq!(next(&mut turns, []), [0; 0]);
    }

    #[test]
    fn alone_it_is_not_held_back() {
        let mut turns = Turns::default();
        assert_eq!(next(&mut turns, [100, 101]), [100, 101]);
    }

    #[test]
    fn it_lets_only_so_many_groups_pass() {
        let mut turns = Turns::default();
        for _ in 0..PASSED {
            assert_eq!(next(&mut turns, [100, 1]), [1]);
        }
        assert_eq!(next(&mut turns, [1]), [&[1][..], &[100; PASSED]].concat(), "they should come now");
        assert_eq!(next(&mut turns, [100, 1]), [1], "the next one waits again");
    }

    #[test]
    fn only_so_many_are_held_back() {
        let mut turns = Turns::default();
        assert_eq!(next(&mut turns, (100..100 + PATIENT - 1).chain([1])), [1]);
        assert_eq!(next(&mut turns, [1, 200]).len(), 1 + PATIENT);
    }
}
