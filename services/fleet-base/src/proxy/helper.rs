//! `org.fleetos.Helper1`: the closed list of verbs that need root.

use zbus::{Connection, Dict, Signature, Variant};

use crate::body::Body;
use crate::peer::Peer;
use crate::pending::Pending;

const NAME: &str = "org.fleetos.Helper1";
const PATH: &str = "/org/fleetos/Helper1";

/// The helper. Who may call which verb is in `docs/dbus.md`.
#[derive(Debug)]
pub struct HelperProxy(Peer);

/// Every function fails if the helper refuses, cannot do it, or does not answer in time.
#[allow(clippy::missing_errors_doc, reason = "above, once for all")]
impl HelperProxy {
    /// On this bus.
    #[must_use]
    pub fn new(connection: &Connection) -> Self {
        Self(Peer::new(connection, NAME))
    }

    /// Sets the transient host name (RFC 1123).
    pub fn set_hostname<'a>(&'a self, name: &'a str) -> Pending<'a, zbus::Result<()>> {
        self.0.tell(PATH, NAME, "SetHostname", vec![name.into()])
    }

    /// Makes chrony read its source files again. Returns the names of the sources that it has then, as they were written.
    pub async fn reload_time_sources(&self) -> zbus::Result<Vec<String>> {
        self.0.call(PATH, NAME, "ReloadTimeSources", vec![]).await?.take()
    }

    /// Makes the set of keyfiles that come from the boot partition exactly these (name, content).
    ///
    /// Returns the path of each, in order, and an empty path for one that was not changed.
    pub async fn set_connection_profiles(&self, profiles: &[(&str, &[u8])]) -> zbus::Result<Vec<String>> {
        let profiles = Body::Files(profiles);
        self.0
            .send(PATH, NAME, "SetConnectionProfiles", profiles)
            .await?
            .take()
    }

    /// Starts or stops `fleet-development.target`.
    pub fn set_development_mode(&self, on: bool) -> Pending<'_, zbus::Result<()>> {
        self.0.tell(PATH, NAME, "SetDevelopmentMode", vec![on.into()])
    }

    /// Makes the kernel parameters of the allow-list that are set exactly these; returns what is in force of each.
    pub async fn set_kernel_parameters(
        &self,
        parameters: &[(&str, i64)],
    ) -> zbus::Result<Vec<(String, i64)>> {
        let argument = kernel_parameters(parameters)?;
        let mut values = self
            .0
            .call(PATH, NAME, "SetKernelParameters", vec![argument])
            .await?;
        let mut in_force = Vec::new();
        for (name, value) in values.take::<Dict<'static, 'static>>()? {
            in_force.push((name.try_into()?, value.try_into()?));
        }
        Ok(in_force)
    }

    /// Sets the proxy in systemd's environment; empty for none.
    pub fn set_proxy<'a>(
        &'a self,
        http: &'a str,
        https: &'a str,
        no_proxy: &'a str,
    ) -> Pending<'a, zbus::Result<()>> {
        let arguments = vec![http.into(), https.into(), no_proxy.into()];
        self.0.tell(PATH, NAME, "SetProxy", arguments)
    }

    /// Sets systemd's limits of the hardware watchdog, in seconds; `None`: what the image has.
    pub fn set_watchdog(&self, runtime: Option<u32>, reboot: Option<u32>) -> Pending<'_, zbus::Result<()>> {
        let seconds = |limit: Option<u32>| limit.map_or(u64::MAX, u64::from);
        let arguments = vec![seconds(runtime).into(), seconds(reboot).into()];
        self.0.tell(PATH, NAME, "SetWatchdog", arguments)
    }

    /// Makes journald read its configuration again, if this release can. Returns whether it did.
    pub fn reload_journal(&self) -> Pending<'_, zbus::Result<bool>> {
        Box::pin(async move { self.0.call(PATH, NAME, "ReloadJournal", vec![]).await?.take() })
    }

    /// Starts or stops what syncs the journal at errors.
    pub fn set_journal_sync(&self, on: bool) -> Pending<'_, zbus::Result<()>> {
        self.0.tell(PATH, NAME, "SetJournalSync", vec![on.into()])
    }

    /// Makes udev's rule files of ours exactly these (name without ending, text), and triggers the devices that they
    /// are about. Returns for each, in order, why udev does not take it; an empty text for one that is in force.
    pub async fn set_udev_rules(
        &self,
        rules: Vec<(String, String)>,
        development: bool,
    ) -> zbus::Result<Vec<String>> {
        let arguments = vec![rules.into(), development.into()];
        self.0.call(PATH, NAME, "SetUdevRules", arguments).await?.take()
    }

    /// Lays the certificates of `/run/fleet/config/ca` over the image's, or takes them away again.
    pub fn set_trust_store(&self, extended: bool) -> Pending<'_, zbus::Result<()>> {
        self.0.tell(PATH, NAME, "SetTrustStore", vec![extended.into()])
    }

    /// Sets the regulatory domain that `/run/fleet/config/country` names, and waits for it.
    pub fn set_regulatory_domain(&self) -> Pending<'_, zbus::Result<()>> {
        self.0.tell(PATH, NAME, "SetRegulatoryDomain", vec![])
    }

    /// Starts systemd-journal-upload.service, anew if `again`, or stops it. Returns why it does not get on; empty if it
    /// runs, or is stopped.
    pub fn set_journal_upload(&self, on: bool, again: bool) -> Pending<'_, zbus::Result<String>> {
        let arguments = vec![on.into(), again.into()];
        Box::pin(async move {
            self.0
                .call(PATH, NAME, "SetJournalUpload", arguments)
                .await?
                .take()
        })
    }

    /// Starts `openvpn-client@fleet.service`, anew if `again`, or stops it.
    pub fn set_openvpn(&self, on: bool, again: bool) -> Pending<'_, zbus::Result<()>> {
        self.0
            .tell(PATH, NAME, "SetOpenVpn", vec![on.into(), again.into()])
    }

    /// Has it written down when WireGuard's peers were last heard, and waits for it.
    pub fn read_handshakes(&self) -> Pending<'_, zbus::Result<()>> {
        self.0.tell(PATH, NAME, "ReadHandshakes", vec![])
    }

    /// Has NetworkManager's check made at the pace of a metered uplink, or at its own again.
    pub fn set_metered_pace(&self, on: bool) -> Pending<'_, zbus::Result<()>> {
        self.0.tell(PATH, NAME, "SetMeteredPace", vec![on.into()])
    }

    /// Puts the fallback resolvers in the place of all others, or takes them away again; waits for it. Returns those that are
    /// in use then.
    pub fn set_dns_fallback(&self, on: bool) -> Pending<'_, zbus::Result<Vec<String>>> {
        Box::pin(async move {
            self.0
                .call(PATH, NAME, "SetDnsFallback", vec![on.into()])
                .await?
                .take()
        })
    }

    /// Takes a step of repair, for an uplink or for something that the step itself names.
    pub fn repair<'a>(&'a self, step: &'a str, subject: &'a str) -> Pending<'a, zbus::Result<()>> {
        self.0
            .tell(PATH, NAME, "Repair", vec![step.into(), subject.into()])
    }

    /// Restarts the system because of a fault of the network, if the configuration allows it.
    pub fn reboot<'a>(&'a self, reason: &'a str) -> Pending<'a, zbus::Result<()>> {
        self.0.tell(PATH, NAME, "Reboot", vec![reason.into()])
    }

    /// Makes journald store on the data partition.
    pub fn flush_journal(&self) -> Pending<'_, zbus::Result<()>> {
        self.0.tell(PATH, NAME, "FlushJournal", vec![])
    }

    /// Makes journald store in RAM again.
    pub fn relinquish_journal(&self) -> Pending<'_, zbus::Result<()>> {
        self.0.tell(PATH, NAME, "RelinquishJournal", vec![])
    }

    /// Removes the oldest files of the journal on the data partition until all take at most so many bytes. Returns the
    /// bytes that were freed.
    pub fn tidy_journal(&self, keep: u64) -> Pending<'_, zbus::Result<u64>> {
        Box::pin(async move {
            self.0
                .call(PATH, NAME, "TidyJournal", vec![keep.into()])
                .await?
                .take()
        })
    }

    /// Makes journald write to the disk what it has, and waits for it.
    pub fn sync_journal(&self) -> Pending<'_, zbus::Result<()>> {
        self.0.tell(PATH, NAME, "SyncJournal", vec![])
    }
}

/// Names and values as the bus has them, `a{sx}`.
///
/// # Errors
/// Never: the types are those of the signature.
pub fn kernel_parameters(parameters: &[(&str, i64)]) -> zbus::Result<Variant<'static>> {
    let mut dictionary = Dict::new(&Signature::Str, &Signature::I64);
    for (name, value) in parameters {
        dictionary.append((*name).to_owned().into(), (*value).into())?;
    }
    Ok(dictionary.into())
}
