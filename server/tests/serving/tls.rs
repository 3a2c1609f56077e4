//! TLS, mutual TLS, and certificates that change while the server runs.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use server::{ServeConfig, Server, TlsFiles};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tonic::Code;

use crate::support::{Client, Pod, until};

/// A certificate authority.
struct Authority {
    certificate: rcgen::Certificate,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    fn issue(&self) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["pod".to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }

    /// A client that trusts this authority, with a certificate of `identity` if there is one.
    async fn connect(
        &self,
        pod: &Pod,
        identity: Option<&Self>,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        self.connect_as(pod, identity.map(Self::issue)).await
    }

    async fn connect_as(
        &self,
        pod: &Pod,
        identity: Option<(rcgen::Certificate, KeyPair)>,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.der().clone()).unwrap();
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_root_certificates(roots);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain: Vec<CertificateDer<'static>> = vec![certificate.der().clone()];
                let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        let stream = TcpStream::connect(pod.address).await?;
        let name = ServerName::try_from("pod").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }
}

fn write_pair(directory: &Path, authority: &Authority) -> (Vec<u8>, TlsFiles) {
    let (certificate, key) = authority.issue();
    let files = TlsFiles {
        certificate: directory.join("certificate.pem"),
        key: directory.join("key.pem"),
        client_ca: None,
        reload_interval: Duration::from_millis(20),
    };
    std::fs::write(&files.certificate, certificate.pem()).unwrap();
    std::fs::write(&files.key, key.serialize_pem()).unwrap();
    (certificate.der().to_vec(), files)
}

fn config(tls: TlsFiles) -> ServeConfig {
    ServeConfig { tls: Some(tls), ..ServeConfig::default() }
}

#[tokio::test]
async fn tls_clients_are_served_and_plain_ones_are_not() {
    let (directory, authority) = (TempDir::new().unwrap(), Authority::new());
    let (_, files) = write_pair(directory.path(), &authority);
    let pod = Pod::start(config(files)).await;
    let client = Client::over(authority.connect(&pod, None).await.unwrap()).await;
    assert_eq!(client.call("Do", "hello", &[]).await.unwrap().code, Code::Ok);
    let plain = Client::connect(pod.address).await;
    assert!(plain.call("Do", "hello", &[]).await.is_err());
}

#[tokio::test]
async fn with_a_client_authority_only_its_clients_are_served() {
    let (directory, authority) = (TempDir::new().unwrap(), Authority::new());
    let (_, files) = write_pair(directory.path(), &authority);
    let (friends, strangers) = (Authority::new(), Authority::new());
    let client_ca = directory.path().join("friends.pem");
    std::fs::write(&client_ca, friends.certificate.pem()).unwrap();
    let pod = Pod::start(config(TlsFiles { client_ca: Some(client_ca), ..files })).await;

    let friend = Client::over(authority.connect(&pod, Some(&friends)).await.unwrap()).await;
    assert_eq!(friend.call("Do", "hello", &[]).await.unwrap().code, Code::Ok);
    for refused in [None, Some(&strangers)] {
        // In TLS 1.3 the client's side of the handshake is done before the refusal arrives.
        if let Ok(stream) = authority.connect(&pod, refused).await {
            let client = Client::over(stream).await;
            assert!(client.call("Do", "hello", &[]).await.is_err());
        }
    }
}

#[tokio::test]
async fn a_service_is_told_the_certificate_that_its_caller_proved_and_none_where_none_was_asked() {
    let (directory, authority) = (TempDir::new().unwrap(), Authority::new());
    let (_, files) = write_pair(directory.path(), &authority);
    let client_ca = directory.path().join("ca.pem");
    std::fs::write(&client_ca, authority.certificate.pem()).unwrap();
    let told = async |files: TlsFiles, identity| {
        let pod = Pod::start(config(files)).await;
        let client = Client::over(authority.connect_as(&pod, identity).await.unwrap()).await;
        client.call("Do", "peer", &[]).await.unwrap().answers().remove(0)
    };

    let (certificate, key) = authority.issue();
    let wanted = format!("{:?}", certificate.der().as_ref());
    let mutual = TlsFiles { client_ca: Some(client_ca), ..files.clone() };
    assert_eq!(told(mutual, Some((certificate, key))).await, wanted);
    assert_eq!(told(files, Some(authority.issue())).await, "none");
}

#[tokio::test]
async fn changed_certificates_are_taken_and_broken_ones_are_not() {
    let (directory, authority) = (TempDir::new().unwrap(), Authority::new());
    let (first, files) = write_pair(directory.path(), &authority);
    let pod = Pod::start(config(files.clone())).await;
    let shown = async || {
        let stream = authority.connect(&pod, None).await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
    };
    let before = Client::over(authority.connect(&pod, None).await.unwrap()).await;
    assert_eq!(shown().await, first);

    let (second, _) = write_pair(directory.path(), &authority);
    until("the new certificate", async || shown().await == second).await;
    assert_eq!(before.call("Do", "hello", &[]).await.unwrap().code, Code::Ok);

    std::fs::write(&files.key, "no key").unwrap();
    for _look in 0..20 {
        assert_eq!(shown().await, second);
        tokio::time::sleep(files.reload_interval / 4).await;
    }
    let (third, _) = write_pair(directory.path(), &authority);
    until("the third certificate", async || shown().await == third).await;
}

#[tokio::test]
async fn a_server_without_its_certificate_does_not_start() {
    let (directory, authority) = (TempDir::new().unwrap(), Authority::new());
    let (_, files) = write_pair(directory.path(), &authority);
    std::fs::remove_file(&files.key).unwrap();
    let refused = Server::new(config(files)).bind().await.unwrap_err();
    assert!(matches!(refused, server::BindError::Tls(_)), "{refused}");
}
