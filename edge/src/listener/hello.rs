//! The server name that a TLS ClientHello asks for (RFC 6066 section 3), looked at before anything is
//! answered.

use rustls::server::Acceptor;

/// What the first bytes of a connection are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Hello {
    /// The beginning of a ClientHello.
    Partial,
    /// A ClientHello that asks for this name, in lower case.
    Name(Option<String>),
    /// Something else.
    Other,
}

/// Reads the name out of a connection's first bytes.
pub(super) fn server_name(mut bytes: &[u8]) -> Hello {
    let mut acceptor = Acceptor::default();
    while !bytes.is_empty() {
        if acceptor.read_tls(&mut bytes).is_err() {
            return Hello::Other;
        }
        match acceptor.accept() {
            Ok(None) => {}
            Ok(Some(accepted)) => {
                let name = accepted.client_hello().server_name().map(str::to_ascii_lowercase);
                return Hello::Name(name);
            }
            Err(_) => return Hello::Other,
        }
    }
    Hello::Partial
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, ClientConnection, RootCertStore};

    use super::*;

    fn hello(name: &str) -> Vec<u8> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_name_is_read_as_soon_as_it_is_whole() {
        let bytes = hello("Web.Example.test");
        for len in 0..bytes.len() {
            assert_eq!(server_name(&bytes[..len]), Hello::Partial, "{len}");
        }
        assert_eq!(server_name(&bytes), Hello::Name(Some("web.example.test".to_owned())));
        assert_eq!(server_name(&hello("192.0.2.1")), Hello::Name(None));
    }

    #[test]
    fn what_is_no_client_hello_is_told() {
        assert_eq!(server_name(b"GET / HTTP/1.1\r\n\r\n"), Hello::Other);
        assert_eq!(server_name(&[0; 64]), Hello::Other);
    }
}
