//! Flags and environment variables of the serving half, shared by every service.
//!
//! clap only collects text; [`ServeArgs::validate`] and [`LogArgs::validate`] judge all of it at
//! once. Each flag is also an environment variable: `--admin-listen` is `ADMIN_LISTEN`.

mod auth;
mod fairness;
mod judge;
mod secret;
mod web;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

pub use secret::{Secret, secret};

use auth::AuthArgs;
use fairness::FairnessArgs;
use judge::{DAY, Judge, TICK, TlsPaths};
use web::WebArgs;

use crate::logging::{LogConfig, LogFormat};
use crate::problems::Problems;
use crate::{AuthConfig, ServeConfig};

/// The serving flags as typed. Flatten it into a service's own arguments.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Serving")]
pub struct ServeArgs {
    /// Address of gRPC [default: the service's own port, on every address, but on loopback with --auth off]
    #[arg(long, env = "LISTEN", value_name = "IP:PORT")]
    listen: Option<String>,
    /// Address of a second gRPC listener: administrative methods are served there, and only there [default: none]
    #[arg(long, env = "ADMIN_GRPC_LISTEN", value_name = "IP:PORT")]
    admin_grpc_listen: Option<String>,
    /// Address of the admin HTTP: /q/health/*, /q/metrics [default: every address, the
    /// service's own port]
    #[arg(long, env = "ADMIN_LISTEN", value_name = "IP:PORT")]
    admin_listen: Option<String>,
    /// This server's certificate and its issuers, PEM; plain text without it
    #[arg(long, env = "TLS_CERTIFICATE", value_name = "FILE")]
    tls_certificate: Option<PathBuf>,
    /// Its private key, PEM
    #[arg(long, env = "TLS_KEY", value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// Issuers of client certificates, PEM; clients must have one then
    #[arg(long, env = "TLS_CLIENT_CA", value_name = "FILE")]
    tls_client_ca: Option<PathBuf>,
    /// Revocation lists of these issuers, PEM; clients whose issuer has none here are refused
    #[arg(long, env = "TLS_CLIENT_CRL", value_name = "FILE")]
    tls_client_crl: Option<PathBuf>,
    /// Interval of looking whether TLS files have changed, these and others
    #[arg(long, env = "TLS_RELOAD_INTERVAL", value_name = "TIME", default_value = "10s")]
    tls_reload_interval: String,
    /// After SIGTERM: still serving, but saying NOT_SERVING and sending clients away
    #[arg(long, env = "LAME_DUCK", value_name = "TIME", default_value = "5s")]
    lame_duck: String,
    /// After that: time for calls in progress to finish before they are cut off
    #[arg(long, env = "DRAIN_TIMEOUT", value_name = "TIME", default_value = "20s")]
    drain_timeout: String,
    /// Age at which a connection is asked to leave, give or take a tenth
    #[arg(long, env = "CONNECTION_AGE", value_name = "TIME", default_value = "30s")]
    connection_age: String,
    /// Time for the calls of such a connection to finish
    #[arg(long, env = "CONNECTION_AGE_GRACE", value_name = "TIME", default_value = "30s")]
    connection_age_grace: String,
    /// A connection without calls for this long is asked to leave
    #[arg(long, env = "CONNECTION_IDLE", value_name = "TIME", default_value = "15m")]
    connection_idle: String,
    /// Time a new connection has to complete its handshake
    #[arg(long, env = "HANDSHAKE_TIMEOUT", value_name = "TIME", default_value = "1s")]
    handshake_timeout: String,
    /// Interval of HTTP/2 pings
    #[arg(long, env = "KEEPALIVE_INTERVAL", value_name = "TIME", default_value = "30s")]
    keepalive_interval: String,
    /// A connection that does not answer a ping for this long is dropped
    #[arg(long, env = "KEEPALIVE_TIMEOUT", value_name = "TIME", default_value = "10s")]
    keepalive_timeout: String,
    /// Threads that serve; one carries thousands of calls a second for the least CPU per call
    #[arg(long, env = "WORKER_THREADS", value_name = "N", default_value = "1")]
    worker_threads: String,
    /// Most open connections
    #[arg(long, env = "MAX_CONNECTIONS", value_name = "N", default_value = "4096")]
    max_connections: String,
    /// Most open streams of one connection
    #[arg(long, env = "MAX_CONCURRENT_STREAMS", value_name = "N", default_value = "100")]
    max_concurrent_streams: String,
    /// Most calls in progress; more are refused with RESOURCE_EXHAUSTED and a pushback
    #[arg(long, env = "MAX_IN_FLIGHT", value_name = "N", default_value = "4096")]
    max_in_flight: String,
    /// Shortest pushback told to a refused caller
    #[arg(long, env = "PUSHBACK", value_name = "TIME", default_value = "100ms")]
    pushback: String,
    /// Longest request message, in bytes, compressed (gzip, zstd) or not
    #[arg(long, env = "MAX_MESSAGE_BYTES", value_name = "N", default_value = "1048576")]
    max_message_bytes: String,
    /// Deadline of a call whose caller names none
    #[arg(long, env = "DEFAULT_DEADLINE", value_name = "TIME", default_value = "15s")]
    default_deadline: String,
    #[command(flatten)]
    fairness: FairnessArgs,
    /// Interval of the readiness checks, and the time one may take
    #[arg(long, env = "READINESS_INTERVAL", value_name = "TIME", default_value = "1s")]
    readiness_interval: String,
    /// How long checks must fail before readiness turns false
    #[arg(long, env = "READINESS_GRACE", value_name = "TIME", default_value = "5s")]
    readiness_grace: String,
    /// Server reflection, which tells callers the contract: on or off
    #[arg(long, env = "REFLECTION", value_name = "ON|OFF", default_value = "on")]
    reflection: String,
    /// Where the audit trail goes, a JSON line for each call that changes something: stdout, off or a file
    #[arg(long, env = "AUDIT_LOG", value_name = "stdout|off|PATH", default_value = "stdout")]
    audit_log: String,
    #[command(flatten)]
    web: WebArgs,
    #[command(flatten)]
    auth: AuthArgs,
}

impl ServeArgs {
    /// Judges every value. `defaults` brings the service's own ports
    /// ([`ServeConfig::on_ports`]) and stands in for values that are wrong; what is wrong is in
    /// `problems`, and a service with problems must not start.
    #[must_use]
    pub fn validate(self, defaults: ServeConfig, problems: &mut Problems) -> ServeConfig {
        let mut judge = Judge { problems };
        let tls_reload_interval =
            judge.time("--tls-reload-interval", &self.tls_reload_interval, TICK..=DAY);
        let mut tls = judge.tls(TlsPaths {
            certificate: self.tls_certificate,
            key: self.tls_key,
            client_ca: self.tls_client_ca,
            client_crl: self.tls_client_crl,
            reload_interval: tls_reload_interval,
        });
        let has_client_ca = tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
        let listen = (self.listen.as_deref(), self.admin_grpc_listen.as_deref());
        let (auth, listen, admin_grpc_listen) =
            self.auth.validate(listen, defaults.listen, has_client_ca, &mut judge);
        if let Some(tls) = &mut tls {
            tls.client_may_be_nameless = auth.as_ref().is_some_and(AuthConfig::takes_either);
        }
        ServeConfig {
            listen,
            admin_grpc_listen,
            admin_listen: judge.address(
                "--admin-listen",
                self.admin_listen.as_deref(),
                defaults.admin_listen,
            ),
            tls,
            tls_reload_interval,
            auth,
            handshake_timeout: judge.time(
                "--handshake-timeout",
                &self.handshake_timeout,
                TICK..=DAY,
            ),
            worker_threads: judge.number("--worker-threads", &self.worker_threads, 1..=256),
            max_connections: judge.number(
                "--max-connections",
                &self.max_connections,
                1..=1_000_000,
            ),
            max_concurrent_streams: judge.number(
                "--max-concurrent-streams",
                &self.max_concurrent_streams,
                1..=1_000_000,
            ),
            connection_age: judge.time("--connection-age", &self.connection_age, TICK..=DAY * 365),
            connection_age_grace: judge.time(
                "--connection-age-grace",
                &self.connection_age_grace,
                Duration::ZERO..=DAY,
            ),
            connection_idle: judge.time(
                "--connection-idle",
                &self.connection_idle,
                TICK..=DAY * 365,
            ),
            keepalive_interval: judge.time(
                "--keepalive-interval",
                &self.keepalive_interval,
                TICK..=DAY,
            ),
            keepalive_timeout: judge.time(
                "--keepalive-timeout",
                &self.keepalive_timeout,
                TICK..=DAY,
            ),
            max_in_flight: judge.number("--max-in-flight", &self.max_in_flight, 1..=1_000_000),
            pushback: judge.time("--pushback", &self.pushback, TICK..=DAY),
            max_message_bytes: judge.number(
                "--max-message-bytes",
                &self.max_message_bytes,
                1_024..=1 << 30,
            ),
            default_deadline: judge.time("--default-deadline", &self.default_deadline, TICK..=DAY),
            fairness: self.fairness.judged(&mut judge),
            grpc_web: self.web.judged(&mut judge),
            readiness_interval: judge.time(
                "--readiness-interval",
                &self.readiness_interval,
                TICK..=DAY,
            ),
            readiness_grace: judge.time(
                "--readiness-grace",
                &self.readiness_grace,
                Duration::ZERO..=DAY,
            ),
            lame_duck: judge.time("--lame-duck", &self.lame_duck, Duration::ZERO..=DAY),
            drain_timeout: judge.time("--drain-timeout", &self.drain_timeout, Duration::ZERO..=DAY),
            reflection: judge.switch("--reflection", &self.reflection),
            audit_log: judge
                .problems
                .parse("--audit-log", &self.audit_log, str::parse)
                .unwrap_or_default(),
        }
    }
}

/// The logging flags as typed, apart from [`ServeArgs`] because subcommands that do not serve
/// log too.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Logging")]
pub struct LogArgs {
    /// What to log: a level, or directives such as info,server=debug
    #[arg(long, env = "LOG", value_name = "FILTER", default_value = "info", global = true)]
    log: String,
    /// text or json
    #[arg(long, env = "LOG_FORMAT", value_name = "FORMAT", default_value = "text", global = true)]
    log_format: String,
}

impl LogArgs {
    /// Judges both values.
    #[must_use]
    pub fn validate(self, problems: &mut Problems) -> LogConfig {
        let format = problems.parse("--log-format", &self.log_format, str::parse::<LogFormat>);
        let filter = problems.parse("--log", &self.log, LogConfig::parse_filter);
        LogConfig { filter: filter.unwrap_or_default(), format: format.unwrap_or_default() }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Service {
        #[command(flatten)]
        serve: ServeArgs,
        #[command(flatten)]
        log: LogArgs,
    }

    fn validated(flags: &[&str]) -> Result<(ServeConfig, LogConfig), Problems> {
        let arguments =
            Service::parse_from(std::iter::once("service").chain(flags.iter().copied()));
        let mut problems = Problems::new();
        let serve = arguments.serve.validate(ServeConfig::on_ports(50_051, 9_081), &mut problems);
        let log = arguments.log.validate(&mut problems);
        problems.none_or((serve, log))
    }

    #[test]
    fn the_flags_defaults_are_the_defaults_of_the_config() {
        let (serve, _) = validated(&[]).unwrap();
        assert_eq!(serve, ServeConfig::on_ports(50_051, 9_081));
    }

    #[test]
    fn every_bad_value_is_told_at_once_and_by_name() {
        let flags = [
            "--listen=localhost",
            "--lame-duck=soon",
            "--connection-age=0s",
            "--max-in-flight=0",
            "--max-message-bytes=x",
            "--log=a=b=c",
            "--log-format=xml",
            "--tls-key=key.pem",
            "--tls-client-crl=crl.pem",
            "--reflection=maybe",
            "--audit-log=stdot",
            "--admin-grpc-listen=50061",
        ];
        let told = validated(&flags).unwrap_err().to_string();
        for variable in [
            "--listen (LISTEN)",
            "--lame-duck (LAME_DUCK)",
            "--connection-age (CONNECTION_AGE)",
            "--max-in-flight (MAX_IN_FLIGHT)",
            "--max-message-bytes (MAX_MESSAGE_BYTES)",
            "--log (LOG)",
            "--log-format (LOG_FORMAT)",
            "--tls-certificate (TLS_CERTIFICATE)",
            "--tls-client-crl (TLS_CLIENT_CRL)",
            "--reflection (REFLECTION)",
            "--audit-log (AUDIT_LOG)",
            "--admin-grpc-listen (ADMIN_GRPC_LISTEN)",
        ] {
            assert!(told.contains(variable), "{variable} is missing in: {told}");
        }
        assert_eq!(told.lines().count(), 1 + flags.len(), "{told}");
    }

    #[test]
    fn without_callers_identities_only_loopback_is_served_unless_the_contrary_is_said() {
        let told = validated(&["--listen=0.0.0.0:7"]).unwrap_err().to_string();
        for named in ["--listen (LISTEN)", "0.0.0.0:7", "--auth off", "--auth-insecure-listen"] {
            assert!(told.contains(named), "{named} is missing in: {told}");
        }
        let told = validated(&["--admin-grpc-listen=0.0.0.0:8"]).unwrap_err().to_string();
        assert!(told.contains("--admin-grpc-listen (ADMIN_GRPC_LISTEN)"), "{told}");
        assert!(validated(&["--admin-grpc-listen=127.0.0.1:8"]).is_ok());
        for good in ["127.0.0.1:7", "127.77.0.3:7", "[::1]:7"] {
            assert!(validated(&[&format!("--listen={good}")]).is_ok(), "{good}");
        }

        let (serve, _) = validated(&["--auth-insecure-listen"]).unwrap();
        assert_eq!(serve.listen, "0.0.0.0:50051".parse().unwrap());
        let flags = ["--auth-insecure-listen=true", "--listen=192.0.2.1:7"];
        assert!(validated(&flags).is_ok());
        assert!(validated(&["--auth-insecure-listen=false", "--listen=192.0.2.1:7"]).is_err());
    }

    #[test]
    fn a_mode_wants_the_flags_that_it_needs_and_no_others() {
        let tokens = ["--auth-jwks=k", "--auth-issuer=i", "--auth-audience=a"];
        let certificate = ["--tls-certificate=c", "--tls-key=k", "--tls-client-ca=ca"];
        let header = ["--auth-trusted-header=l5d-client-id", "--auth-trusted-peers=10.0.0.0/8"];
        let roles = ["--auth-roles=r"];
        let with = |mode: &'static str, more: &[&[&'static str]]| {
            validated(&[&[mode][..], &more.concat()].concat())
        };

        let (serve, _) = with("--auth=jwt", &[&tokens]).unwrap();
        let auth = serve.auth.unwrap();
        assert_eq!(serve.listen, "0.0.0.0:50051".parse().unwrap());
        assert!(auth.tokens.is_some() && auth.certificates.is_none());
        let (serve, _) = with("--auth=both", &[&tokens, &certificate, &roles]).unwrap();
        let auth = serve.auth.unwrap();
        assert!(auth.tokens.is_some() && auth.certificates.is_some());
        assert!(with("--auth=mtls", &[&header, &roles]).is_ok());

        for (mode, more, named) in [
            ("--auth=on", vec![], vec!["--auth (AUTH)"]),
            ("--auth=jwt", vec![], vec!["--auth-jwks", "--auth-issuer", "--auth-audience"]),
            ("--auth=mtls", vec![&roles[..]], vec!["--auth (AUTH)", "--tls-client-ca"]),
            ("--auth=mtls", vec![&certificate[..]], vec!["--auth-roles (AUTH_ROLES)"]),
            ("--auth=off", vec![&roles[..]], vec!["--auth-roles (AUTH_ROLES)"]),
            ("--auth=off", vec![&tokens[..1]], vec!["--auth-jwks (AUTH_JWKS)"]),
            ("--auth=jwt", vec![&tokens, &header[..]], vec!["--auth-trusted-header"]),
            ("--auth=mtls", vec![&header[..1], &roles], vec!["--auth-trusted-peers"]),
            (
                "--auth=mtls",
                vec![&header[..1], &["--auth-trusted-peers=::/0"], &roles],
                vec!["--auth-trusted-peers (AUTH_TRUSTED_PEERS)"],
            ),
            ("--auth=jwt", vec![&tokens, &["--auth-insecure-listen"]], vec!["for --auth off"]),
        ] {
            let told = with(mode, &more).unwrap_err().to_string();
            for named in named {
                assert!(told.contains(named), "{named} is missing in: {told}");
            }
        }
    }

    #[test]
    fn good_values_reach_the_config() {
        let flags = ["--listen=[::1]:7", "--drain-timeout=1m 30s", "--log-format=json"];
        let (serve, log) = validated(&flags).unwrap();
        assert_eq!(serve.listen, "[::1]:7".parse().unwrap());
        assert_eq!(serve.drain_timeout, Duration::from_secs(90));
        assert_eq!(log.format, LogFormat::Json);
    }
}
