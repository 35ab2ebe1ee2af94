//! The course of a rollout: which device is next, and when to stop.
//!
//! Pure: fed with what ended how, it says what to start. Nothing here knows of ssh, time or a terminal.

/// One device, a few, the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    First,
    Few,
    Rest,
}

impl Stage {
    /// For people.
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::First => "the first",
            Self::Few => "a few",
            Self::Rest => "the rest",
        }
    }
}

/// How a device ended, as far as the course cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// It has the values and is well. Counts for the stage.
    Well,
    /// It could not be reached before anything was sent. Another one takes its place in the stage.
    Skipped,
    /// It refused, or is worse than before: nothing else is started.
    Bad,
}

/// Why nothing new is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// A device ended badly.
    Bad,
    /// The very first device of the list cannot be reached: it is there to be tried on.
    FirstUnreachable,
    /// A person pressed Ctrl-C.
    Interrupted,
}

/// A rollout over so many devices, numbered in the order of the list.
#[derive(Clone, Debug)]
pub(super) struct Course {
    total: usize,
    few: usize,
    parallel: usize,
    stage: Stage,
    /// The device that is started next.
    next: usize,
    running: usize,
    /// How many of this stage are well.
    well: usize,
    stop: Option<Stop>,
    interrupted: bool,
}

impl Course {
    /// `few` is the size of the second stage; without it a twentieth of all, at least 2 and at most 10. At most
    /// `parallel` devices are under way at once.
    pub(super) fn new(total: usize, few: Option<usize>, parallel: usize) -> Self {
        Self {
            total,
            few: few.unwrap_or_else(|| total.div_ceil(20).clamp(2, 10)),
            parallel: parallel.max(1),
            stage: Stage::First,
            next: 0,
            running: 0,
            well: 0,
            stop: None,
            interrupted: false,
        }
    }

    /// The next device that may be started now; it counts as running from then on.
    pub(super) fn next(&mut self) -> Option<usize> {
        let room = self.running < self.parallel && self.well + self.running < self.size();
        if self.stop.is_some() || !room || self.next >= self.total {
            return None;
        }
        self.next += 1;
        self.running += 1;
        Some(self.next - 1)
    }

    /// A running device has ended.
    pub(super) fn ended(&mut self, ending: Ending) {
        self.running = self.running.saturating_sub(1);
        match ending {
            Ending::Well => self.well += 1,
            Ending::Skipped if self.stage == Stage::First => self.halt(Stop::FirstUnreachable),
            Ending::Skipped => {}
            Ending::Bad => self.halt(Stop::Bad),
        }
        while self.well >= self.size() {
            self.well = 0;
            self.stage = match self.stage {
                Stage::First => Stage::Few,
                Stage::Few | Stage::Rest => Stage::Rest,
            };
        }
    }

    /// A person wants no more devices to be started.
    pub(super) fn interrupt(&mut self) {
        self.interrupted = true;
        self.halt(Stop::Interrupted);
    }

    /// What came first is the reason; but that a device ended badly outweighs that a person lost patience.
    fn halt(&mut self, why: Stop) {
        if self.stop.is_none() || why == Stop::Bad {
            self.stop = Some(why);
        }
    }

    /// Nothing runs, and nothing will.
    pub(super) const fn is_over(&self) -> bool {
        self.running == 0 && (self.stop.is_some() || self.next >= self.total)
    }

    /// Why nothing new is started, if that is so.
    pub(super) const fn stopped(&self) -> Option<Stop> {
        self.stop
    }

    /// Whether a person has pressed Ctrl-C, so that another one can only mean to end.
    pub(super) const fn is_interrupted(&self) -> bool {
        self.interrupted
    }

    /// The stage that runs.
    pub(super) const fn stage(&self) -> Stage {
        self.stage
    }

    /// The sizes of the stages, as far as the list reaches.
    pub(super) fn sizes(&self) -> [usize; 3] {
        let first = self.total.min(1);
        let few = self.few.min(self.total - first);
        [first, few, self.total - first - few]
    }

    const fn size(&self) -> usize {
        match self.stage {
            Stage::First => 1,
            Stage::Few => self.few,
            Stage::Rest => usize::MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Ending::{Bad, Skipped, Well};
    use super::*;

    /// All that may be started now.
    fn started(course: &mut Course) -> Vec<usize> {
        std::iter::from_fn(|| course.next()).collect()
    }

    fn all(course: &mut Course, endings: &[Ending]) {
        for &ending in endings {
            course.ended(ending);
        }
    }

    #[test]
    fn stages_have_their_sizes() {
        let sizes = [
            (1, None, [1, 0, 0]),
            (2, None, [1, 1, 0]),
            (3, None, [1, 2, 0]),
            (10, None, [1, 2, 7]),
            (100, None, [1, 5, 94]),
            (101, None, [1, 6, 94]),
            (10_000, None, [1, 10, 9989]),
            (10, Some(0), [1, 0, 9]),
            (10, Some(4), [1, 4, 5]),
            (3, Some(100), [1, 2, 0]),
        ];
        for (total, few, wanted) in sizes {
            assert_eq!(Course::new(total, few, 10).sizes(), wanted, "{total} {few:?}");
        }
    }

    #[test]
    fn one_then_a_few_then_the_rest() {
        let mut course = Course::new(9, None, 4);
        assert_eq!(started(&mut course), [0]);
        course.ended(Well);
        assert_eq!(course.stage(), Stage::Few);
        assert_eq!(started(&mut course), [1, 2]);
        course.ended(Well);
        assert_eq!(started(&mut course), [0; 0], "the stage has to be whole");
        course.ended(Well);
        assert_eq!(
            started(&mut course),
            [3, 4, 5, 6],
            "no more at once than asked for"
        );
        course.ended(Well);
        assert_eq!(started(&mut course), [7]);
        all(&mut course, &[Well; 4]);
        assert_eq!(started(&mut course), [8]);
        assert!(!course.is_over());
        course.ended(Well);
        assert!(course.is_over());
        assert_eq!(course.stopped(), None);
    }

    #[test]
    fn a_bad_end_stops_and_what_runs_may_end() {
        let mut course = Course::new(9, None, 4);
        started(&mut course);
        course.ended(Well);
        assert_eq!(started(&mut course), [1, 2]);
        course.ended(Bad);
        assert_eq!(started(&mut course), [0; 0]);
        assert!(!course.is_over(), "one is still running");
        course.ended(Well);
        assert_eq!(started(&mut course), [0; 0]);
        assert!(course.is_over());
        assert_eq!(course.stopped(), Some(Stop::Bad));
    }

    #[test]
    fn who_cannot_be_reached_is_replaced_in_the_stage() {
        let mut course = Course::new(6, Some(2), 4);
        started(&mut course);
        course.ended(Well);
        assert_eq!(started(&mut course), [1, 2]);
        course.ended(Skipped);
        assert_eq!(started(&mut course), [3]);
        all(&mut course, &[Well, Well]);
        assert_eq!(course.stage(), Stage::Rest);
        assert_eq!(started(&mut course), [4, 5]);
        all(&mut course, &[Skipped, Skipped]);
        assert!(course.is_over());
        assert_eq!(course.stopped(), None);
    }

    #[test]
    fn the_first_has_to_be_there() {
        let mut course = Course::new(3, None, 4);
        started(&mut course);
        course.ended(Skipped);
        assert!(course.is_over());
        assert_eq!(course.stopped(), Some(Stop::FirstUnreachable));
    }

    #[test]
    fn an_interrupted_one_ends_what_runs() {
        let mut course = Course::new(9, Some(0), 2);
        started(&mut course);
        course.ended(Well);
        assert_eq!(started(&mut course), [1, 2]);
        course.interrupt();
        assert!(course.is_interrupted());
        course.ended(Well);
        assert_eq!(started(&mut course), [0; 0]);
        course.ended(Bad);
        assert!(course.is_over());
        assert_eq!(course.stopped(), Some(Stop::Bad), "the worse reason is told");
    }

    #[test]
    fn every_list_comes_to_an_end_and_nobody_is_started_twice() {
        for total in 1..40 {
            for few in [None, Some(0), Some(3)] {
                let mut course = Course::new(total, few, 3);
                let mut seen = Vec::new();
                while !course.is_over() {
                    seen.extend(started(&mut course));
                    let skipped = seen.len() > 1 && seen.len() % 3 == 0;
                    course.ended(if skipped { Skipped } else { Well });
                }
                assert_eq!(seen, (0..total).collect::<Vec<_>>(), "{total} {few:?}");
            }
        }
    }
}
