//! What a container's variables and mounted files say.

use std::collections::BTreeMap;
use std::fs;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use tempfile::TempDir;

use crate::documents::{Documents, at, list, named, text};

/// Where Secrets are mounted.
const MOUNTS: &str = "/etc/holdfast/";

/// Names of files in the Secret of a Certificate.
const OF_CERTIFICATE: [&str; 3] = ["tls.crt", "tls.key", "ca.crt"];

/// The variables that the kubelet sets, with the files that they name.
pub(crate) struct Environment {
    told: BTreeMap<String, String>,
    /// What the overlay knows of the files' contents, by variable.
    contents: BTreeMap<String, String>,
    files: TempDir,
}

impl Environment {
    /// # Panics
    /// When a variable is set twice, or names a file that no Secret of the overlay brings.
    pub(crate) fn of(documents: &Documents, pod: &Value, container: &Value) -> Self {
        let mut told = BTreeMap::new();
        for source in list(container, "/envFrom") {
            let map = documents.one("ConfigMap", text(source, "/configMapRef/name"));
            for (name, value) in at(map, "/data").as_object().unwrap() {
                let before = told.insert(name.clone(), value.as_str().unwrap().to_owned());
                assert_eq!(before, None, "{name} is set twice");
            }
        }
        for variable in list(container, "/env") {
            let (name, value) = (text(variable, "/name"), text(variable, "/value"));
            told.insert(name.to_owned(), value.to_owned());
        }

        let mut contents = BTreeMap::new();
        for (name, path) in told.iter().filter(|(_, value)| value.starts_with(MOUNTS)) {
            let (secret, key) = mounted(pod, container, path)
                .unwrap_or_else(|| panic!("{name}: {path} is not mounted"));
            if !is_of_certificate(documents, secret, key) {
                contents.insert(name.clone(), secret_value(documents, secret, key));
            }
        }
        Self { told, contents, files: TempDir::with_prefix("holdfast-secrets-").unwrap() }
    }

    /// The value as the kubelet sets it.
    pub(crate) fn told(&self, variable: &str) -> String {
        self.told.get(variable).unwrap_or_else(|| panic!("{variable} is not set")).clone()
    }

    /// All of them, with paths to files that are here where their contents are known.
    pub(crate) fn variables(&self) -> BTreeMap<String, String> {
        let mut variables = self.told.clone();
        for (name, contents) in &self.contents {
            let file = self.files.path().join(name);
            fs::write(&file, contents).unwrap();
            variables.insert(name.clone(), file.to_str().unwrap().to_owned());
        }
        variables
    }
}

/// The Secret and its key that a container finds at a path.
pub(crate) fn mounted<'value>(
    pod: &'value Value,
    container: &Value,
    path: &str,
) -> Option<(&'value str, &'value str)> {
    let (folder, file) = path.rsplit_once('/')?;
    let mount = list(container, "/volumeMounts").iter().find(|it| it["mountPath"] == folder)?;
    assert_eq!(mount["readOnly"], true, "{folder}");
    let volume = named(list(pod, "/volumes"), text(mount, "/name"));
    let secret = at(volume, "/secret");
    let name = text(secret, "/secretName");

    let Some(items) = secret.get("items") else {
        // Each key is a file of its name.
        return OF_CERTIFICATE.into_iter().find(|key| *key == file).map(|key| (name, key));
    };
    let item = items.as_array()?.iter().find(|item| item["path"] == file)?;
    Some((name, text(item, "/key")))
}

/// Whether cert-manager writes this key of this Secret for a Certificate of the overlay.
fn is_of_certificate(documents: &Documents, secret: &str, key: &str) -> bool {
    let mut certificates = documents.of("Certificate");
    certificates.any(|it| it["spec"]["secretName"] == secret) && OF_CERTIFICATE.contains(&key)
}

/// A Secret of the overlay, or one that CloudNativePG makes for a Cluster of the overlay.
fn secret_value(documents: &Documents, name: &str, key: &str) -> String {
    let cluster = |cluster: &&Value| name == format!("{}-app", text(cluster, "/metadata/name"));
    let Some(cluster) = documents.of("Cluster").find(cluster) else {
        let secret = documents.one("Secret", name);
        // kustomize breaks long lines.
        let encoded = text(secret, &format!("/data/{key}")).replace('\n', "");
        return String::from_utf8(BASE64_STANDARD.decode(encoded).unwrap()).unwrap();
    };
    assert_eq!(key, "uri");
    let (host, namespace) = (text(cluster, "/metadata/name"), text(cluster, "/metadata/namespace"));
    let initdb = at(cluster, "/spec/bootstrap/initdb");
    let (owner, database) = (text(initdb, "/owner"), text(initdb, "/database"));
    format!("postgresql://{owner}:made@{host}-rw.{namespace}:5432/{database}")
}
