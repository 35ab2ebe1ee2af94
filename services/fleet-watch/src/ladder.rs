//! The closed lists: levels, reasons, statuses. `docs/connectivity.md` explains each, and a test holds it complete.

/// Declares an enum whose values have a fixed name outside, and the list of all of them.
macro_rules! closed_list {
    ($(#[$doc:meta])* $list:ident { $($(#[$item_doc:meta])* $item:ident = $name:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum $list { $($(#[$item_doc])* $item,)+ }

        impl $list {
            /// Every value, in order.
            #[cfg(test)]
            pub(crate) const ALL: &[Self] = &[$(Self::$item,)+];

            /// Its name on D-Bus, in the JSON file, and in the journal.
            pub(crate) const fn as_str(self) -> &'static str {
                match self { $(Self::$item => $name,)+ }
            }
        }
    };
}

closed_list! {
    /// The highest rung that holds. A rung holds only if all below it do.
    Level {
        /// No uplink has a link.
        None = "none",
        /// There is a link: a cable, or an association with an access point.
        Carrier = "carrier",
        /// It has an address beyond the link itself.
        Address = "address",
        /// It has a default route, and the gateway is not known to be silent.
        Gateway = "gateway",
        /// It has a resolver, and not all of them are known to be at fault.
        Dns = "dns",
        /// NetworkManager's connectivity check was answered as it should be.
        Internet = "internet",
        /// Every VPN that shall be up is up.
        Vpn = "vpn",
    }
}

closed_list! {
    /// Why the next rung does not hold.
    Reason {
        /// Nothing is wrong: the top is reached, which is `internet` where there is no VPN.
        None = "none",
        /// NetworkManager is not on the bus, or does not answer.
        NetworkManagerDown = "network-manager-down",
        /// There is no Ethernet, Wi-Fi, or modem device.
        NoDevice = "no-device",
        /// The device is there, and NetworkManager is told to leave it alone.
        Unmanaged = "unmanaged",
        /// The radio is switched off (rfkill).
        RadioOff = "radio-off",
        /// No cable, or no radio link.
        NoCarrier = "no-carrier",
        /// No profile is active on the device.
        Inactive = "inactive",
        /// A profile is being activated, and has not failed before.
        Connecting = "connecting",
        /// The Wi-Fi key or the 802.1X credentials are wrong or missing.
        NeedAuth = "need-auth",
        /// The Wi-Fi network of the profile is not in reach.
        NetworkNotFound = "network-not-found",
        /// The modem has no SIM that works.
        NoSim = "no-sim",
        /// The SIM wants its PIN or PUK.
        SimLocked = "sim-locked",
        /// No mobile network was found, or none takes the SIM.
        NotRegistered = "not-registered",
        /// The mobile network gives no data connection.
        NoBearer = "no-bearer",
        /// No DHCP server or IPv6 router gave an address.
        NoLease = "no-lease",
        /// Another machine on the link has the address.
        DuplicateAddress = "duplicate-address",
        /// Activated, and yet without an address.
        NoAddress = "no-address",
        /// There is no default route.
        NoGateway = "no-gateway",
        /// The gateway does not answer on the link (ARP, neighbour discovery).
        GatewaySilent = "gateway-silent",
        /// No resolver is configured.
        NoResolver = "no-resolver",
        /// No resolver answers.
        ResolverSilent = "resolver-silent",
        /// The resolvers answer that they cannot or will not.
        ResolverFailing = "resolver-failing",
        /// The resolver that is believed first tells what is not so.
        ResolverLying = "resolver-lying",
        /// The connectivity check is off, so nobody knows.
        NotChecked = "not-checked",
        /// The connectivity check has no result yet.
        Checking = "checking",
        /// A captive portal answered in place of the internet.
        Portal = "portal",
        /// The connectivity check was not answered.
        NoInternet = "no-internet",
        /// The resolvers say that the check's host does not exist.
        NameUnknown = "name-unknown",
        /// The way to the check's server is known to nobody.
        Unreachable = "unreachable",
        /// The check's server refuses the connection.
        CheckRefused = "check-refused",
        /// It does not answer in time.
        CheckTimeout = "check-timeout",
        /// It, or somebody on the way, breaks the connection.
        CheckReset = "check-reset",
        /// The check goes over TLS, and the clock is wrong: no certificate is valid by it.
        ClockWrong = "clock-wrong",
        /// The check goes over TLS, and what answers shows a certificate that is not the server's.
        TlsIntercepted = "tls-intercepted",
        /// It answers that it has a fault of its own (HTTP 5xx).
        ServerFault = "server-fault",
        /// A VPN is being brought up.
        VpnConnecting = "vpn-connecting",
        /// A VPN that shall be up is not.
        VpnDown = "vpn-down",
        /// The VPN's server does not answer.
        VpnUnreachable = "vpn-unreachable",
        /// The VPN's server refuses name and password.
        VpnAuthFailed = "vpn-auth-failed",
        /// The certificate of one side is not accepted by the other.
        VpnCertificate = "vpn-certificate",
        /// The VPN was up, and nothing comes in any more.
        VpnSilent = "vpn-silent",
    }
}

closed_list! {
    /// A step of the repair ladder, each harder than the one before it. What each does is the helper's.
    Step {
        /// Activates the profile of an uplink anew.
        Reactivate = "reactivate",
        /// Takes an uplink's device down and up again, and activates its profile.
        Bounce = "bounce",
        /// Restarts OpenVPN, or activates WireGuard's profile anew.
        RestartVpn = "restart-vpn",
        /// Restarts NetworkManager.
        RestartNetworkManager = "restart-network-manager",
        /// Restarts the system.
        Reboot = "reboot",
    }
}

closed_list! {
    /// What has become of a step.
    Outcome {
        /// It was begun, and nothing is known of it yet.
        Begun = "begun",
        /// What it was for is well again.
        Repaired = "repaired",
        /// It was done, and the fault is there as before.
        NoEffect = "no-effect",
        /// It could not be done.
        Failed = "failed",
    }
}

impl Step {
    /// The step of this name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        [
            Self::Reactivate,
            Self::Bounce,
            Self::RestartVpn,
            Self::RestartNetworkManager,
            Self::Reboot,
        ]
        .into_iter()
        .find(|step| step.as_str() == name)
    }
}

impl Outcome {
    /// The outcome of this name; of any other, that nothing is known.
    pub(crate) fn from_name(name: &str) -> Self {
        [Self::Repaired, Self::NoEffect, Self::Failed]
            .into_iter()
            .find(|outcome| outcome.as_str() == name)
            .unwrap_or(Self::Begun)
    }
}

closed_list! {
    /// What operators know from other fleets.
    Status {
        /// The internet is reached, and the VPN where there is one.
        Online = "online",
        /// The internet is reached, the VPN is not up.
        HeartbeatOnly = "heartbeat-only",
        /// The VPN is up although the internet check is not answered.
        VpnOnly = "vpn-only",
        /// Nothing is known to be reached.
        Offline = "offline",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_in_order_and_names_are_told_apart() {
        assert!(Level::ALL.is_sorted());
        let names: Vec<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        let mut unique = names.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), names.len());
    }

    #[test]
    fn steps_and_outcomes_are_known_by_their_names() {
        for step in Step::ALL {
            assert_eq!(Step::from_name(step.as_str()), Some(*step));
        }
        for outcome in Outcome::ALL {
            assert_eq!(Outcome::from_name(outcome.as_str()), *outcome);
        }
        assert_eq!(Step::from_name(""), None);
    }

    #[test]
    fn every_value_is_documented() {
        let document = include_str!("../../../docs/connectivity.md");
        let names = (Level::ALL.iter().map(|level| level.as_str()))
            .chain(Reason::ALL.iter().map(|reason| reason.as_str()))
            .chain(Status::ALL.iter().map(|status| status.as_str()))
            .chain(Step::ALL.iter().map(|step| step.as_str()))
            .chain(Outcome::ALL.iter().map(|outcome| outcome.as_str()));
        for name in names {
            let row = format!("\n| `{name}` |");
            assert!(
                document.contains(&row),
                "docs/connectivity.md has no row for `{name}`"
            );
        }
    }
}
