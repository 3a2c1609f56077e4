//! Callers with certificates, beside callers with tokens, on one TLS port.

use std::io;
use std::path::Path;
use std::sync::Arc;

use http::Uri;
use hyper_util::rt::TokioIo;
use prost::Message;
use proto::account::v1::GetAccountRequest;
use proto::right;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use serde_json::json;
use tempfile::TempDir;
use tests::cluster::{Binaries, Cluster, Plan, Pod};
use tests::tokens::{Algorithm, Issuer, claims};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tonic::Code;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use crate::calls::call;
use crate::samples::{ACCOUNT, OTHERS, open};
use crate::world;

/// Issues the certificates of both sides.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn issue(&self, names: &[SanType]) -> (rcgen::Certificate, KeyPair) {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names.to_vec();
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.0).unwrap(), key)
    }

    /// A connection with a certificate of these URIs, or without one.
    async fn connect(&self, pod: &Pod, uris: Option<&[&str]>) -> Channel {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match uris {
            None => builder.with_no_client_auth(),
            Some(uris) => {
                let names = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap()));
                let (certificate, key) = self.issue(&names.collect::<Vec<_>>());
                let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
                builder.with_client_auth_cert(vec![certificate.der().clone()], key).unwrap()
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];

        let (address, connector) = (pod.address(), TlsConnector::from(Arc::new(config)));
        let connect = service_fn(move |_: Uri| {
            let connector = connector.clone();
            async move {
                let stream = TcpStream::connect(address).await?;
                let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
                connector.connect(name, stream).await.map(TokioIo::new)
            }
        });
        Endpoint::from_static("http://localhost").connect_with_connector(connect).await.unwrap()
    }
}

/// Writes what a pod needs to be served under TLS, and who may do what.
fn flags(directory: &Path, authority: &Authority, issuer: &Issuer) -> Vec<String> {
    let write = |name: &str, text: String| {
        let file = directory.join(name);
        std::fs::write(&file, text).unwrap();
        file.display().to_string()
    };
    let (certificate, key) = authority.issue(&[SanType::DnsName("localhost".try_into().unwrap())]);
    let roles = json!({ "callers": [
        { "certificate": "spiffe://test/admin", "rights": ["ledger:admin", "ledger:any"] },
        { "certificate": "spiffe://test/alice", "rights": ["ledger:own"], "accounts": [ACCOUNT] },
        { "subject": "bob", "rights": ["ledger:own"], "accounts": [OTHERS] },
    ] });
    let files = [
        ("--tls-certificate", write("certificate.pem", certificate.pem())),
        ("--tls-key", write("key.pem", key.serialize_pem())),
        ("--tls-client-ca", write("ca.pem", authority.0.pem())),
        ("--auth-roles", write("roles.json", roles.to_string())),
    ];
    let jwks = directory.join("jwks.json");
    std::fs::write(&jwks, issuer.jwks()).unwrap();
    let mut flags = world::flags(&jwks);
    flags[1] = "both".to_owned();
    flags.extend(files.into_iter().flat_map(|(flag, file)| [flag.to_owned(), file]));
    flags
}

/// Reads an account, and answers how that went.
async fn read(channel: &Channel, account_id: i64, token: Option<&str>) -> Code {
    let message = GetAccountRequest { account_id }.encode_to_vec();
    let read = call(channel, "account.v1.AccountService/GetAccount", message, token).await;
    read.map_or_else(|status| status.code(), |_| Code::Ok)
}

#[tokio::test]
async fn a_certificate_or_a_token_says_who_calls_and_the_roles_file_what_it_may_do() {
    let (directory, authority, issuer) = (TempDir::new().unwrap(), Authority::new(), Issuer::new());
    let plan = Plan {
        account_pods: 1,
        order_pods: 0,
        account_flags: flags(directory.path(), &authority, &issuer),
        ..Plan::default()
    };
    let cluster = Cluster::start(Binaries::build().unwrap(), plan).await.unwrap();
    let pod = &cluster.account[0];

    let admin = authority.connect(pod, Some(&["spiffe://test/admin"])).await;
    let opened = "account.v1.AccountService/OpenAccount";
    for account in [ACCOUNT, OTHERS] {
        call(&admin, opened, open(account).encode_to_vec(), None).await.unwrap();
    }

    let alice = authority.connect(pod, Some(&["spiffe://test/alice"])).await;
    assert_eq!(read(&alice, ACCOUNT, None).await, Code::Ok);
    assert_eq!(read(&alice, OTHERS, None).await, Code::PermissionDenied);
    let stranger = authority.connect(pod, Some(&["spiffe://test/stranger"])).await;
    assert_eq!(read(&stranger, ACCOUNT, None).await, Code::PermissionDenied);
    for nameless in [&[][..], &["spiffe://test/admin", "spiffe://test/alice"], &["https://a"]] {
        let nameless = authority.connect(pod, Some(nameless)).await;
        assert_eq!(read(&nameless, ACCOUNT, None).await, Code::Unauthenticated);
    }

    // Without a certificate, a token will do; a token decides where there are both; and a subject is not a certificate.
    let nobody = authority.connect(pod, None).await;
    assert_eq!(read(&nobody, ACCOUNT, None).await, Code::Unauthenticated);
    let token = |subject| issuer.sign(Algorithm::EdDsa, &claims(subject, &[], &[]));
    let bob = token("bob");
    assert_eq!(read(&nobody, OTHERS, Some(&bob)).await, Code::Ok);
    assert_eq!(read(&nobody, ACCOUNT, Some(&bob)).await, Code::PermissionDenied);
    assert_eq!(read(&admin, ACCOUNT, Some(&bob)).await, Code::PermissionDenied);
    let forged = Issuer::new().sign(Algorithm::EdDsa, &claims("bob", &right::ALL, &[ACCOUNT]));
    assert_eq!(read(&admin, ACCOUNT, Some(&forged)).await, Code::Unauthenticated);
    let namesake = token("spiffe://test/admin");
    assert_eq!(read(&nobody, ACCOUNT, Some(&namesake)).await, Code::PermissionDenied);
}
