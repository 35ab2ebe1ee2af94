//! Exit codes, as `sysexits.h` names them.
//!
//! One list for the services and the command line, so that a script can rely on a number.

use std::process::ExitCode;

/// How a program of ours ends. The number is the process's exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: done.
    Done = 0,
    /// 1: it failed, and no other code says it better.
    Failure = 1,
    /// 2: the command line was wrong.
    Usage = 2,
    /// 65 (`EX_DATAERR`): the input data were invalid.
    InvalidData = 65,
    /// 66 (`EX_NOINPUT`): there is nothing of what was asked for.
    NoInput = 66,
    /// 69 (`EX_UNAVAILABLE`): a peer, such as the bus or a service on it, is missing.
    Unavailable = 69,
    /// 73 (`EX_CANTCREAT`): a file could not be written.
    CannotWrite = 73,
    /// 75 (`EX_TEMPFAIL`): the same call may succeed later.
    TryAgain = 75,
    /// 77 (`EX_NOPERM`): the caller may not do this.
    NotAllowed = 77,
    /// 78 (`EX_CONFIG`): the product's own configuration is wrong.
    OwnConfiguration = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
