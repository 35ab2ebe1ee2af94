//! Whether a certificate is one of an authority.
//!
//! OpenSSL decides: it is made to verify a certificate of nobody that names this one as its issuer. It looks at the
//! chain (basic constraints, key usage, X.509 v1 roots, an intermediate without its root) before it looks at
//! signatures, so that a chain which fails for nothing but the signature, which nobody can make without the
//! authority's key, is one that it would trust.

use std::fmt;

use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::stack::Stack;
use openssl::x509::store::{X509Store, X509StoreBuilder};
use openssl::x509::verify::X509VerifyFlags;
use openssl::x509::{X509, X509Builder, X509NameRef, X509Ref, X509StoreContext, X509VerifyResult};

/// The longest subject that is shown.
const MAX_SUBJECT: usize = 200;
/// `X509_V_ERR_CERT_SIGNATURE_FAILURE` (x509_vfy.h).
const SIGNATURE: i32 = 7;
/// `X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT` and `…_LOCALLY`: this one may not sign, or has an issuer of its own.
const NO_ISSUER: [i32; 2] = [2, 20];

/// Why certificates are not taken.
#[derive(Debug)]
pub(crate) enum Error {
    /// A private key is among them.
    PrivateKey,
    /// They are no certificates.
    Parse(ErrorStack),
    /// There is none.
    None,
    /// The one with this subject is none of an authority, by this result of OpenSSL.
    NoAuthority(String, X509VerifyResult),
    /// All expired: the one with this subject then.
    Expired(String, String),
    /// OpenSSL failed.
    OpenSsl(ErrorStack),
}

impl Error {
    /// As of sysexits(3).
    pub(crate) const fn exit_code(&self) -> u8 {
        match self {
            Self::OpenSsl(_) => 70,
            _ => 65,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PrivateKey => f.write_str("there is a private key among the certificates"),
            Self::Parse(error) => write!(f, "a certificate is damaged: {}", reason(error)),
            Self::None => f.write_str("there is no certificate"),
            Self::NoAuthority(subject, result) if NO_ISSUER.contains(&result.as_raw()) => write!(
                f,
                "\"{subject}\" is no root that signs certificates: it may not sign, or its own issuer is missing \
                 (add that)"
            ),
            Self::NoAuthority(subject, result) => {
                write!(
                    f,
                    "\"{subject}\" is no certificate of an authority: {}",
                    result.error_string()
                )
            }
            Self::Expired(subject, end) => write!(f, "\"{subject}\" expired on {end}"),
            Self::OpenSsl(error) => write!(f, "OpenSSL failed: {}", reason(error)),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Parse(error) | Self::OpenSsl(error) => Some(error),
            _ => None,
        }
    }
}

impl From<ErrorStack> for Error {
    fn from(error: ErrorStack) -> Self {
        Self::OpenSsl(error)
    }
}

/// The first reason; the rest is where in OpenSSL.
fn reason(stack: &ErrorStack) -> &'static str {
    stack
        .errors()
        .first()
        .and_then(|error| error.reason())
        .unwrap_or("it is not what it says it is")
}

/// What begins the line about one that expired, where others have the hash of their subject.
const EXPIRED: &str = "expired";

/// Judges all, and writes a line about each. One that expired is left out, and says so; with it one that OpenSSL trusts
/// only together with it (an intermediate whose root expired), with the same end.
///
/// # Errors
/// [`Error`], the first one. [`Error::Expired`] if all are left out.
pub(crate) fn judge(pem: &[u8]) -> Result<String, Error> {
    let private = b"PRIVATE KEY";
    if pem.windows(private.len()).any(|window| window == private) {
        return Err(Error::PrivateKey);
    }
    let certificates = X509::stack_from_pem(pem).map_err(Error::Parse)?;
    if certificates.is_empty() {
        return Err(Error::None);
    }
    let all: Vec<&X509> = certificates.iter().collect();
    let store = store_of(&all)?;
    let key = PKey::from_ec_key(EcKey::generate(
        EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?.as_ref(),
    )?)?;
    for certificate in &certificates {
        let result = verify(certificate, &store, &key)?;
        if result.as_raw() != SIGNATURE {
            return Err(Error::NoAuthority(subject(certificate.subject_name()), result));
        }
    }
    let ends = ends_of_expired(&certificates, &key)?;
    if let (true, Some(first)) = (ends.iter().all(Option::is_some), certificates.first()) {
        let end = first.not_after().to_string();
        return Err(Error::Expired(subject(first.subject_name()), end));
    }
    let mut lines = String::new();
    for (certificate, expired) in certificates.iter().zip(ends) {
        let (mark, to) = match expired {
            Some(end) => (EXPIRED.to_owned(), end),
            None => {
                let hash = certificate.subject_name_hash();
                (format!("{hash:08x}"), seconds(certificate.not_after())?)
            }
        };
        let from = seconds(certificate.not_before())?;
        let subject = subject(certificate.subject_name());
        lines.push_str(&format!("{mark} {from} {to} {subject}\n"));
    }
    Ok(lines)
}

/// For each of them that is left out the end of its time (seconds since 1970).
fn ends_of_expired(certificates: &[X509], key: &PKey<Private>) -> Result<Vec<Option<i64>>, ErrorStack> {
    let now = Asn1Time::days_from_now(0)?;
    let mut ends = Vec::new();
    for certificate in certificates {
        let end = certificate.not_after();
        ends.push(if *end < *now { Some(seconds(end)?) } else { None });
    }
    let Some(last) = ends.iter().flatten().max().copied() else {
        return Ok(ends);
    };
    let rest = certificates.iter().zip(&ends);
    let rest: Vec<&X509> = rest
        .filter(|(_, end)| end.is_none())
        .map(|(certificate, _)| certificate)
        .collect();
    // OpenSSL follows a chain to its end: whatever rests on an expired one, be it over others, fails at once.
    let store = store_of(&rest)?;
    for (certificate, end) in certificates.iter().zip(&mut ends) {
        if end.is_none() && verify(certificate, &store, key)?.as_raw() != SIGNATURE {
            *end = Some(last);
        }
    }
    Ok(ends)
}

/// These, to be trusted. Their time is judged apart: a clock may be wrong.
fn store_of(certificates: &[&X509]) -> Result<X509Store, ErrorStack> {
    let mut store = X509StoreBuilder::new()?;
    store.set_flags(X509VerifyFlags::NO_CHECK_TIME)?;
    for certificate in certificates {
        store.add_cert((*certificate).clone())?;
    }
    Ok(store.build())
}

/// What OpenSSL says of a certificate of nobody that this one should have issued.
fn verify(issuer: &X509Ref, store: &X509Store, key: &PKey<Private>) -> Result<X509VerifyResult, ErrorStack> {
    let mut leaf = X509Builder::new()?;
    leaf.set_version(2)?;
    leaf.set_issuer_name(issuer.subject_name())?;
    leaf.set_not_before(epoch()?.as_ref())?;
    leaf.set_not_after(Asn1Time::days_from_now(1)?.as_ref())?;
    leaf.set_pubkey(key)?;
    leaf.sign(key, MessageDigest::sha256())?;
    let leaf = leaf.build();
    X509StoreContext::new()?.init(store, &leaf, Stack::new()?.as_ref(), |context| {
        context.verify_cert()?;
        Ok(context.error())
    })
}

/// The beginning of 1970. As a text: where the C library's `time_t` has 64 bits and the crate's has 32 (ARMv7), a number
/// does not arrive at OpenSSL.
fn epoch() -> Result<Asn1Time, ErrorStack> {
    Asn1Time::from_str("19700101000000Z")
}

/// Seconds since 1970.
fn seconds(time: &Asn1TimeRef) -> Result<i64, ErrorStack> {
    let since = epoch()?.diff(time)?;
    Ok(i64::from(since.days) * 86_400 + i64::from(since.secs))
}

/// A name in one line, as `CN=An authority, O=Example`.
fn subject(name: &X509NameRef) -> String {
    let mut parts = Vec::new();
    for entry in name.entries() {
        let kind = entry.object().nid().short_name().unwrap_or("?");
        let value = entry.data().to_string();
        parts.push(format!("{kind}={}", value.unwrap_or_default().escape_debug()));
    }
    // The most telling part is the last.
    parts.reverse();
    let mut line = parts.join(", ");
    if line.is_empty() {
        line.push_str("(no subject)");
    }
    line.chars().take(MAX_SUBJECT).collect()
}

#[cfg(test)]
mod tests;
