//! How far the tunnel of OpenVPN is, and why not further: from what OpenVPN says. Pure.

use super::management::Line;
use crate::snapshot::{Counts, Trouble, VpnState};

/// The tunnel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tunnel {
    phase: Phase,
    /// Why the last attempt failed; stays until one succeeds, fails otherwise, or the configuration changes.
    trouble: Option<Trouble>,
    /// What this attempt has said against itself so far.
    attempt: Option<Trouble>,
    /// The server has answered in this attempt.
    answered: bool,
    /// OpenVPN has said of the device's own certificate that it is not valid; whether that matters, the server decides.
    own_is_invalid: bool,
    /// Bytes that came in and went out, as they were told last.
    bytes: Option<(u64, u64)>,
    /// Since then something went out, and nothing came in.
    is_silent: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// No OpenVPN runs.
    #[default]
    Gone,
    Connecting,
    Connected,
}

impl Tunnel {
    /// OpenVPN is there.
    pub(super) fn arrived(&mut self) {
        self.phase = Phase::Connecting;
    }

    /// OpenVPN is gone, whatever it said last.
    pub(super) fn gone(&mut self) {
        self.trouble = self.attempt.take().or(self.trouble);
        self.phase = Phase::Gone;
    }

    /// Whether OpenVPN, if it is not stuck, says something within five minutes.
    pub(super) fn expects_word(&self) -> bool {
        self.phase == Phase::Connected && !self.is_silent
    }

    /// It has not.
    pub(super) const fn is_stuck(&mut self) {
        self.is_silent = true;
    }

    /// There is a new configuration: what held against the old one holds no more.
    pub(super) fn renewed(&mut self) {
        *self = Self {
            phase: self.phase,
            ..Self::default()
        };
    }

    /// What the snapshot has of it.
    pub(super) fn state(&self) -> (VpnState, Option<Trouble>) {
        match (self.phase, self.trouble) {
            (Phase::Connected, _) if self.is_silent => (VpnState::Down, Some(Trouble::Silent)),
            (Phase::Connected, _) => (VpnState::Up, None),
            (Phase::Connecting, None) => (VpnState::Connecting, None),
            (Phase::Connecting | Phase::Gone, trouble) => (VpnState::Down, trouble),
        }
    }

    /// What went through it, as OpenVPN said last.
    pub(super) fn counts(&self) -> Counts {
        let (received, sent) = self.bytes.unwrap_or_default();
        Counts {
            received,
            sent,
            handshake: 0,
        }
    }

    /// Takes in what OpenVPN says.
    pub(super) fn hear(&mut self, line: Line<'_>) {
        match line {
            Line::State("CONNECTED", why) if why != "ERROR" => {
                *self = Self {
                    phase: Phase::Connected,
                    ..Self::default()
                };
            }
            Line::State("RECONNECTING" | "EXITING", why) => self.failed(why),
            Line::State(state, _) => {
                self.phase = Phase::Connecting;
                // These come after the first answer.
                self.answered |= matches!(state, "AUTH" | "GET_CONFIG" | "ASSIGN_IP" | "ADD_ROUTES");
            }
            Line::Log(text) => self.read(text),
            Line::Refused => self.against(Trouble::Refused),
            Line::Fatal(text) => self.read(text),
            Line::Bytes { received, sent } => {
                self.is_silent = self
                    .bytes
                    .is_some_and(|(before, sent_before)| received <= before && sent > sent_before);
                self.bytes = Some((received, sent));
            }
        }
    }

    /// An attempt, or the connection, has ended.
    fn failed(&mut self, why: &str) {
        let was_connected = self.phase == Phase::Connected;
        let by_itself = match why {
            // In order: OpenVPN is stopped or told to start again.
            "SIGTERM" | "SIGINT" | "SIGHUP" | "SIGUSR1" | "exit-with-notification" => None,
            "auth-failure" => Some(Trouble::Refused),
            // Nothing came in for as long as ping-restart says.
            "ping-restart" if was_connected => Some(Trouble::Silent),
            // The server has answered, and then broken off, which by UDP is not said.
            "tls-error" | "ping-restart" if self.answered && self.own_is_invalid => {
                Some(Trouble::OwnCertificate)
            }
            "tls-error" | "ping-restart" if self.answered => Some(Trouble::Handshake),
            _ => Some(Trouble::Unreachable),
        };
        self.trouble = self.attempt.take().or(by_itself);
        self.phase = Phase::Connecting;
        self.answered = false;
        self.is_silent = false;
    }

    /// A reason that is known before the attempt has ended.
    fn against(&mut self, trouble: Trouble) {
        self.attempt = Some(trouble);
        if self.phase != Phase::Connected {
            self.trouble = Some(trouble);
        }
    }

    /// Of the log only what no state says. The words are OpenVPN's and OpenSSL's.
    fn read(&mut self, text: &str) {
        let has = |words: &str| text.contains(words);
        if text.starts_with("VERIFY ") && has("ERROR") || has("certificate verify failed") {
            self.against(Trouble::ServerCertificate);
        } else if has("alert") && (has("certificate") || has("unknown ca")) {
            self.against(Trouble::OwnCertificate);
        } else if has("Your certificate has expired") || has("Your certificate is not yet valid") {
            self.own_is_invalid = true;
        } else if has("AUTH_FAILED") {
            self.against(Trouble::Refused);
        } else if text.starts_with("RESOLVE: Cannot resolve") {
            self.against(Trouble::Unreachable);
        }
    }
}

#[cfg(test)]
mod tests;
