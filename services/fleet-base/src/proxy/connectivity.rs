//! `org.fleetos.Connectivity1`: how far the device reaches.

use futures_util::StreamExt;
use zbus::{Connection, MatchRule, MessageStream, message::Type};

use crate::bus;
use crate::peer::{Peer, Properties};
use crate::pending::Pending;

const NAME: &str = "org.fleetos.Connectivity1";
const PATH: &str = "/org/fleetos/Connectivity1";

/// Something at fault on an uplink: reason, address, explanation.
pub type ProblemRow = (String, String, String);

/// An uplink: interface, level, reason, explanation, since when (microseconds of `CLOCK_BOOTTIME`), what is at fault.
pub type UplinkRow = (String, String, String, String, u64, Vec<ProblemRow>);

/// A VPN: name, `up`, `connecting` or `down`, reason, explanation, since when (microseconds of `CLOCK_BOOTTIME`), bytes that
/// came in and went out, and when a peer of WireGuard's was heard last (seconds since 1970). What is not known is 0.
pub type VpnRow = (String, String, String, String, u64, u64, u64, u64);

/// What is done about a fault: `off`, `idle`, `waiting`, `acting` or `spent`, about what, and when next (microseconds of
/// `CLOCK_BOOTTIME`, 0 for never).
pub type RepairState = (String, String, u64);

/// A step that was taken: step, subject, reason, outcome, detail, and when (seconds since 1970).
pub type StepRow = (String, String, String, String, String, u64);

/// The connectivity ladder. The closed lists are in `docs/connectivity.md`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connectivity {
    /// The highest rung that holds.
    pub level: String,
    /// Why the next rung does not hold; `none` while nothing is wrong.
    pub reason: String,
    /// `online`, `heartbeat-only`, `vpn-only` or `offline`.
    pub status: String,
    /// The same as a sentence.
    pub explanation: String,
    /// The interface that the level was measured on; empty if there is none.
    pub interface: String,
    /// When this level and reason began, in microseconds of `CLOCK_BOOTTIME`.
    pub since: u64,
    /// Every uplink by itself.
    pub uplinks: Vec<UplinkRow>,
}

/// The VPNs, and what is done about a fault. Apart from the rest, because only people ask for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// Every VPN by itself.
    pub vpns: Vec<VpnRow>,
    /// What is done now.
    pub state: RepairState,
    /// The last steps, the oldest first.
    pub steps: Vec<StepRow>,
}

impl From<Properties> for Connectivity {
    fn from(mut properties: Properties) -> Self {
        Self {
            level: properties.text("Level").to_owned(),
            reason: properties.text("Reason").to_owned(),
            status: properties.text("Status").to_owned(),
            explanation: properties.text("Explanation").to_owned(),
            interface: properties.text("Interface").to_owned(),
            since: properties.long("Since"),
            uplinks: properties.take("Uplinks").unwrap_or_default(),
        }
    }
}

/// Asks the watcher.
///
/// # Errors
/// The watcher is not there, or does not answer in time.
#[inline(never)]
pub fn read(connection: &Connection) -> Pending<'_, zbus::Result<Connectivity>> {
    Box::pin(async move { Ok(Peer::new(connection, NAME).properties(PATH, NAME).await?.into()) })
}

/// Asks the watcher, also for the VPNs and what it repairs.
///
/// # Errors
/// The watcher is not there, or does not answer in time.
pub async fn read_all(connection: &Connection) -> zbus::Result<(Connectivity, Details)> {
    let mut properties = Peer::new(connection, NAME).properties(PATH, NAME).await?;
    let details = Details {
        vpns: properties.take("Vpns").unwrap_or_default(),
        state: properties.take("Repair").unwrap_or_default(),
        steps: properties.take("Repairs").unwrap_or_default(),
    };
    Ok((properties.into(), details))
}

/// What says that the watcher has published something new.
#[derive(Debug)]
pub struct Changes(MessageStream);

impl Changes {
    /// From now on.
    ///
    /// # Errors
    /// The bus refuses the rule, or is gone.
    pub async fn follow(connection: &Connection) -> zbus::Result<Self> {
        let rule = MatchRule::builder()
            .msg_type(Type::Signal)
            .sender(NAME)
            .path(PATH)
            .interface("org.freedesktop.DBus.Properties")
            .member("PropertiesChanged")
            .build()?;
        Ok(Self(bus::subscribe(connection, rule).await?))
    }

    /// Waits for the next one. `None`: the bus is gone.
    pub async fn next(&mut self) -> Option<()> {
        matches!(self.0.next().await, Some(Ok(_))).then_some(())
    }
}
