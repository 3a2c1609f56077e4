//! Files that change: what is taken, what is not, and what is said of those that cannot be used.

use std::path::{Path, PathBuf};
use std::time::Duration;

use credentials::{
    ClientFiles, Identity, InForce, Made, Recipe, Roots, ServerFiles, Text, TlsError, load,
};
use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;
use tokio::time::timeout;

const INTERVAL: Duration = Duration::from_millis(5);

/// Longer than anything here takes.
const FOR_EVER: Duration = Duration::from_secs(20);

/// A certificate that is its own issuer, with its key.
struct Own {
    certificate: String,
    key: String,
}

impl Own {
    fn new() -> Self {
        Self::valid_until(2100)
    }

    fn valid_until(year: i32) -> Self {
        let key = KeyPair::generate().expect("keys can be made");
        let mut params = CertificateParams::new(vec!["pod".to_owned()]).expect("it is a name");
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let certificate = params.self_signed(&key).expect("it can be signed").pem();
        Self { certificate, key: key.serialize_pem() }
    }

    fn write(&self, files: &ServerFiles) {
        std::fs::write(&files.certificate, &self.certificate).expect("it can be written");
        std::fs::write(&files.key, &self.key).expect("it can be written");
    }
}

fn files(directory: &Path) -> ServerFiles {
    ServerFiles {
        certificate: directory.join("pod.pem"),
        key: directory.join("pod.key"),
        client_ca: None,
        client_may_be_nameless: false,
        client_crl: None,
        reload_interval: INTERVAL,
    }
}

async fn changes<T>(in_force: &mut InForce<T>) {
    timeout(FOR_EVER, in_force.changed()).await.expect("nothing else came in force");
}

#[tokio::test]
async fn a_pair_is_taken_once_it_is_whole_and_nothing_broken_in_between() {
    let directory = TempDir::new().unwrap();
    let files = files(directory.path());
    Own::new().write(&files);
    let (mut in_force, reloader) = load(files.clone()).unwrap();
    let looking = tokio::spawn(reloader.run());
    let before = in_force.now();

    let next = Own::new();
    for broken in ["", "no PEM", &Own::valid_until(2001).certificate, &next.certificate] {
        std::fs::write(&files.certificate, broken).unwrap();
        let nothing = timeout(INTERVAL * 20, in_force.changed()).await;
        assert!(nothing.is_err(), "in force: {broken:?}");
    }
    std::fs::remove_file(&files.key).unwrap();
    assert!(timeout(INTERVAL * 20, in_force.changed()).await.is_err());
    std::fs::write(&files.key, &next.key).unwrap();
    changes(&mut in_force).await;
    assert!(!std::sync::Arc::ptr_eq(&before, &in_force.now()));

    drop((in_force, before));
    timeout(FOR_EVER, looking).await.expect("it looks at files that nobody uses").unwrap();
}

#[tokio::test]
async fn an_expired_certificate_is_used_at_start_and_replaced_by_a_valid_one_only() {
    let directory = TempDir::new().unwrap();
    let files = files(directory.path());
    Own::valid_until(2001).write(&files);
    let (mut in_force, reloader) = load(files.clone()).unwrap();
    tokio::spawn(reloader.run());
    Own::valid_until(2002).write(&files);
    assert!(timeout(INTERVAL * 20, in_force.changed()).await.is_err());
    Own::new().write(&files);
    changes(&mut in_force).await;
}

fn refused(recipe: impl Recipe) -> String {
    let mut why = String::new();
    let Err(error) = load(recipe) else { panic!("it was taken") };
    let mut source: Option<&dyn std::error::Error> = Some(&error);
    while let Some(error) = source {
        why = format!("{why}{error}: ");
        source = error.source();
    }
    why
}

#[test]
fn what_cannot_be_used_is_named_by_its_path() {
    let directory = TempDir::new().unwrap();
    let (own, other) = (Own::new(), Own::new());
    let good = files(directory.path());
    own.write(&good);
    let text = |name: &str, text: &str| -> PathBuf {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let absent = directory.path().join("absent.pem");
    let (nothing, torn) = (text("nothing.pem", ""), text("torn.pem", &own.certificate[..200]));
    let (key, ca) = (text("other.key", &other.key), text("ca.pem", &other.certificate));
    let with_crl = ServerFiles { client_ca: Some(ca.clone()), ..good.clone() };
    for (refused, name, words) in [
        (
            refused(ServerFiles { certificate: absent.clone(), ..good.clone() }),
            &absent,
            "cannot read",
        ),
        (
            refused(ServerFiles { certificate: nothing.clone(), ..good.clone() }),
            &nothing,
            "no certificate",
        ),
        (refused(ServerFiles { certificate: torn.clone(), ..good.clone() }), &torn, "is not PEM"),
        (refused(ServerFiles { key: nothing.clone(), ..good.clone() }), &nothing, "no private key"),
        (refused(ServerFiles { key: key.clone(), ..good.clone() }), &key, "do not make a pair"),
        (
            refused(ServerFiles { client_crl: Some(ca.clone()), ..with_crl }),
            &ca,
            "no revocation list",
        ),
    ] {
        assert!(
            refused.contains(&*name.display().to_string()) && refused.contains(words),
            "{refused}"
        );
    }

    let client = |roots, key| ClientFiles {
        roots: Roots::File(roots),
        identity: Some(Identity { certificate: good.certificate.clone(), key }),
        name: "account",
        reload_interval: INTERVAL,
    };
    for (refused, name) in [
        (refused(client(nothing.clone(), good.key.clone())), &nothing),
        (refused(client(ca, key.clone())), &key),
    ] {
        assert!(refused.contains(&*name.display().to_string()), "{refused}");
    }
}

#[test]
fn roots_are_a_file_or_the_system_s_own() {
    assert_eq!("system".parse(), Ok(Roots::System));
    assert_eq!("./system".parse(), Ok(Roots::File("./system".into())));
}

/// A recipe without files changes nothing, and its validity is nobody's.
#[test]
fn a_recipe_of_no_files_makes_one_thing_for_good() {
    struct Nothing;
    impl Recipe for Nothing {
        type Product = u8;

        fn name(&self) -> &'static str {
            "nothing"
        }

        fn reload_interval(&self) -> Duration {
            INTERVAL
        }

        fn paths(&self) -> Vec<PathBuf> {
            Vec::new()
        }

        fn make(&self, texts: &[Text<'_>]) -> Result<Made<u8>, TlsError> {
            assert!(texts.is_empty());
            Ok(Made { product: 7, validity: None, crl_next_update: None })
        }
    }
    assert_eq!(*load(Nothing).unwrap().0.now(), 7);
}
