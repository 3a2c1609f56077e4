//! Addresses of databases, as nobody would write them.

use database::DatabaseUrl;
use fuzz::Fuzz;

const CORPUS: [&str; 9] = [
    "postgres://user:hidden@host:5432/name",
    "postgresql://user:hidden@[::1]:5433/name?sslmode=disable",
    "postgres://u:hidden@one:5432,two:5433/x?target_session_attrs=read-write",
    "postgres://u:hidden@h/x?sslmode=verify-full&sslrootcert=/ca.pem&application_name=a&options=-c%20a%3Db",
    "postgres:///x?host=/run/postgresql&port=5432&user=u&password=hidden&statement-cache-capacity=0",
    "sqlite://data/a.db",
    "sqlite://:memory:",
    "mysql://x/y",
    "",
];

const WORDS: [&str; 20] = [
    "postgres://",
    "postgresql://",
    "sqlite://",
    "://",
    "?",
    "&",
    "=",
    "%00",
    "%ff",
    "%",
    "@",
    "[",
    "]",
    ",",
    "sslmode=require",
    "target_session_attrs=",
    "host=",
    "port=",
    "options[a]=",
    "ssl-root-cert=",
];

/// Neither in what was understood nor in what is told of it.
#[test]
fn every_text_is_a_database_or_is_refused_and_its_password_is_never_told() {
    Fuzz::new("database URL", CORPUS).dictionary(WORDS).run_text(|text| {
        let told = match text.parse::<DatabaseUrl>() {
            Ok(url) => format!("{url} {url:?}"),
            Err(error) => {
                let told = error.to_string();
                assert!(!told.contains("hidden"), "{told}");
                return (false, told);
            }
        };
        // Changed inputs have the word in places that are shown, too; readers of URLs pass over ends of lines.
        let is_once = text.matches("hidden").count() == 1 && !text.contains(['\t', '\n', '\r']);
        let is_password = is_once && text.starts_with("postgres://user:hidden@");
        assert!(!is_password || !told.contains("hidden"), "{told}");
        (true, told.len().to_string())
    });
}
