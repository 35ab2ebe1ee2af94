//! `fleet config …` on the device: changes from a file, their history, and back.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testbed::{Device, Tier};

#[test]
fn a_file_is_applied_whole_or_not_at_all() -> Result<()> {
    let mut device = Device::boot(Tier::Nspawn).start()?;
    let revision = |device: &mut Device| -> Result<u64> {
        let shown = json(device, "fleet config show --json")?;
        shown["revision"].as_u64().context("no revision")
    };
    let first = revision(&mut device)?;

    device
        .run(r#"echo '{"ntpServers": null, "hostname": "not_ok"}' | fleet config apply -"#)?
        .exits(65)?
        .complains("hostname: \"not_ok\"")?;
    device
        .run(r#"echo '{"deviceApiKey": "…"}' >/run/patch.json; fleet config apply /run/patch.json"#)?
        .exits(65)?
        .complains("stands for a secret")?;
    device
        .run("echo '{\"hostname\": \"alpha\",}' | fleet config apply -")?
        .exits(65)?
        .complains("line 1, column")?;
    ensure!(
        revision(&mut device)? == first,
        "what is refused makes no revision"
    );

    let patch = r#"{"ntpServers": null, "os": {"network": {"wifi": {"randomMacAddressScan": true}}}}"#;
    device
        .run(&format!("echo '{patch}' >/run/patch.json"))?
        .succeeds()?;
    let applied = json(
        &mut device,
        &format!("fleet config apply /run/patch.json --expect {first} --json"),
    )?;
    ensure!(applied["changed"] == true && applied["revision_before"] == first);
    let keys: Vec<_> = applied["keys"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|row| row["key"].as_str().unwrap_or_default())
        .collect();
    ensure!(keys.len() == 2 && keys.contains(&"ntpServers"), "{keys:?}");
    // What the file does not name stays.
    device
        .run("fleet config get hostname")?
        .says("\"fleet-reference\"")?;
    device
        .run("fleet config apply /run/patch.json")?
        .mentions("Nothing changed")?;
    device
        .run(&format!("fleet config apply /run/patch.json --expect {first}"))?
        .exits(75)?;
    device.run("fleet config set hostname alpha")?.mentions(&format!(
        "Revision {}; before, {}.",
        first + 2,
        first + 1
    ))?;
    device
        .run("setpriv --reuid=nobody --regid=nogroup --clear-groups fleet config apply /run/patch.json")?
        .exits(77)?;
    Ok(())
}

#[test]
fn the_history_says_who_changed_what_and_leads_back() -> Result<()> {
    let mut device = Device::boot(Tier::Nspawn).start()?;
    let first = json(&mut device, "fleet config history --json")?[0]["revision"]
        .as_u64()
        .context("no first revision")?;
    device.run("fleet config set hostname alpha")?.succeeds()?;
    device
        .run("printf s3cret | fleet config set deviceApiKey -")?
        .succeeds()?;

    let history = json(&mut device, "fleet config history --json")?;
    ensure!(
        history[0]["keys"] == serde_json::json!(["deviceApiKey"]),
        "{history}"
    );
    ensure!(history[1]["keys"] == serde_json::json!(["hostname"]), "{history}");
    ensure!(
        history[1]["who"] == "root" && history[1]["how"] == "set",
        "{history}"
    );
    ensure!(!history.to_string().contains("s3cret"));
    device
        .run("TZ=Asia/Kolkata fleet config history")?
        .mentions("+05:30  root")?;

    device
        .run(&format!("fleet config revert {first}"))?
        .mentions(&format!("Revision {}; before, {}.", first + 3, first + 2))?;
    device.run("uname -n")?.says("fleet-reference")?;
    device.run("fleet config get deviceApiKey")?.exits(1)?;
    device
        .run("fleet config revert 9999")?
        .exits(1)?
        .complains("fleet config history")?;
    Ok(())
}

fn json(device: &mut Device, command: &str) -> Result<Value> {
    let text = device.run(command)?.succeeds()?.text();
    serde_json::from_str(&text).with_context(|| text)
}
