//! Certificates are judged before they are accepted.

use super::*;

/// Two values of the right form.
const ONE: &str = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1BQXdBREFBCi0tLS0tRU5EIENFUlRJRklDQVRFLS0tLS0K";
const OTHER: &str = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1BQXdBREFCCi0tLS0tRU5EIENFUlRJRklDQVRFLS0tLS0K";

fn root_ca(copies: &Copies) -> Option<&str> {
    copies.accepted().setting("balenaRootCA").and_then(Value::as_str)
}

/// Judges what waits. Returns whether something did, and whether it had been refused before.
fn judge(copies: &mut Copies, refused: Option<&str>) -> Option<bool> {
    let unjudged = copies.unjudged()?;
    copies.judged(unjudged.certificates, refused.map(str::to_owned));
    Some(unjudged.was_refused)
}

fn trusting() -> (Device, Copies) {
    let device = Device::with(&format!(r#"{{"balenaRootCA":"{ONE}","hostname":"kitchen"}}"#));
    let mut copies = device.start();
    assert_eq!(
        (root_ca(&copies), copies.revision()),
        (None, 0),
        "not before it is judged"
    );
    assert_eq!(judge(&mut copies, None), Some(false));
    assert_eq!((root_ca(&copies), copies.revision()), (Some(ONE), 1));
    (device, copies)
}

#[test]
fn an_edit_with_bad_ones_keeps_those_from_before_over_a_reboot() {
    let (device, mut copies) = trusting();
    let edit = format!(r#"{{"balenaRootCA":"{OTHER}","hostname":"cellar"}}"#);
    device.edit(&edit);
    copies.import();
    assert_eq!(hostname(&copies), Some("kitchen"), "nothing of it yet");
    assert_eq!(judge(&mut copies, Some("no authority")), Some(false));
    assert_eq!((hostname(&copies), root_ca(&copies)), (Some("cellar"), Some(ONE)));
    let refused = |copies: &Copies| {
        let mut findings = copies.findings().iter();
        findings.any(|finding| finding.is_refused() && finding.verdict.to_string() == "no authority")
    };
    assert!(refused(&copies));
    assert_eq!(device.on_boot(), edit, "left to the person");

    // A change of another key judges nothing again, and leaves the file as it is.
    copies.set(&path("mine"), "1", "root").unwrap();
    assert!(copies.unjudged().is_none() && refused(&copies) && device.on_boot().contains(OTHER));

    for restarts in 0..3 {
        copies = device.start();
        assert_eq!(
            (hostname(&copies), root_ca(&copies)),
            (Some("cellar"), Some(ONE)),
            "{restarts}"
        );
        assert_eq!(judge(&mut copies, Some("no authority")), Some(true), "{restarts}");
        assert!(refused(&copies) && root_ca(&copies) == Some(ONE), "{restarts}");
        assert_eq!(copies.revision(), 3, "{restarts}");
    }
    // What a newer release, or a clock that is right, finds good is accepted.
    copies.doubt_judgements();
    copies.import();
    judge(&mut copies, None);
    assert_eq!((root_ca(&copies), copies.revision()), (Some(OTHER), 4));
    assert!(
        device.start().unjudged().is_none(),
        "what is accepted is not judged again"
    );
}

#[test]
fn a_change_with_bad_ones_is_not_made() {
    let (device, mut copies) = trusting();
    let set = |copies: &mut Copies| copies.set(&path("balenaRootCA"), &format!("\"{OTHER}\""), "root");
    assert!(matches!(set(&mut copies), Err(Error::Unjudged)));
    assert_eq!(judge(&mut copies, Some("no authority")), Some(false));
    let error = set(&mut copies).unwrap_err().to_string();
    assert_eq!(error, "balenaRootCA: no authority");
    assert_eq!((root_ca(&copies), copies.revision()), (Some(ONE), 1));
    assert!(!device.on_boot().contains(OTHER));

    copies.doubt_judgements();
    assert!(matches!(set(&mut copies), Err(Error::Unjudged)));
    judge(&mut copies, None);
    assert_eq!(set(&mut copies).unwrap(), 2);
    assert_eq!(root_ca(&copies), Some(OTHER));
    // Taken away without a question.
    assert_eq!(copies.unset(&path("balenaRootCA"), "root").unwrap(), 3);
}

#[test]
fn an_interrupted_export_waits_for_the_judgement() {
    let (device, mut copies) = trusting();
    let before = device.on_boot();
    copies.set(&path("hostname"), "\"cellar\"", "root").unwrap();
    std::fs::rename(
        device.path("boot/config.json"),
        device.path("boot/config.json.new"),
    )
    .unwrap();
    device.edit(before.replace(ONE, OTHER));
    // Stopped before the judgement, once.
    drop(device.start());
    let mut copies = device.start();
    assert_eq!(judge(&mut copies, Some("no authority")), Some(false));
    assert_eq!((hostname(&copies), root_ca(&copies)), (Some("cellar"), Some(ONE)));
    assert!(!device.path("boot/config.json.new").exists());
}
