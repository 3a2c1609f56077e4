//! Logs: one line a record on standard error, as text for people or as JSON for machines.

use std::io::IsTerminal;
use std::str::FromStr;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// What is logged, and in which form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogConfig {
    /// A filter that [`LogConfig::parse_filter`] accepted.
    pub filter: String,
    /// The form of a record.
    pub format: LogFormat,
}

/// The form of a log record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people; coloured on a terminal.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl LogConfig {
    /// Accepts a level or a list of `target=level` directives.
    ///
    /// # Errors
    /// Text that says why the filter is not one.
    pub fn parse_filter(raw: &str) -> Result<String, String> {
        match EnvFilter::builder().parse(raw) {
            Ok(_) => Ok(raw.to_owned()),
            Err(why) => Err(format!("is not a log filter: {why}")),
        }
    }
}

impl FromStr for LogFormat {
    type Err = &'static str;

    fn from_str(raw: &str) -> Result<Self, Self::Err> {
        match raw {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("is neither text nor json"),
        }
    }
}

/// Starts logging for this process. A second call changes nothing.
pub fn init(config: &LogConfig) {
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .parse_lossy(&config.filter);
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match config.format {
        LogFormat::Text => logs.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => logs.json().flatten_event(true).try_init(),
    };
    if let Err(already) = started {
        tracing::debug!(%already, "logging had been started before");
    }
}
