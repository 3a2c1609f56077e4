//! Judging raw values: parsed, bounded, and noted when wrong.

use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::TlsFiles;
use crate::problems::Problems;

/// The shortest time that timers of this crate can tell from none.
pub(super) const TICK: Duration = Duration::from_millis(1);

/// Longer is a mistake in the unit.
pub(super) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The TLS files as named, together or not.
pub(super) struct TlsPaths {
    pub(super) certificate: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    pub(super) client_ca: Option<PathBuf>,
    pub(super) client_crl: Option<PathBuf>,
    pub(super) reload_interval: Duration,
}

/// Parses, bounds, and notes problems; the value returned after a problem is never used.
pub(super) struct Judge<'problems> {
    pub(super) problems: &'problems mut Problems,
}

impl Judge<'_> {
    pub(super) fn address(
        &mut self,
        flag: &str,
        raw: Option<&str>,
        default: SocketAddr,
    ) -> SocketAddr {
        let Some(raw) = raw else { return default };
        let parse = |raw: &str| {
            raw.parse().map_err(|_| "is not an address with port, such as 0.0.0.0:50051 or [::]:0")
        };
        self.problems.parse(flag, raw, parse).unwrap_or(default)
    }

    pub(super) fn tls(&mut self, paths: TlsPaths) -> Option<TlsFiles> {
        let TlsPaths { certificate, key, client_ca, client_crl, reload_interval } = paths;
        if client_crl.is_some() && client_ca.is_none() {
            self.problems.add("--tls-client-crl", "needs --tls-client-ca");
        }
        match (certificate, key) {
            (Some(certificate), Some(key)) => {
                Some(TlsFiles { certificate, key, client_ca, client_crl, reload_interval })
            }
            (None, None) => {
                if client_ca.is_some() {
                    self.problems.add("--tls-client-ca", "needs --tls-certificate and --tls-key");
                }
                None
            }
            (Some(_), None) => {
                self.problems.add("--tls-key", "is missing: --tls-certificate needs it");
                None
            }
            (None, Some(_)) => {
                self.problems.add("--tls-certificate", "is missing: --tls-key needs it");
                None
            }
        }
    }

    pub(super) fn time(
        &mut self,
        flag: &str,
        raw: &str,
        range: RangeInclusive<Duration>,
    ) -> Duration {
        let parse = |raw: &str| {
            let time = humantime::parse_duration(raw)
                .map_err(|why| format!("is not a time such as 500ms or 1m 30s: {why}"))?;
            if range.contains(&time) {
                return Ok(time);
            }
            let [least, most] =
                [range.start(), range.end()].map(|end| humantime::format_duration(*end));
            Err(format!("is not between {least} and {most}"))
        };
        self.problems.parse(flag, raw, parse).unwrap_or_default()
    }

    pub(super) fn number<N>(&mut self, flag: &str, raw: &str, range: RangeInclusive<N>) -> N
    where
        N: Default + Display + FromStr + PartialOrd,
    {
        let parse = |raw: &str| {
            raw.parse().ok().filter(|number| range.contains(number)).ok_or_else(|| {
                format!("is not a number between {} and {}", range.start(), range.end())
            })
        };
        self.problems.parse(flag, raw, parse).unwrap_or_default()
    }

    pub(super) fn switch(&mut self, flag: &str, raw: &str) -> bool {
        let parse = |raw: &str| match raw {
            "on" => Ok(true),
            "off" => Ok(false),
            _ => Err("is neither on nor off"),
        };
        self.problems.parse(flag, raw, parse).unwrap_or_default()
    }
}
