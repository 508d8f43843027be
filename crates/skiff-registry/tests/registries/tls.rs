//! TLS: wanted unless something else is asked for, and only from those that somebody vouches for.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;

use crate::common::*;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use skiff_registry::{Client, ClientOptions, Layout, RegistryError};
use skiff_testkit::{HttpAnswer, Image, Layer, OciLayout, RegistryOptions, TestRegistry};

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/tls").join(name)
}

/// Takes TLS off what comes, one request a connection, and passes it on. Its thread ends with the process.
fn tls_before(address: String) -> String {
    let certificate = CertificateDer::from_pem_file(file("server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(file("server.key")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut client = StreamOwned::new(connection, stream.unwrap());
            let mut head = Vec::new();
            let mut byte = [0];
            // A handshake that the client refuses fails here.
            while !head.ends_with(b"\r\n\r\n") && client.read(&mut byte).is_ok_and(|count| count == 1) {
                head.push(byte[0]);
            }
            let Some(head) = head.strip_suffix(b"\r\n") else { continue };
            let mut server = TcpStream::connect(&address).unwrap();
            server.write_all(head).unwrap();
            server.write_all(b"connection: close\r\n\r\n").unwrap();
            server.shutdown(std::net::Shutdown::Write).unwrap();
            let mut answer = Vec::new();
            server.read_to_end(&mut answer).unwrap();
            let _ = client.write_all(&answer);
            client.conn.send_close_notify();
            let _ = client.flush();
        }
    });
    format!("localhost:{port}")
}

fn registry() -> TestRegistry {
    let elsewhere = |request: &skiff_testkit::HttpRequest| {
        let is_there = request.path == "/v2/elsewhere/manifests/1";
        is_there.then(|| HttpAnswer::new(307).header("location", "http://127.0.0.1:1/"))
    };
    let registry = TestRegistry::scripted(RegistryOptions::default(), move |request, _| elsewhere(request));
    let image = Image::new().layer(Layer::new().file("etc/motd", "ahoy"));
    registry.put_layout("app", &OciLayout::new().image("1", image));
    registry
}

fn quick() -> ClientOptions {
    let retries = options().retries;
    ClientOptions::default().with_retries(retries)
}

#[test]
fn an_authority_that_was_named_is_trusted_and_no_other() {
    let registry = registry();
    let address = tls_before(registry.address());
    let work = Work::new();
    let layout = Layout::create(work.path("layout")).unwrap();
    let fetch = |options| Client::new(options).unwrap().fetch(&at(&address, "app:1"), None, &layout);

    let error = fetch(quick()).unwrap_err();
    assert!(matches!(error, RegistryError::Network { tried: 1, .. }), "{error}");
    assert!(error.to_string().contains("name the certificate of its authority"), "{error}");
    assert_eq!(registry.requests(), []);

    fetch(quick().with_authority(file("authority.pem"))).unwrap();
}

#[test]
fn plain_http_is_never_fallen_back_to() {
    let registry = registry();
    let client = Client::new(quick()).unwrap();
    let error = client.resolve(&reference(&registry, "app:1"), None).unwrap_err();
    assert!(matches!(error, RegistryError::Network { .. }), "{error}");
    assert!(error.to_string().contains("plain HTTP"), "{error}");
    assert!(registry.requests().iter().all(|request| !request.path.starts_with("/v2")));

    // Nor where a registry with TLS leads to it.
    let address = tls_before(registry.address());
    let client = Client::new(quick().with_authority(file("authority.pem"))).unwrap();
    let error = client.resolve(&at(&address, "elsewhere:1"), None).unwrap_err();
    assert!(matches!(error, RegistryError::Unsupported { .. }), "{error}");
}

#[test]
fn files_without_certificates_are_refused() {
    for name in ["server.key", "../registries/main.rs"] {
        let error = Client::new(quick().with_authority(file(name))).unwrap_err();
        assert!(matches!(error, RegistryError::Setup { .. }), "{error}");
    }
    assert!(matches!(Client::new(quick().with_authority(file("none"))), Err(RegistryError::Io { .. })));
}
