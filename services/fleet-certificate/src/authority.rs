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
    /// The one with this subject expired then.
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

/// Judges all, and writes a line about each.
///
/// # Errors
/// [`Error`], the first one.
pub(crate) fn judge(pem: &[u8]) -> Result<String, Error> {
    let private = b"PRIVATE KEY";
    if pem.windows(private.len()).any(|window| window == private) {
        return Err(Error::PrivateKey);
    }
    let certificates = X509::stack_from_pem(pem).map_err(Error::Parse)?;
    if certificates.is_empty() {
        return Err(Error::None);
    }
    let mut store = X509StoreBuilder::new()?;
    // Their time is judged below: a clock may be wrong.
    store.set_flags(X509VerifyFlags::NO_CHECK_TIME)?;
    for certificate in &certificates {
        store.add_cert(certificate.clone())?;
    }
    let store = store.build();
    let key = PKey::from_ec_key(EcKey::generate(
        EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?.as_ref(),
    )?)?;
    let now = Asn1Time::days_from_now(0)?;
    let mut lines = String::new();
    for certificate in &certificates {
        let subject = subject(certificate.subject_name());
        let result = verify(certificate, &store, &key)?;
        if result.as_raw() != SIGNATURE {
            return Err(Error::NoAuthority(subject, result));
        }
        let end = certificate.not_after();
        if *end < *now {
            return Err(Error::Expired(subject, end.to_string()));
        }
        let (hash, from, to) = (
            certificate.subject_name_hash(),
            seconds(certificate.not_before())?,
            seconds(end)?,
        );
        lines.push_str(&format!("{hash:08x} {from} {to} {subject}\n"));
    }
    Ok(lines)
}

/// What OpenSSL says of a certificate of nobody that this one should have issued.
fn verify(issuer: &X509Ref, store: &X509Store, key: &PKey<Private>) -> Result<X509VerifyResult, ErrorStack> {
    let mut leaf = X509Builder::new()?;
    leaf.set_version(2)?;
    leaf.set_issuer_name(issuer.subject_name())?;
    leaf.set_not_before(Asn1Time::from_unix(0)?.as_ref())?;
    leaf.set_not_after(Asn1Time::days_from_now(1)?.as_ref())?;
    leaf.set_pubkey(key)?;
    leaf.sign(key, MessageDigest::sha256())?;
    let leaf = leaf.build();
    X509StoreContext::new()?.init(store, &leaf, Stack::new()?.as_ref(), |context| {
        context.verify_cert()?;
        Ok(context.error())
    })
}

/// Seconds since 1970.
fn seconds(time: &Asn1TimeRef) -> Result<i64, ErrorStack> {
    let since = Asn1Time::from_unix(0)?.diff(time)?;
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
