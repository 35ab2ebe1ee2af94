//! What is recorded: folders to begin with, and what the program does with them.

use std::fs;
use std::path::Path;

use powercut::configuration::{KEYFILES, Running, document};
use powercut::recording::Recording;
use tempfile::TempDir;

use self::Before::{
    Accepted, BootFile, Change, Edited, EditedLarge, EditedStale, Keyfile, Legacy, NoBootFile, NoKeyfile,
    NoKeyfiles, Profiles,
};

const IDENTITY: &str = "0123456789abcdef0123456789abcdef";

/// What happened before the recording.
pub enum Before {
    /// A document was given on the boot partition and accepted, and the device was started again.
    Accepted,
    /// A change, as the recorded program takes it.
    Change(&'static str),
    /// A person gave the document on the boot partition this host name; there may have been none.
    Edited(&'static str),
    /// The same with a copy from before [`Before::Accepted`]'s change.
    EditedStale(&'static str),
    /// The same with a document of some sectors.
    EditedLarge(&'static str),
    /// The store is that of the release before generations; its host name is this.
    Legacy(&'static str),
    /// The boot partition's file became these bytes.
    BootFile(&'static str),
    /// It went.
    NoBootFile,
    /// Two keyfiles were put on the boot partition and accepted.
    Profiles,
    /// A person wrote a keyfile of this name and about so many bytes there; one of none is damaged.
    Keyfile(&'static str, usize),
    /// A person removed it.
    NoKeyfile(&'static str),
    /// The whole folder of them went while the device was off.
    NoKeyfiles,
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
    /// It holds only where names reach the boot partition in their order, as the device mounts it: what is merged and not
    /// exported yet has no other trace.
    pub needs_order: bool,
}

const fn scenario(name: &'static str, before: &'static [Before], steps: &'static str) -> Scenario {
    Scenario {
        name,
        before,
        steps,
        is_edit: false,
        must_sync: true,
        needs_order: false,
    }
}

impl Scenario {
    const fn edit(mut self) -> Self {
        self.is_edit = true;
        self
    }

    const fn needs_order(mut self) -> Self {
        self.needs_order = true;
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
    scenario("an edit of a stale copy", &[Accepted, EditedStale("edited")], "")
        .edit()
        .needs_order(),
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
    scenario(
        "first boot with keyfiles",
        &[
            Edited("given"),
            Keyfile("office", 60),
            Keyfile("guest.nmconnection", 60),
        ],
        "",
    )
    .edit(),
    scenario(
        "a keyfile is added",
        &[Accepted, Profiles, Keyfile("plant", 60)],
        "",
    ),
    scenario(
        "a keyfile is changed",
        &[Accepted, Profiles, Keyfile("office", 80)],
        "",
    ),
    scenario(
        "a keyfile is longer",
        &[Accepted, Profiles, Keyfile("office", 5000)],
        "",
    ),
    scenario(
        "a keyfile is shorter",
        &[
            Accepted,
            Keyfile("office", 5000),
            Profiles,
            Keyfile("plant", 5000),
            Change("import"),
            Keyfile("plant", 60),
        ],
        "",
    ),
    scenario(
        "a keyfile gets its ending",
        &[
            Accepted,
            Profiles,
            Keyfile("office.nmconnection", 80),
            NoKeyfile("office"),
        ],
        "",
    ),
    scenario(
        "a keyfile is removed",
        &[Accepted, Profiles, NoKeyfile("office")],
        "",
    ),
    scenario(
        "keyfiles are added, changed, removed",
        &[
            Accepted,
            Profiles,
            Keyfile("plant", 600),
            Keyfile("guest.nmconnection", 900),
            NoKeyfile("office"),
        ],
        "",
    ),
    scenario(
        "a keyfile is removed in passing",
        &[Accepted, Profiles],
        "drop office",
    ),
    scenario(
        "all keyfiles are removed in passing",
        &[Accepted, Profiles],
        "drop office -- drop guest.nmconnection",
    ),
    scenario("the folder is removed in passing", &[Accepted, Profiles], "drop"),
    scenario(
        "keyfiles and a change",
        &[Accepted, Profiles, Keyfile("office", 80)],
        "set hostname \"new\"",
    ),
    scenario(
        "a damaged keyfile",
        &[Accepted, Profiles, Keyfile("office", 0)],
        "",
    )
    .nothing_new(),
    scenario("a lost folder of keyfiles", &[Accepted, Profiles, NoKeyfiles], "").nothing_new(),
    scenario(
        "everything lost on the boot partition",
        &[Accepted, Profiles, NoBootFile, NoKeyfiles],
        "",
    )
    .nothing_new(),
    scenario(
        "everything lost, then a change",
        &[Accepted, Profiles, NoBootFile, NoKeyfiles],
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
            Edited(hostname) => fs::write(&file, edited(&file, written(hostname, ""))).unwrap(),
            EditedStale(hostname) => fs::write(file, written(hostname, "")).unwrap(),
            EditedLarge(hostname) => {
                let text = written(hostname, &"note ".repeat(800));
                fs::write(&file, edited(&file, text)).unwrap();
            }
            Legacy(hostname) => {
                let text = written(hostname, "old");
                fs::write(state.join("config.json"), document(text.as_bytes()).unwrap()).unwrap();
                fs::write(state.join("boot.json"), &text).unwrap();
                fs::write(state.join("uuid"), format!("{IDENTITY}\n")).unwrap();
                fs::write(file, text).unwrap();
            }
            BootFile(text) => fs::write(file, text).unwrap(),
            NoBootFile => fs::remove_file(file).unwrap(),
            Profiles => {
                Keyfile("office", 60).happen(state, boot);
                Keyfile("guest.nmconnection", 700).happen(state, boot);
                start();
            }
            Keyfile(name, size) => {
                let folder = boot.join(KEYFILES);
                fs::create_dir_all(&folder).unwrap();
                let lines = format!("[connection]\nid={name}-{size}\n{}", "#\n".repeat(*size / 2));
                let text: String = lines.chars().take(*size).collect();
                fs::write(folder.join(name), text).unwrap();
            }
            NoKeyfile(name) => fs::remove_file(boot.join(KEYFILES).join(name)).unwrap(),
            NoKeyfiles => fs::remove_dir_all(boot.join(KEYFILES)).unwrap(),
        }
    }
}

/// A document as a person writes it.
fn written(hostname: &str, note: &str) -> String {
    format!("{{\"hostname\": \"{hostname}\", \"uuid\": \"{IDENTITY}\", \"note\": \"{note}\"}}")
}

/// With what [`Before::Accepted`] has changed, if the file has it.
fn edited(file: &Path, text: String) -> String {
    let before = fs::read_to_string(file).unwrap_or_default();
    match (before.contains("persistentLogging"), text.strip_suffix('}')) {
        (true, Some(open)) => format!("{open}, \"persistentLogging\": true}}"),
        _ => text,
    }
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
