//! What the failure of a TLS connection means, in words that say what to do.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;

use redis::{ConnectionAddr, ConnectionInfo, RedisError};
use rustls::{CertificateError, Error, InvalidMessage};

/// What an alert of the server begins with. One that comes after the handshake, as those about client certificates do,
/// is handed on by its text alone.
const ALERT: &str = "received fatal alert: ";

/// What somebody must mend, if that is why there is no connection.
pub(crate) fn trouble(error: &RedisError) -> Option<String> {
    let text = error.to_string();
    let alert = text.split_once(ALERT).map(|(_, alert)| alert);
    let advice = match alert {
        Some(alert) => of_an_alert(alert.trim())?,
        // Found where the connection is made, and told by its text alone.
        None if text.contains("KeyMismatch") => {
            "the client certificate and its key do not belong together: replace both"
        }
        None => of_a_cause(error)?,
    };
    Some(format!("{text}: {advice}"))
}

fn of_a_cause(error: &RedisError) -> Option<&'static str> {
    // The library shares the cause among the clones of an error.
    let cause = error
        .source()?
        .downcast_ref::<Arc<dyn StdError + Send + Sync>>()?;
    let cause = cause.downcast_ref::<io::Error>()?;
    Some(match cause.get_ref()?.downcast_ref::<Error>()? {
        Error::InvalidCertificate(certificate) => of_the_server(certificate),
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "the port does not speak TLS: use redis in place of rediss, or the server's port for TLS"
        }
        Error::PeerIncompatible(_) => "the server offers no TLS 1.2 or 1.3 with ciphers known here",
        _ => return None,
    })
}

fn of_the_server(error: &CertificateError) -> &'static str {
    match error {
        // The second: by another authority of the same name.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "the server's certificate is signed by nobody who is trusted: name the file of its authority"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "renew the server's certificate, or look at the clock of this host"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "look at the clock of this host"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "use a host name in the URL that the server's certificate has"
        }
        _ => "the server's certificate cannot be trusted",
    }
}

/// None for alerts that pass by themselves.
fn of_an_alert(alert: &str) -> Option<&'static str> {
    Some(match alert {
        "CertificateRequired" => {
            "the server asks for a client certificate: name the files of one and of its key"
        }
        "HandshakeFailure" => "the server may ask for a client certificate, or share no cipher",
        "BadCertificate"
        | "UnsupportedCertificate"
        | "CertificateRevoked"
        | "CertificateExpired"
        | "CertificateUnknown"
        | "UnknownCA"
        | "AccessDenied"
        | "DecryptError" => "the server does not accept the client certificate",
        "ProtocolVersion" => "the server offers neither TLS 1.2 nor 1.3",
        "UnrecognisedName" => "the server does not know the host name of the URL",
        _ => return None,
    })
}

/// What else may be the matter, where nobody says it.
pub(crate) fn hint(error: &RedisError, info: &ConnectionInfo) -> Option<&'static str> {
    match info.addr() {
        ConnectionAddr::TcpTls { .. } if error.is_timeout() => {
            Some("no handshake: the port may be one without TLS")
        }
        ConnectionAddr::Tcp(..)
            if error.is_connection_dropped() && !error.is_connection_refusal() =>
        {
            Some("closed before an answer: the port may be one for TLS, which is rediss")
        }
        _ => None,
    }
}
