//! TLS: whom the channel trusts, whom it expects, who it says it is.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use client::{BuildError, Builder, Channel, Credentials, Roots, Tls, TlsFiles};
use http::Response;
use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

struct Authority {
    certificate: Certificate,
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

    fn issue(&self, name: &str) -> (Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }
}

/// A server named `accounts` that asks for a certificate of its own authority if `mutual`, and that
/// answers every call with this header-only status and `alpn` as its only protocol.
async fn serve(authority: &Authority, mutual: bool, alpn: &[u8]) -> SocketAddr {
    let (certificate, key) = authority.issue("accounts");
    let builder = ServerConfig::builder();
    let builder = if mutual {
        let mut roots = RootCertStore::empty();
        roots.add(authority.certificate.der().clone()).unwrap();
        let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap();
        builder.with_client_cert_verifier(verifier)
    } else {
        builder.with_no_client_auth()
    };
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let mut config = builder.with_single_cert(vec![certificate.der().clone()], key).unwrap();
    config.alpn_protocols = vec![alpn.to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(answer(acceptor.clone(), socket));
        }
    });
    address
}

async fn answer(acceptor: TlsAcceptor, socket: TcpStream) {
    // Handshakes fail on purpose here.
    let Ok(stream) = acceptor.accept(socket).await else { return };
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        assert_eq!(request.uri().scheme_str(), Some("https"));
        let head = Response::builder().header("content-type", "application/grpc");
        let _ = respond.send_response(head.header("grpc-status", 5).body(()).unwrap(), true);
    }
}

fn builder(address: SocketAddr, tls: Tls) -> Builder {
    Channel::builder(format!("https://{address}")).tls(tls)
}

async fn code(builder: Builder) -> Code {
    let request = HealthCheckRequest { service: String::new() };
    let mut stub = HealthClient::new(builder.build().unwrap());
    stub.check(request).await.unwrap_err().code()
}

#[tokio::test]
async fn a_server_with_the_expected_name_and_authority_is_talked_to_and_no_other() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let address = serve(&ours, false, b"h2").await;
    let trusting = |authority: &Authority, name: &str| {
        builder(address, Tls::new(authority.certificate.pem()).server_name(name))
    };
    assert_eq!(code(trusting(&ours, "accounts")).await, Code::NotFound);
    assert_eq!(code(trusting(&ours, "orders")).await, Code::Unavailable);
    assert_eq!(code(trusting(&theirs, "accounts")).await, Code::Unavailable);
}

#[tokio::test]
async fn a_server_that_wants_a_certificate_gets_it() {
    let authority = Authority::new();
    let address = serve(&authority, true, b"h2").await;
    let (certificate, key) = authority.issue("orders");
    let tls = || Tls::new(authority.certificate.pem()).server_name("accounts");
    let known = tls().identity(certificate.pem(), key.serialize_pem());
    assert_eq!(code(builder(address, known)).await, Code::NotFound);
    assert_eq!(code(builder(address, tls())).await, Code::Unavailable);
}

/// What contradicts, once the channel has found out.
async fn mismatch(builder: Builder) -> String {
    let channel = builder.build().unwrap();
    let stats = channel.until(|stats| stats.endpoints.iter().any(|it| it.failure.is_some())).await;
    stats.mismatch().map(|failure| failure.message.to_string()).unwrap_or_default()
}

#[tokio::test]
async fn settings_that_contradict_each_other_are_told_from_a_server_that_is_away() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let [open, mutual, http1] = [
        serve(&ours, false, b"h2").await,
        serve(&ours, true, b"h2").await,
        serve(&ours, false, b"http/1.1").await,
    ];
    // It speaks first, as gRPC servers do, and in plaintext.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let plain = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(async move { h2::server::handshake(socket).await.map(drop) });
        }
    });

    let trusting = |authority: &Authority| Tls::new(authority.certificate.pem());
    let tls = |address, authority| builder(address, trusting(authority).server_name("accounts"));
    for (channel, words) in [
        (tls(open, &theirs), "its certificate is refused"),
        (builder(open, trusting(&ours)), "its certificate is refused"),
        (tls(mutual, &ours), "it refuses our certificate: there is none"),
        (tls(http1, &ours), "it does not offer HTTP/2"),
        (tls(plain, &ours), "it answers in plaintext"),
        (Channel::builder(format!("http://{open}")), "it speaks TLS"),
    ] {
        let told = mismatch(channel).await;
        assert!(told.starts_with("127.0.0.1:") && told.contains(words), "{words}: {told:?}");
    }
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    assert_eq!(mismatch(tls(nobody, &ours)).await, "");
}

#[tokio::test]
async fn files_are_read_again_and_the_next_connection_uses_them() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let address = serve(&ours, false, b"h2").await;
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca.pem");
    std::fs::write(&ca, theirs.certificate.pem()).unwrap();
    let credentials = Credentials::watch(TlsFiles {
        roots: Roots::File(ca.clone()),
        identity: None,
        name: "accounts",
        reload_interval: Duration::from_millis(10),
    });
    let tls = Tls::watched(credentials.unwrap()).server_name("accounts");
    let backoff = Duration::from_millis(20);
    let channel = builder(address, tls).connection_backoff(backoff, backoff, 1.0).build().unwrap();
    channel.until(|stats| stats.mismatch().is_some()).await;
    std::fs::write(&ca, ours.certificate.pem()).unwrap();
    channel.until(|stats| stats.ready() == 1).await;
}

#[tokio::test]
async fn a_server_without_http2_is_refused() {
    let authority = Authority::new();
    let address = serve(&authority, false, b"http/1.1").await;
    let tls = Tls::new(authority.certificate.pem()).server_name("accounts");
    assert_eq!(code(builder(address, tls)).await, Code::Unavailable);
}

#[tokio::test]
async fn a_server_that_never_shakes_hands_is_given_up_at_the_connect_timeout() {
    const CONNECT_TIMEOUT: Duration = Duration::from_millis(300);
    // The kernel accepts; nobody ever answers.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let tls = Tls::new(Authority::new().certificate.pem()).server_name("accounts");
    let began = Instant::now();
    let mute = builder(listener.local_addr().unwrap(), tls).connect_timeout(CONNECT_TIMEOUT);
    assert_eq!(code(mute).await, Code::Unavailable);
    let took = began.elapsed();
    assert!((CONNECT_TIMEOUT..3 * CONNECT_TIMEOUT).contains(&took), "{took:?}");
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused_before_anything_is_sent() {
    let target = "https://127.0.0.1:1";
    let built = |tls| Channel::builder(target).tls(tls).build();
    assert!(matches!(Channel::builder(target).check(), Err(BuildError::TlsMissing)));
    assert!(matches!(Channel::builder(target).build(), Err(BuildError::TlsMissing)));
    assert!(matches!(built(Tls::new("no PEM at all")), Err(BuildError::Tls(_))));
    let authority = Authority::new();
    let tls = || Tls::new(authority.certificate.pem());
    let plaintext = Channel::builder("http://127.0.0.1:1").tls(tls()).check();
    assert!(matches!(plaintext, Err(BuildError::TlsUnwanted)));
    assert!(matches!(built(tls().server_name("not a name")), Err(BuildError::Tls(_))));
    assert!(matches!(built(tls().identity("", "")), Err(BuildError::Tls(_))));
}

#[test]
fn a_target_can_be_judged_where_no_runtime_is() {
    for good in
        ["dns:///accounts:50051", "static:///127.0.0.1:1,accounts:2", "unix:///run/accounts"]
    {
        Channel::builder(good).check().unwrap();
    }
    assert!(matches!(Channel::builder("dns:///").check(), Err(BuildError::Target(_))));
    let built = Channel::builder("dns:///accounts:50051").build();
    assert!(matches!(built, Err(BuildError::NoRuntime)));
}
