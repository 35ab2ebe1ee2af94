//! Every state of every cut, looked at with the real reader and the real start.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::AddAssign;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use powercut::configuration::{
    Configuration, KEYFILES, Keyfiles, Running, document, keyfiles_in, listed, load,
};
use powercut::model::{Kind, Volume};
use powercut::recording::{Recording, Step};
use powercut::tree::Tree;

use crate::scenario::{Scenario, scratch};

/// So many states are looked at side by side.
const LOOKERS: usize = 24;

/// What was looked at.
#[derive(Clone, Copy, Debug, Default)]
pub struct Count {
    /// System calls that change something, each of them a moment of a cut.
    pub cuts: usize,
    /// States of the two folders, each with what was promised by then.
    pub states: usize,
    /// Those in which the boot partition's file was absent or no document.
    pub broken: usize,
    /// Those after which the boot partition's old file was taken for an edit.
    pub taken_back: usize,
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.cuts += other.cuts;
        self.states += other.states;
        self.broken += other.broken;
        self.taken_back += other.taken_back;
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:4} cuts, {:5} states, config.json broken or absent in {:5}, taken for an edit in {:3}",
            self.cuts, self.states, self.broken, self.taken_back
        )
    }
}

/// The result of one scenario.
pub struct Outcome {
    pub count: Count,
    pub violations: Vec<String>,
}

/// What was promised at a moment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Promise {
    /// What held when the last step had ended.
    old: Configuration,
    /// What will hold when the step under way ends; the same between two steps.
    new: Configuration,
    /// The documents and the keyfiles of earlier moments.
    before: BTreeSet<(Option<String>, Keyfiles)>,
}

impl Promise {
    /// Whether the document, and each keyfile by itself, are those of an earlier moment or of this one.
    fn has_been(&self, now: &Configuration) -> bool {
        let (documents, keyfiles): (Vec<_>, Vec<_>) = self.before.iter().cloned().unzip();
        let mut names = now
            .keyfiles
            .keys()
            .chain(keyfiles.iter().flat_map(Keyfiles::keys));
        let moments = || keyfiles.iter().chain([&self.new.keyfiles]);
        documents.contains(&now.document)
            && names.all(|name| moments().any(|then| then.get(name) == now.keyfiles.get(name)))
    }
}

/// Cuts at each step.
pub fn check(scenario: &Scenario, recording: &Recording, kinds: [Kind; 2]) -> Outcome {
    let mut moments: BTreeMap<(Tree, Tree, Promise), usize> = BTreeMap::new();
    let mut outcome = Outcome {
        count: Count::default(),
        violations: Vec::new(),
    };
    let milestones = milestones(recording);
    let mut done = 0;
    let mut volumes = [0, 1].map(|at| Volume::new(kinds[at], &recording.before[at], &recording.content));
    for (at, step) in recording.steps.iter().enumerate() {
        let promise = Promise {
            old: milestones[done].clone(),
            new: milestones[(done + 1).min(milestones.len() - 1)].clone(),
            before: milestones[..=done]
                .iter()
                .map(|then| (then.document.clone(), then.keyfiles.clone()))
                .collect(),
        };
        match step {
            Step::Do(folder, action) => {
                volumes[*folder].begin(action);
                cut(&volumes, &promise, at, &mut moments);
                // One disk has both.
                if volumes[*folder].end(action) {
                    volumes.iter_mut().for_each(Volume::flushed);
                }
                outcome.count.cuts += 1;
            }
            Step::Say(line) => {
                if line.starts_with("done") {
                    done += 1;
                    let now = milestones[done].clone();
                    let promise = Promise {
                        old: now.clone(),
                        new: now,
                        ..promise
                    };
                    cut(&volumes, &promise, at, &mut moments);
                }
            }
        }
    }
    outcome.count.states = moments.len();
    outcome.count.broken = moments.keys().filter(|(_, boot, _)| !is_document(boot)).count();
    // Many at a time: a broken file is waited for.
    let moments: Vec<_> = moments.iter().collect();
    let found = Mutex::new(Vec::new());
    let taken_back = AtomicUsize::new(0);
    let is_lazy = kinds[1] == (Kind::Fat { sync: false });
    thread::scope(|scope| {
        for part in moments.chunks(moments.len().div_ceil(LOOKERS).max(1)) {
            let (found, taken_back) = (&found, &taken_back);
            scope.spawn(move || {
                let bench = Bench::new();
                for (moment, at) in part {
                    match bench.look(scenario, moment, is_lazy) {
                        Ok(true) => {}
                        Ok(false) => drop(taken_back.fetch_add(1, Ordering::Relaxed)),
                        Err(why) => {
                            let last = recording.steps[..=**at].iter().rev().take(2).map(brief);
                            let last = last.collect::<Vec<_>>().join(" after ");
                            found
                                .lock()
                                .unwrap()
                                .push((**at, format!("{why}; cut at step {at}, {last}")));
                        }
                    }
                }
            });
        }
    });
    outcome.count.taken_back = taken_back.into_inner();
    let mut found = found.into_inner().unwrap();
    found.sort();
    outcome.violations = found.into_iter().map(|(_, why)| why).collect();
    outcome
}

/// All pairs of what the two folders may hold.
fn cut(
    volumes: &[Volume; 2],
    promise: &Promise,
    at: usize,
    moments: &mut BTreeMap<(Tree, Tree, Promise), usize>,
) {
    let [states, boots] = [volumes[0].states(), volumes[1].states()];
    for state in &states {
        for boot in &boots {
            moments
                .entry((state.clone(), boot.clone(), promise.clone()))
                .or_insert(at);
        }
    }
}

/// What holds before the first step and after each: read back from what the program left by then, had nothing been
/// lost.
fn milestones(recording: &Recording) -> Vec<Configuration> {
    let bench = Bench::new();
    let mut whole = Volume::new(Kind::Fat { sync: true }, &recording.before[0], &recording.content);
    let read = |volume: &Volume| {
        let now = volume.states().pop_first().unwrap();
        now.write(&bench.state).unwrap();
        load(&bench.state).unwrap()
    };
    let mut milestones = vec![read(&whole)];
    for step in &recording.steps {
        match step {
            Step::Do(0, action) => {
                whole.begin(action);
                whole.end(action);
            }
            Step::Say(line) if line.starts_with("done") => milestones.push(read(&whole)),
            _ => {}
        }
    }
    milestones
}

/// A keyfile that neither of the two has as it was found.
fn neither<'a>(found: &'a Keyfiles, old: &'a Keyfiles, new: &'a Keyfiles) -> Option<&'a String> {
    let mut names = found.keys().chain(old.keys()).chain(new.keys());
    names.find(|name| [old, new].iter().all(|side| side.get(*name) != found.get(*name)))
}

fn is_document(boot: &Tree) -> bool {
    boot.file("config.json")
        .is_some_and(|bytes| document(bytes).is_some())
}

fn brief(step: &Step) -> String {
    let mut text = format!("{step:?}");
    if let Some((end, _)) = text.char_indices().nth(100) {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// The folders in which states are made.
struct Bench {
    _folder: tempfile::TempDir,
    state: PathBuf,
    boot: PathBuf,
}

impl Bench {
    fn new() -> Self {
        let folder = scratch();
        let [state, boot] = ["state", "boot"].map(|name| folder.path().join(name));
        Self {
            _folder: folder,
            state,
            boot,
        }
    }

    fn start(&self) -> Result<Running, String> {
        Running::start(&self.state, &self.boot)
    }

    /// Says what is wrong with a state. Returns whether the configuration is the one that was promised: where names on
    /// the boot partition wait for a sync, an export can be lost without a trace, and its old content be taken for an
    /// edit.
    fn look(
        &self,
        scenario: &Scenario,
        (state, boot, promise): &(Tree, Tree, Promise),
        is_lazy: bool,
    ) -> Result<bool, String> {
        state.write(&self.state).unwrap();
        boot.write(&self.boot).unwrap();
        let Promise { old, new, .. } = promise;

        // A reader that needs no service: the old or the new, whole.
        let loaded = match load(&self.state) {
            // The first generation of all was torn, and there is no other yet.
            Err(_) if old.revision == 0 => old.clone(),
            loaded => loaded.map_err(|error| format!("the store cannot be read: {error}"))?,
        };
        let is_one = |found: &Configuration| {
            [old, new]
                .iter()
                .any(|good| good.document == found.document && good.revision == found.revision)
        };
        if !is_one(&loaded) {
            return Err(format!("the store has {loaded:?}, neither {old:?} nor {new:?}"));
        }
        if old.identity.is_some() && loaded.identity != old.identity {
            return Err(format!(
                "the identity is {:?}, was {:?}",
                loaded.identity, old.identity
            ));
        }

        // Each keyfile the old or the new, whole; those of one edit are stored one after the other.
        let stored = keyfiles_in(&self.state.join(KEYFILES))?;
        if let Some(name) = neither(&stored, &old.keyfiles, &new.keyfiles) {
            return Err(format!(
                "the store has {name} neither as before nor as after: {}, {old:?}, {new:?}",
                listed(&stored)
            ));
        }

        // The next start, and what comes of a broken file when nobody goes on writing it.
        let mut running = self.start()?;
        let settled = running.now();
        if !is_document(&Tree::read(&self.boot).unwrap()) {
            running.step(&["settle"])?;
        }
        let started = running.now();
        drop(running);
        if started != settled {
            return Err(format!("what a broken file left made {started:?} of {settled:?}"));
        }
        let mut allowed = BTreeSet::from([&loaded.document]);
        if scenario.is_edit {
            allowed.extend([&old.document, &new.document]);
        }
        let is_good = allowed.contains(&started.document) && (old != new || started.document == new.document);
        let are_good = [&old.keyfiles, &new.keyfiles].contains(&&started.keyfiles);
        // Where names wait for a sync, each may be that of another moment.
        let is_excused = is_lazy && promise.has_been(&started);
        if !(is_good && are_good || is_excused) {
            return Err(format!("a start made {started:?} of {loaded:?}"));
        }
        if started.revision < loaded.revision {
            return Err(format!("the revision went down: {started:?} of {loaded:?}"));
        }
        let known = loaded
            .identity
            .as_ref()
            .or(new.identity.as_ref().filter(|_| scenario.is_edit));
        if known.is_some() && started.identity.as_ref() != known {
            return Err(format!(
                "a start made {:?} of the identity {known:?}",
                started.identity
            ));
        }

        // And the next: nothing changes any more, and both copies agree.
        let again = self.start()?.now();
        if again != started {
            return Err(format!("a second start made {again:?} of {started:?}"));
        }
        if started.document.is_some() {
            self.agrees(&started)?;
        }

        // It goes on.
        self.start()?.step(&["set", "os.after", "\"the-cut\""])?;
        let after = load(&self.state)?;
        let has_it = after
            .document
            .as_ref()
            .is_some_and(|text| text.contains("the-cut"));
        if !has_it || after.identity != started.identity || after.keyfiles != started.keyfiles {
            return Err(format!("a change after the cut is not stored: {after:?}"));
        }
        self.agrees(&after)?;
        if Tree::read(&self.state)
            .unwrap()
            .0
            .keys()
            .any(|path| path.ends_with("system-connections.removed"))
        {
            return Err("removed keyfiles are left in the store".to_owned());
        }
        Ok(is_good && are_good)
    }

    /// The boot partition's copy says the same.
    fn agrees(&self, now: &Configuration) -> Result<(), String> {
        let boot = Tree::read(&self.boot).unwrap();
        let copy = boot.file("config.json").and_then(document);
        if copy != now.document {
            return Err(format!("config.json was not made whole: {copy:?}"));
        }
        let mut keyfiles = keyfiles_in(&self.boot.join(KEYFILES))?;
        // What a person damaged is left to the person.
        keyfiles.retain(|_, bytes| !bytes.is_empty());
        let missing = now.keyfiles.iter().find(|(name, bytes)| {
            let is_damaged = boot.file(&format!("{KEYFILES}/{name}")) == Some(b"");
            keyfiles.get(*name) != Some(bytes) && !is_damaged
        });
        match missing {
            Some((name, _)) => Err(format!("{name} was not made whole: {}", listed(&keyfiles))),
            None => Ok(()),
        }
    }
}
