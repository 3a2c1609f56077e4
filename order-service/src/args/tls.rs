//! TLS towards the account service and Redis: what makes a line use it, and which files it takes.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use client::{Credentials, Identity, Roots, Tls, TlsError, TlsFiles};
use server::Problems;

use crate::guard::RedisTls;

/// TLS towards the account service, as typed.
#[derive(Debug, Args)]
#[command(next_help_heading = "TLS towards the account service")]
pub(super) struct AccountTlsArgs {
    /// Issuers of its certificates, PEM, or `system` for those that the system trusts. Speaks TLS; plaintext without it
    #[arg(long, env = "ACCOUNT_TLS_CA", value_name = "FILE|system")]
    account_tls_ca: Option<Roots>,
    /// Certificate to show there, and its issuers, PEM
    #[arg(long, env = "ACCOUNT_TLS_CERTIFICATE", value_name = "FILE")]
    account_tls_certificate: Option<PathBuf>,
    /// Its private key, PEM
    #[arg(long, env = "ACCOUNT_TLS_KEY", value_name = "FILE")]
    account_tls_key: Option<PathBuf>,
    /// Name to expect in its certificates [default: the host in --account-target, the first of several]
    #[arg(long, env = "ACCOUNT_TLS_SERVER_NAME", value_name = "NAME")]
    account_tls_server_name: Option<String>,
}

/// TLS towards Redis, as typed.
#[derive(Debug, Args)]
#[command(next_help_heading = "TLS towards Redis")]
pub(super) struct RedisTlsArgs {
    /// Issuers of its certificate, PEM, for a rediss:// address [default: those of the public web]
    #[arg(long, env = "REDIS_TLS_CA", value_name = "FILE")]
    redis_tls_ca: Option<PathBuf>,
    /// Certificate to show there, and its issuers, PEM
    #[arg(long, env = "REDIS_TLS_CERTIFICATE", value_name = "FILE")]
    redis_tls_certificate: Option<PathBuf>,
    /// Its private key, PEM
    #[arg(long, env = "REDIS_TLS_KEY", value_name = "FILE")]
    redis_tls_key: Option<PathBuf>,
}

/// How the account service is spoken to over TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountTls {
    /// Whom to trust and what to show.
    pub files: TlsFiles,
    /// The name to expect in its certificates; absent: its target's host.
    pub server_name: Option<String>,
}

impl AccountTls {
    /// Reads the files, and looks at them from now on.
    ///
    /// # Errors
    /// When they cannot be used.
    pub fn open(self) -> Result<Tls, TlsError> {
        let tls = Tls::watched(Credentials::watch(self.files)?);
        Ok(match self.server_name {
            Some(name) => tls.server_name(name),
            None => tls,
        })
    }
}

impl AccountTlsArgs {
    pub(super) fn validate(
        self,
        reload_interval: Duration,
        problems: &mut Problems,
    ) -> Option<AccountTls> {
        let pair = [
            ("--account-tls-certificate", self.account_tls_certificate),
            ("--account-tls-key", self.account_tls_key),
        ];
        let Some(roots) = self.account_tls_ca else {
            let others = pair.iter().filter(|(_, path)| path.is_some()).map(|(flag, _)| *flag);
            let name = self.account_tls_server_name.map(|_| "--account-tls-server-name");
            for flag in others.chain(name) {
                problems.add(flag, "needs --account-tls-ca, without which no TLS is spoken");
            }
            return None;
        };
        let identity = identity(pair, problems);
        let files = TlsFiles { roots, identity, name: "account", reload_interval };
        Some(AccountTls { files, server_name: self.account_tls_server_name })
    }
}

impl RedisTlsArgs {
    pub(super) fn validate(
        self,
        is_tls: bool,
        reload_interval: Duration,
        problems: &mut Problems,
    ) -> Option<RedisTls> {
        let pair = [
            ("--redis-tls-certificate", self.redis_tls_certificate),
            ("--redis-tls-key", self.redis_tls_key),
        ];
        if is_tls {
            let identity = identity(pair, problems);
            return Some(RedisTls { ca: self.redis_tls_ca, identity, reload_interval });
        }
        let [certificate, key] = pair;
        for (flag, path) in [("--redis-tls-ca", self.redis_tls_ca), certificate, key] {
            if path.is_some() {
                problems.add(flag, "needs a --redis-url that begins with rediss://");
            }
        }
        None
    }
}

/// A certificate and its key: both or neither.
fn identity(
    [certificate, key]: [(&'static str, Option<PathBuf>); 2],
    problems: &mut Problems,
) -> Option<Identity> {
    match (certificate, key) {
        ((_, Some(certificate)), (_, Some(key))) => Some(Identity { certificate, key }),
        ((_, None), (_, None)) => None,
        ((missing, None), (given, Some(_))) | ((given, Some(_)), (missing, None)) => {
            problems.add(missing, format_args!("is missing: {given} needs it"));
            None
        }
    }
}
