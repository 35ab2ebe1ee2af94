//! What is recorded: folders to begin with, and what the program does with them.

use std::fs;
use std::path::Path;

use powercut::configuration::{Running, document};
use powercut::recording::Recording;
use tempfile::TempDir;

use self::Before::{Accepted, BootFile, Change, Edited, EditedLarge, Legacy, NoBootFile};

const IDENTITY: &str = "0123456789abcdef0123456789abcdef";

/// What happened before the recording.
pub enum Before {
    /// A document was given on the boot partition and accepted, and the device was started again.
    Accepted,
    /// A change, as the recorded program takes it.
    Change(&'static str),
    /// A person wrote a document with this host name to the boot partition.
    Edited(&'static str),
    /// The same with a document of some sectors.
    EditedLarge(&'static str),
    /// The store is that of the release before generations; its host name is this.
    Legacy(&'static str),
    /// The boot partition's file became these bytes.
    BootFile(&'static str),
    /// It went.
    NoBootFile,
}

/// One recorded run: a start, and steps.
pub struct Scenario {
    /// What it is, in the words of the test's output.
    pub name: &'static str,
    before: &'static [Before],
    /// The program's steps, with `--` between two.
    steps: &'static str,
    /// The boot partition has an edit that a start takes up.
    pub is_edit: bool,
    /// It makes a promise that needs a sync.
    pub must_sync: bool,
}

const fn scenario(name: &'static str, before: &'static [Before], steps: &'static str) -> Scenario {
    Scenario {
        name,
        before,
        steps,
        is_edit: false,
        must_sync: true,
    }
}

impl Scenario {
    const fn edit(mut self) -> Self {
        self.is_edit = true;
        self
    }

    const fn nothing_new(mut self) -> Self {
        self.must_sync = false;
        self
    }
}

/// All of them.
pub const SCENARIOS: &[Scenario] = &[
    scenario("first boot, nothing there", &[], "").nothing_new(),
    scenario("first boot, then a change", &[], "set hostname \"first\""),
    scenario("first boot with a document", &[Edited("given")], "").edit(),
    scenario("first boot, large document", &[EditedLarge("given")], "").edit(),
    scenario("migration", &[Legacy("kept")], "").nothing_new(),
    scenario(
        "migration, then a change",
        &[Legacy("kept")],
        "set hostname \"new\"",
    ),
    scenario("migration with an edit", &[Legacy("kept"), Edited("edited")], "").edit(),
    scenario("set", &[Accepted], "set hostname \"new\""),
    scenario("unset", &[Accepted], "unset persistentLogging"),
    scenario(
        "patch",
        &[Accepted],
        "patch {\"hostname\":\"new\",\"os\":{\"note\":1}}",
    ),
    scenario("revert", &[Accepted, Change("set hostname \"new\"")], "revert 1"),
    scenario(
        "three changes",
        &[Accepted],
        "set hostname \"one\" -- set hostname \"two\" -- unset hostname",
    ),
    scenario("an edit is imported", &[Accepted, Edited("edited")], "").edit(),
    scenario(
        "an edit, then a change",
        &[Accepted, Edited("edited")],
        "set os.note \"later\"",
    )
    .edit(),
    scenario("a large edit", &[Accepted, EditedLarge("edited")], "").edit(),
    scenario("an absent file comes back", &[Accepted, NoBootFile], "").nothing_new(),
    scenario("an empty file comes back", &[Accepted, BootFile("")], "").nothing_new(),
    scenario(
        "a broken file",
        &[Accepted, BootFile("{\"hostname\": ")],
        "settle",
    )
    .nothing_new(),
    scenario(
        "a change beside a broken file",
        &[Accepted, BootFile("{\"hostname\": ")],
        "set hostname \"new\"",
    ),
    scenario("growth over blocks", &[Accepted], "fill app.note 24000"),
    scenario(
        "shrinking over blocks",
        &[Accepted, Change("fill app.note 24000")],
        "unset app.note",
    ),
    scenario(
        "large to large",
        &[Accepted, Change("fill app.note 24000")],
        "set hostname \"new\"",
    ),
];

/// Records one.
pub fn record(scenario: &Scenario) -> Recording {
    let folder = scratch();
    let [state, boot] = ["state", "boot"].map(|name| folder.path().join(name));
    for folder in [&state, &boot] {
        fs::create_dir(folder).unwrap();
    }
    for before in scenario.before {
        before.happen(&state, &boot);
    }
    let mut arguments = vec![state.clone().into_os_string(), boot.clone().into_os_string()];
    arguments.extend(scenario.steps.split_whitespace().map(Into::into));
    let program = Path::new(env!("CARGO_BIN_EXE_change"));
    Recording::of(program, &arguments, &[&state, &boot], folder.path())
        .unwrap_or_else(|error| panic!("{}: {error:#}", scenario.name))
}

impl Before {
    fn happen(&self, state: &Path, boot: &Path) {
        let start = || Running::start(state, boot).unwrap();
        let file = boot.join("config.json");
        match self {
            Accepted => {
                Edited("old").happen(state, boot);
                start().step(&["set", "persistentLogging", "true"]).unwrap();
                start();
            }
            Change(step) => start()
                .step(&step.split_whitespace().collect::<Vec<_>>())
                .unwrap(),
            Edited(hostname) => fs::write(file, written(hostname, "")).unwrap(),
            EditedLarge(hostname) => fs::write(file, written(hostname, &"note ".repeat(800))).unwrap(),
            Legacy(hostname) => {
                let text = written(hostname, "old");
                fs::write(state.join("config.json"), document(text.as_bytes()).unwrap()).unwrap();
                fs::write(state.join("boot.json"), &text).unwrap();
                fs::write(state.join("uuid"), format!("{IDENTITY}\n")).unwrap();
                fs::write(file, text).unwrap();
            }
            BootFile(text) => fs::write(file, text).unwrap(),
            NoBootFile => fs::remove_file(file).unwrap(),
        }
    }
}

/// A document as a person writes it.
fn written(hostname: &str, note: &str) -> String {
    format!("{{\"hostname\": \"{hostname}\", \"uuid\": \"{IDENTITY}\", \"note\": \"{note}\"}}")
}

/// A folder in memory, because everything in it is made thousands of times.
pub fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() {
        TempDir::new_in(memory)
    } else {
        TempDir::new()
    };
    made.unwrap()
}
