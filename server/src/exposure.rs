//! What a configuration lets happen that its operator may not mean: told at start and on `/q/health/ready`, where the
//! server stays ready.

use std::net::SocketAddr;

use crate::ServeConfig;

/// What to tell, one sentence each.
pub(crate) fn warnings(config: &ServeConfig) -> Vec<String> {
    let listeners = std::iter::once(config.listen).chain(config.admin_grpc_listen);
    listeners.filter_map(|listen| warning(config, listen)).collect()
}

fn warning(config: &ServeConfig, listen: SocketAddr) -> Option<String> {
    let is_loopback = listen.ip().to_canonical().is_loopback();
    match &config.auth {
        None if is_loopback => Some(format!(
            "gRPC on {listen} is served on loopback only, since callers are not asked who they are: to serve other \
             hosts set --auth, or --auth-insecure-listen"
        )),
        Some(auth) if auth.tokens.is_some() && config.tls.is_none() && !is_loopback => {
            Some(format!(
                "tokens travel to {listen} in plain text, and whoever reads one can use it: set --tls-certificate and \
                 --tls-key, unless a mesh encrypts the connections"
            ))
        }
        None | Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{AuthConfig, TokenConfig};

    fn told(listen: &str, auth: Option<AuthConfig>) -> String {
        let config =
            ServeConfig { listen: listen.parse().unwrap(), auth, ..ServeConfig::default() };
        warnings(&config).join("\n")
    }

    fn tokens() -> Option<AuthConfig> {
        let (issuer, audience) = ("issuer".to_owned(), "audience".to_owned());
        let tokens = Some(TokenConfig { jwks: "keys.json".into(), issuer, audience });
        let reload_interval = Duration::from_secs(10);
        Some(AuthConfig { tokens, certificates: None, roles: None, reload_interval })
    }

    #[test]
    fn a_server_that_other_hosts_do_not_reach_says_so_and_which_flag_changes_that() {
        for loopback in ["127.0.0.1:50051", "[::1]:50051"] {
            let told = told(loopback, None);
            for named in [loopback, "loopback only", "--auth", "--auth-insecure-listen"] {
                assert!(told.contains(named), "{named} is missing in: {told}");
            }
        }
        assert_eq!(told("0.0.0.0:50051", None), "");
    }

    #[test]
    fn tokens_in_plain_text_are_told_unless_they_stay_on_this_host() {
        let told_of = told("0.0.0.0:50051", tokens());
        assert!(told_of.contains("--tls-certificate"), "{told_of}");
        assert_eq!(told("127.0.0.1:50051", tokens()), "");
    }
}
