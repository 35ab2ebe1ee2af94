//! The shape of `os.network.profiles`, which a later release uses.

use serde_json::Value;

use super::Refusal;
use crate::keyfile::{Keyfile, MAX_BYTES, MAX_FILES};

/// An object of NetworkManager keyfiles: the name of each, with or without `.nmconnection`, and its text. The rules are
/// those of files in `system-connections/`.
///
/// # Errors
/// [`Refusal`]: of the first that breaks its rule. Never with its text, which holds passwords.
pub(crate) fn check_profiles(value: &Value) -> Result<(), Refusal> {
    let Value::Object(profiles) = value else {
        return Err(Refusal::of_type(
            "an object of names and texts of keyfiles",
            value,
        ));
    };
    if profiles.len() > MAX_FILES {
        return Err(Refusal::unnamed("there are more than 64 profiles"));
    }
    let mut names: Vec<String> = Vec::new();
    for (name, text) in profiles.iter().filter(|(_, text)| !text.is_null()) {
        let Value::String(text) = text else {
            return Err(Refusal::of(name, "the text of a keyfile was expected"));
        };
        if u64::try_from(text.len()).unwrap_or(u64::MAX) > MAX_BYTES {
            return Err(Refusal::of(name, "a keyfile has at most 64 KiB"));
        }
        let keyfile = Keyfile::new(name, text.clone().into_bytes())
            .map_err(|refusal| Refusal::of(name, refusal.to_string()))?;
        if names.contains(&keyfile.name) {
            return Err(Refusal::of(
                name,
                "another profile has the same name, with or without .nmconnection",
            ));
        }
        names.push(keyfile.name);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn profiles_are_named_keyfiles() {
        let good = "[connection]\nid=a\n[wifi-security]\npsk=hunter2\n";
        for ok in [
            json!({}),
            json!({"home": good}),
            json!({"home.nmconnection": good, "Wired 1": good}),
            json!({"gone": null}),
        ] {
            assert_eq!(check_profiles(&ok), Ok(()), "{ok}");
        }
        for bad in [
            json!([]),
            json!("x"),
            json!({"../home": good}),
            json!({"": good}),
            json!({"home": good, "home.nmconnection": good}),
            json!({"home": "psk=hunter2"}),
            json!({"home": 1}),
            json!({"home": format!("{good}{}", "x".repeat(65_536))}),
            json!({"home": "[connection]\u{0}"}),
        ] {
            let error = check_profiles(&bad).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
