//! The connection to Redis, over TLS if the address says so; another one when the files of TLS change.

use std::{path::PathBuf, time::Duration};

use client::{Identity, TlsError};
use credentials::{InForce, Made, Recipe, Text, client_config};
use redis::{
    Client, ClientTlsConfig, RedisError, RedisResult, TlsCertificates,
    aio::{ConnectionManager, ConnectionManagerConfig},
};
use thiserror::Error;
use tokio::sync::watch;
use tokio_rustls::rustls::{RootCertStore, crypto::ring};

use super::{BACKGROUND_PATIENCE, RedisAddress};

/// Where the credentials for Redis are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisTls {
    /// Issuers of its certificate. `None`: those of the public web.
    pub ca: Option<PathBuf>,
    /// What is shown to a Redis that asks for a certificate, as it does unless told otherwise.
    pub identity: Option<Identity>,
    /// How often the files are looked at.
    pub reload_interval: Duration,
}

/// Why the connection to Redis cannot be set up, which has nothing to do with whether Redis is there.
#[derive(Debug, Error)]
pub enum GuardError {
    /// The client cannot be made.
    #[error("cannot make a client")]
    Client(#[from] RedisError),
    /// The credentials cannot be used.
    #[error("cannot speak TLS")]
    Tls(#[from] TlsError),
}

/// The connection in use. Cheap to clone.
#[derive(Clone)]
pub(super) struct Connection(watch::Receiver<ConnectionManager>);

impl Connection {
    /// Connects when it is first used.
    pub(super) fn open(address: &RedisAddress, tls: Option<RedisTls>) -> Result<Self, GuardError> {
        let Some(tls) = tls else {
            return Ok(Self(watch::channel(manager(address.client())?).1));
        };
        // redis takes the process's provider. A second call finds the first one's, which is the same.
        let _set_before = ring::default_provider().install_default();
        let (in_force, reloader) = credentials::load(tls)?;
        tokio::spawn(reloader.run());
        let (sender, current) = watch::channel(encrypted(address, &in_force)?);
        tokio::spawn(keep_current(address.clone(), in_force, sender));
        Ok(Self(current))
    }

    pub(super) fn current(&self) -> ConnectionManager {
        self.0.borrow().clone()
    }
}

/// Replaces the connection whenever other credentials are in force, as long as somebody uses it.
async fn keep_current(
    address: RedisAddress,
    mut in_force: InForce<TlsCertificates>,
    current: watch::Sender<ConnectionManager>,
) {
    loop {
        tokio::select! {
            () = in_force.changed() => {}
            () = current.closed() => return,
        }
        match encrypted(&address, &in_force) {
            Ok(manager) => {
                current.send_replace(manager);
            }
            Err(error) => tracing::warn!(%error, "the former connection to Redis stays in use"),
        }
    }
}

fn encrypted(
    address: &RedisAddress,
    in_force: &InForce<TlsCertificates>,
) -> RedisResult<ConnectionManager> {
    let address = address.client().get_connection_info().clone();
    manager(Client::build_with_tls(address, (*in_force.now()).clone())?)
}

fn manager(client: Client) -> RedisResult<ConnectionManager> {
    let config = ConnectionManagerConfig::new()
        // Each look that finds no connection begins one; the breaker paces them.
        .set_number_of_retries(0)
        .set_connection_timeout(Some(BACKGROUND_PATIENCE))
        .set_response_timeout(Some(BACKGROUND_PATIENCE));
    ConnectionManager::new_lazy_with_config(client, config)
}

impl Recipe for RedisTls {
    type Product = TlsCertificates;

    fn name(&self) -> &'static str {
        "redis"
    }

    fn reload_interval(&self) -> Duration {
        self.reload_interval
    }

    fn paths(&self) -> Vec<PathBuf> {
        let identity = self.identity.iter().flat_map(|it| [&it.certificate, &it.key]);
        self.ca.iter().chain(identity).cloned().collect()
    }

    fn make(&self, texts: &[Text<'_>]) -> Result<Made<TlsCertificates>, TlsError> {
        let (ca, identity) = texts.split_at(self.ca.iter().len());
        let identity = match identity {
            [certificate, key] => Some((*certificate, *key)),
            _ => None,
        };
        // redis takes texts, and says what is wrong with them when it connects: they are judged here.
        ca.first().map(Text::roots).transpose()?;
        let judged = client_config(RootCertStore::empty(), identity)?;

        let product = TlsCertificates {
            root_cert: ca.first().map(|text| text.pem.to_vec()),
            client_tls: identity.map(|(certificate, key)| ClientTlsConfig {
                client_cert: certificate.pem.to_vec(),
                client_key: key.pem.to_vec(),
            }),
        };
        Ok(Made { product, validity: judged.validity, crl_next_update: None })
    }
}
