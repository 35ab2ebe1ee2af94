//! Certificates are made here: nothing in the repository expires.

use openssl::x509::X509NameBuilder;
use openssl::x509::extension::{BasicConstraints, KeyUsage};

use super::*;

/// How a certificate is made.
#[derive(Clone, Copy)]
struct Recipe {
    version: i32,
    is_authority: Option<bool>,
    may_sign: bool,
    days: (i64, i64),
}

const ROOT: Recipe = Recipe {
    version: 2,
    is_authority: Some(true),
    may_sign: true,
    days: (0, 366),
};

fn key() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

/// So many days from now; one that is past, as many years before 2020: a text, see `epoch`.
fn day(offset: i64) -> Asn1Time {
    let day = match u32::try_from(offset) {
        Ok(days) => Asn1Time::days_from_now(days),
        Err(_) => Asn1Time::from_str(&format!("{}0101000000Z", 2020 + offset)),
    };
    day.unwrap()
}

fn make(name: &str, recipe: Recipe, key: &PKey<Private>, issuer: Option<(&X509, &PKey<Private>)>) -> X509 {
    let mut subject = X509NameBuilder::new().unwrap();
    subject.append_entry_by_text("O", "Example").unwrap();
    subject.append_entry_by_text("CN", name).unwrap();
    let subject = subject.build();
    let mut builder = X509Builder::new().unwrap();
    builder.set_version(recipe.version).unwrap();
    builder.set_subject_name(&subject).unwrap();
    builder
        .set_issuer_name(issuer.map_or(&subject, |(issuer, _)| issuer.subject_name()))
        .unwrap();
    builder.set_not_before(&day(recipe.days.0)).unwrap();
    builder.set_not_after(&day(recipe.days.1)).unwrap();
    builder.set_pubkey(key).unwrap();
    if let Some(is_authority) = recipe.is_authority {
        let mut constraints = BasicConstraints::new();
        constraints.critical();
        if is_authority {
            constraints.ca();
        }
        builder.append_extension(constraints.build().unwrap()).unwrap();
        let mut usage = KeyUsage::new();
        if recipe.may_sign {
            usage.key_cert_sign();
        } else {
            usage.digital_signature();
        }
        builder.append_extension(usage.build().unwrap()).unwrap();
    }
    builder
        .sign(issuer.map_or(key, |(_, key)| key), MessageDigest::sha256())
        .unwrap();
    builder.build()
}

fn judged(certificates: &[&X509]) -> Result<String, String> {
    let pem: Vec<u8> = certificates
        .iter()
        .flat_map(|certificate| certificate.to_pem().unwrap())
        .collect();
    judge(&pem).map_err(|error| error.to_string())
}

#[test]
fn takes_authorities() {
    let key = key();
    let root = make("Root", ROOT, &key, None);
    let line = judged(&[&root]).unwrap();
    let words: Vec<&str> = line.trim_end().splitn(4, ' ').collect();
    assert_eq!(words[0], format!("{:08x}", root.subject_name_hash()));
    assert_eq!(words[3], "CN=Root, O=Example");
    let (from, to): (i64, i64) = (words[1].parse().unwrap(), words[2].parse().unwrap());
    assert_eq!(to - from, 366 * 86_400);

    let old = Recipe {
        version: 0,
        is_authority: None,
        ..ROOT
    };
    assert!(judged(&[&make("Version 1", old, &key, None)]).is_ok());
    let early = Recipe {
        days: (5, 365),
        ..ROOT
    };
    assert!(judged(&[&make("Early", early, &key, None)]).is_ok());
    let between_key = self::key();
    let between = make("Between", ROOT, &between_key, Some((&root, &key)));
    assert_eq!(judged(&[&between, &root]).unwrap().lines().count(), 2);
}

#[test]
fn refuses_what_is_none() {
    let (key, other) = (key(), self::key());
    let root = make("Root", ROOT, &key, None);
    let leaf = Recipe {
        is_authority: Some(false),
        may_sign: false,
        ..ROOT
    };
    let server = make("Server", leaf, &other, Some((&root, &key)));
    let lonely = make("Between", ROOT, &other, Some((&root, &key)));
    let self_signed = make("Self", leaf, &key, None);
    let no_authority = Recipe {
        may_sign: true,
        ..leaf
    };
    let no_signer = Recipe {
        may_sign: false,
        ..ROOT
    };
    let expired = Recipe {
        days: (-10, -1),
        ..ROOT
    };
    for (certificates, why) in [
        (vec![&server], "\"CN=Server, O=Example\" is no"),
        (vec![&root, &server], "\"CN=Server, O=Example\" is no"),
        (vec![&lonely], "its own issuer is missing"),
        (vec![&self_signed], "is no"),
        (vec![&make("X", no_authority, &key, None)], "is no"),
        (vec![&make("X", no_signer, &key, None)], "is no"),
        (
            vec![&make("Old", expired, &key, None)],
            "\"CN=Old, O=Example\" expired on ",
        ),
        (
            vec![&root, &make("Old", expired, &key, None), &server],
            "\"CN=Server, O=Example\" is no",
        ),
        (vec![], "no certificate"),
    ] {
        let refused = judged(&certificates).unwrap_err();
        assert!(refused.contains(why), "{refused}");
    }
}

#[test]
fn leaves_out_what_expired() {
    let (old_key, new_key, other) = (key(), self::key(), self::key());
    let expired = Recipe {
        days: (-10, -1),
        ..ROOT
    };
    let old = make("Old", expired, &old_key, None);
    let new = make("New", ROOT, &new_key, None);
    let below_old = make("Below old", ROOT, &other, Some((&old, &old_key)));
    let further = make("Further", ROOT, &old_key, Some((&below_old, &other)));
    let below_new = make("Below new", ROOT, &other, Some((&new, &new_key)));
    let (old_end, new_hash) = (seconds(old.not_after()).unwrap(), new.subject_name_hash());
    let lines = judged(&[&further, &below_old, &old, &new, &below_new]).unwrap();
    let lines: Vec<Vec<&str>> = lines.lines().map(|line| line.splitn(4, ' ').collect()).collect();
    let marks: Vec<bool> = lines.iter().map(|words| words[0] == EXPIRED).collect();
    assert_eq!(marks, [true, true, true, false, false], "{lines:?}");
    for words in &lines[..3] {
        assert_eq!(words[2], old_end.to_string());
    }
    assert_eq!(lines[2][3], "CN=Old, O=Example");
    assert_eq!(lines[3][0], format!("{new_hash:08x}"));

    // A renewal under the same name.
    let same = make("Old", ROOT, &new_key, None);
    for pair in [[&old, &same], [&same, &old]] {
        let lines = judged(&pair).unwrap();
        let expired = lines.lines().filter(|line| line.starts_with("expired ")).count();
        assert_eq!((lines.lines().count(), expired), (2, 1), "{lines}");
    }
    let refused = judged(&[&old, &below_old]).unwrap_err();
    assert!(
        refused.starts_with("\"CN=Old, O=Example\" expired on "),
        "{refused}"
    );
}

#[test]
fn refuses_what_does_not_parse_and_never_shows_a_key() {
    let damaged = b"-----BEGIN CERTIFICATE-----\nMAAwADAA\n-----END CERTIFICATE-----\n";
    let error = judge(damaged).unwrap_err();
    assert!(
        error.exit_code() == 65 && error.to_string().starts_with("a certificate is damaged: "),
        "{error}"
    );
    let private = key().private_key_to_pem_pkcs8().unwrap();
    assert_eq!(
        judge(&private).unwrap_err().to_string(),
        "there is a private key among the certificates"
    );
}
