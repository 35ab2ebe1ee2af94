//! What a rollout is asked for.

use std::ffi::OsString;

/// The options of `config apply FILE --hosts LIST`.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::cli) struct Options {
    /// The patch; `-` is standard input.
    pub(in crate::cli) file: OsString,
    /// The file that lists the hosts; `-` is standard input.
    pub(in crate::cli) list: Option<OsString>,
    /// Hosts from the command line, before those of the list; each may be several with commas between.
    pub(in crate::cli) hosts: Vec<String>,
    /// How many devices the second stage has, instead of what the length of the list says.
    pub(in crate::cli) few: Option<usize>,
    /// How many devices are under way at once, at most.
    pub(in crate::cli) parallel: usize,
    /// Seconds between a device's answer and the question whether it is still well.
    pub(in crate::cli) settle: u64,
    /// Seconds that a device which is not well by then may take to become so.
    pub(in crate::cli) patience: u64,
    /// What goes to `ssh -F`, in place of a person's own configuration.
    pub(in crate::cli) ssh_config: Option<OsString>,
    /// What goes to `ssh -o`.
    pub(in crate::cli) ssh_options: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            file: OsString::new(),
            list: None,
            hosts: Vec::new(),
            few: None,
            parallel: 10,
            settle: 10,
            patience: 60,
            ssh_config: None,
            ssh_options: Vec::new(),
        }
    }
}

impl Options {
    /// With the patch's file, if they go together.
    pub(in crate::cli) fn complete(mut self, file: OsString) -> Result<Self, &'static str> {
        if self.list.is_none() && self.hosts.is_empty() {
            return Err("on which devices? --hosts LIST is a file of names, --host NAME is one");
        }
        if file == "-" && self.list.as_ref().is_some_and(|list| list == "-") {
            return Err("FILE and LIST cannot both come from standard input");
        }
        if self.parallel == 0 {
            return Err("--parallel takes at least 1");
        }
        self.file = file;
        Ok(self)
    }
}
