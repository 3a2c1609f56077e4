//! Whether somebody on the way to a database can read or change what is said to it.

use std::net::IpAddr;

use sqlx::postgres::{PgConnectOptions, PgSslMode};

use crate::DatabaseUrl;

impl DatabaseUrl {
    /// What an operator should know of a server that is reached over a network without knowing that it is the right one:
    /// one line that names the setting. Only `sslmode=verify-full` does know; a socket and the loopback need not.
    pub fn exposure(&self) -> Option<String> {
        let Self::Postgres(options) = self else { return None };
        let server = options.servers().iter().find(|server| is_exposed(server))?;
        let (mode, host) = (name(server.get_ssl_mode()), server.get_host());
        Some(format!(
            "--database-url (DATABASE_URL) has sslmode={mode}: whoever is between here and {host} can read and change \
             all that is sent, passwords too; set sslmode=verify-full, and sslrootcert to its issuer"
        ))
    }
}

fn is_exposed(server: &PgConnectOptions) -> bool {
    let knows_the_server = matches!(server.get_ssl_mode(), PgSslMode::VerifyFull);
    !knows_the_server && server.get_socket().is_none() && !is_local(server.get_host())
}

fn is_local(host: &str) -> bool {
    let is_loopback =
        host.parse().is_ok_and(|address: IpAddr| address.to_canonical().is_loopback());
    is_loopback || host.starts_with('/') || host.eq_ignore_ascii_case("localhost")
}

fn name(mode: PgSslMode) -> &'static str {
    match mode {
        PgSslMode::Disable => "disable",
        PgSslMode::Allow => "allow",
        PgSslMode::Prefer => "prefer",
        PgSslMode::Require => "require",
        PgSslMode::VerifyCa => "verify-ca",
        PgSslMode::VerifyFull => "verify-full",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exposure(url: &str) -> Option<String> {
        url.parse::<DatabaseUrl>().unwrap().exposure()
    }

    #[test]
    fn a_server_on_a_network_that_is_not_verified_is_told_with_its_setting_and_no_password() {
        for mode in ["disable", "allow", "prefer", "require", "verify-ca"] {
            let told =
                exposure(&format!("postgres://me:s3cret@db.example/x?sslmode={mode}")).unwrap();
            for words in [&format!("sslmode={mode}"), "DATABASE_URL", "db.example"] {
                assert!(told.contains(words), "{words} is missing in: {told}");
            }
            assert!(!told.contains("s3cret") && !told.contains('\n'), "{told}");
        }
        assert!(exposure("postgres://me@localhost,10.0.0.1/x").unwrap().contains("10.0.0.1"));
    }

    #[test]
    fn what_is_verified_or_never_leaves_the_machine_is_not() {
        for fine in [
            "postgres://me@db.example/x?sslmode=verify-full",
            "postgres://me@localhost/x?sslmode=disable",
            "postgres://me@127.0.0.2/x",
            "postgres://me@[::1]/x",
            "postgres://me@%2Frun%2Fpostgresql/x",
            "postgres:///x?host=/run/postgresql&user=me",
            "sqlite://data/order.db",
        ] {
            assert_eq!(exposure(fine), None, "{fine}");
        }
    }
}
