//! What a server shows, for `fleet-watch`, which asks after a connectivity check over https has failed.

use std::error::Error;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use openssl::ssl::{HandshakeError, SslConnector, SslMethod};
use openssl::x509::X509VerifyResult;
use socket2::{Domain, Protocol, Socket, Type};

/// For the connection, and for each answer in it. Who asks has a limit of its own for all of it.
const LIMIT: Duration = Duration::from_secs(5);

// openssl/x509_vfy.h, `X509_V_ERR_*`.
const CERT_NOT_YET_VALID: i32 = 9;
const CERT_HAS_EXPIRED: i32 = 10;
const HOSTNAME_MISMATCH: i32 = 62;
const IP_ADDRESS_MISMATCH: i32 = 64;

/// Shakes hands with the server `name` at `address`, through `interface`, and says what is wrong with its certificate.
///
/// # Errors
/// It cannot be connected to; or OpenSSL has no authorities.
pub(crate) fn judge(
    name: &str,
    address: SocketAddr,
    interface: &str,
) -> Result<&'static str, Box<dyn Error>> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.bind_device(Some(interface.as_bytes()))?;
    socket.connect_timeout(&address.into(), LIMIT)?;
    socket.set_read_timeout(Some(LIMIT))?;
    socket.set_write_timeout(Some(LIMIT))?;
    let connector = SslConnector::builder(SslMethod::tls_client())?.build();
    match connector.connect(name, TcpStream::from(socket)) {
        Ok(_) => Ok("valid"),
        Err(HandshakeError::Failure(handshake) | HandshakeError::WouldBlock(handshake)) => {
            Ok(word(handshake.ssl().verify_result()))
        }
        Err(HandshakeError::SetupFailure(error)) => Err(error.into()),
    }
}

/// The published word.
fn word(result: X509VerifyResult) -> &'static str {
    match result.as_raw() {
        0 => "broken-off",
        CERT_NOT_YET_VALID => "not-yet-valid",
        CERT_HAS_EXPIRED => "expired",
        HOSTNAME_MISMATCH | IP_ADDRESS_MISMATCH => "other-name",
        _ => "untrusted",
    }
}
