//! The upload of the journal, by systemd-journal-upload.service.
//!
//! Its files are written here: the unit reads the key as a credential (systemd.exec(5)), so that it lies in memory, for
//! this service and root alone. The helper starts and stops the one unit, and only if something changed.

use fleet_base::file::{self, Durability};
use fleet_base::proxy::helper::HelperProxy;
use fleet_base::proxy::systemd::{JOURNAL_UPLOAD, ManagerProxy};

use super::{Device, helper_error, make_folder};
use crate::config::Upload;
use crate::effect::{Effect, Effects};
use crate::plan::Known;
use crate::render;

/// Its configuration, linked from `/run/systemd/journal-upload.conf.d` (tmpfiles.d). The unit starts only if it is there.
pub(super) const CONFIGURATION: &str = "upload.conf";
const CERTIFICATE: &str = "certificate";
const KEY: &str = "key";

pub(crate) const NOT_REACHED: &str =
    "the collector does not take it yet; it is tried again and again, at least every five minutes";

impl Device {
    pub(super) async fn set_upload(
        &self,
        upload: Upload,
        known: &mut Known,
        effects: &mut Effects,
    ) -> Result<Effect, String> {
        effects.upload_reason.clear();
        let helper = HelperProxy::new(&self.connection);
        let folder = &self.board.upload;
        let Some(url) = &upload.url else {
            helper
                .set_journal_upload(false, false)
                .await
                .map_err(helper_error)?;
            for name in [CONFIGURATION, KEY, CERTIFICATE] {
                file::remove(&folder.join(name), Durability::Volatile).map_err(|error| error.to_string())?;
            }
            known.upload = Some(upload);
            return Ok(Effect::Done);
        };
        let client = upload.client();
        let (certificate, key) = client.map_or(("", ""), |(certificate, key)| (certificate.pem(), key.pem()));
        make_folder(&folder.join(CONFIGURATION)).map_err(|error| error.to_string())?;
        let mut changed = false;
        for (name, text, mode) in [
            (KEY, key, 0o600),
            (CERTIFICATE, certificate, 0o644),
            (
                CONFIGURATION,
                &render::journal_upload(url, client.is_some()),
                0o644,
            ),
        ] {
            changed |= file::write(&folder.join(name), text.as_bytes(), mode, Durability::Volatile)
                .map_err(|error| error.to_string())?;
        }
        let systemd = ManagerProxy::new(&self.connection);
        let state = systemd.active_state(JOURNAL_UPLOAD).await.unwrap_or_default();
        let runs = matches!(state.as_str(), "active" | "activating");
        effects.upload_reason = helper
            .set_journal_upload(true, changed || !runs)
            .await
            .map_err(helper_error)?;
        known.upload = Some(upload);
        Ok(match effects.upload_reason.is_empty() {
            true => Effect::Done,
            false => Effect::Waiting(NOT_REACHED),
        })
    }
}
