//! The real grpcurl, as a person at a terminal uses it: through reflection, in JSON.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::HarnessError;

/// Longer than any call of a test, so that none hangs.
const MAX_TIME_S: &str = "30";

/// The program.
#[derive(Clone, Debug)]
pub struct Grpcurl {
    program: PathBuf,
}

/// A status other than OK, as grpcurl prints it.
#[derive(Clone, Debug, PartialEq)]
pub struct CallError {
    /// The number of the gRPC code.
    pub code: i64,
    /// The text.
    pub message: String,
    /// The details, each with its `@type`.
    pub details: Vec<Value>,
}

impl Grpcurl {
    /// Finds the program that `.ci/tools` installs.
    ///
    /// # Errors
    /// [`HarnessError::Missing`]: nothing is skipped silently.
    pub fn find() -> Result<Self, HarnessError> {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/grpcurl");
        if program.exists() {
            return Ok(Self { program });
        }
        Err(HarnessError::Missing { program: "grpcurl", hint: "run .ci/tools" })
    }

    /// `list` or `describe SYMBOL`, as text.
    ///
    /// # Errors
    /// When grpcurl says so.
    pub async fn reflect(
        &self,
        target: SocketAddr,
        words: &[&str],
    ) -> Result<String, HarnessError> {
        let (ok, printed, errors) = self.run(&[], target, words, String::new()).await?;
        match ok {
            true => Ok(printed),
            false => {
                Err(HarnessError::Failed { what: format!("grpcurl {words:?}"), output: errors })
            }
        }
    }

    /// Calls `package.Service/Method` with a JSON message.
    ///
    /// # Errors
    /// When grpcurl cannot be run or prints no JSON; a status of the service is the inner error.
    pub async fn call(
        &self,
        target: SocketAddr,
        method: &str,
        message: &Value,
    ) -> Result<Result<Value, CallError>, HarnessError> {
        // From standard input: an argument could not hold a long one.
        let options = ["-format-error", "-emit-defaults", "-d", "@"];
        let message = message.to_string();
        let (ok, printed, errors) = self.run(&options, target, &[method], message).await?;
        let text = if ok { &printed } else { &errors };
        let parsed: Value = serde_json::from_str(text).map_err(|_| HarnessError::Failed {
            what: format!("grpcurl {method}"),
            output: format!("{printed}{errors}"),
        })?;
        if ok {
            return Ok(Ok(parsed));
        }
        Ok(Err(CallError {
            code: parsed["code"].as_i64().unwrap_or_default(),
            message: parsed["message"].as_str().unwrap_or_default().to_owned(),
            details: parsed["details"].as_array().cloned().unwrap_or_default(),
        }))
    }

    async fn run(
        &self,
        options: &[&str],
        target: SocketAddr,
        words: &[&str],
        input: String,
    ) -> Result<(bool, String, String), HarnessError> {
        let mut command = Command::new(&self.program);
        command.args(["-plaintext", "-max-time", MAX_TIME_S]).args(options);
        command.arg(target.to_string()).args(words).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(HarnessError::io("run grpcurl"))?;
        let mut stdin = child.stdin.take().expect("piped above");
        // Beside the reading of its output, so that neither side waits on a full pipe.
        let (written, output) = tokio::join!(
            async move { stdin.write_all(input.as_bytes()).await },
            child.wait_with_output()
        );
        let output = output.map_err(HarnessError::io("run grpcurl"))?;
        written.map_err(HarnessError::io("write to grpcurl"))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok((output.status.success(), text(&output.stdout), text(&output.stderr)))
    }
}

impl CallError {
    /// The detail of this short type name, such as `ErrorInfo`.
    #[must_use]
    pub fn detail(&self, name: &str) -> Option<&Value> {
        let full = format!("type.googleapis.com/google.rpc.{name}");
        self.details.iter().find(|detail| detail["@type"] == full.as_str())
    }

    /// The reason of its `ErrorInfo`, empty when there is none.
    #[must_use]
    pub fn reason(&self) -> &str {
        self.detail("ErrorInfo").and_then(|info| info["reason"].as_str()).unwrap_or_default()
    }

    /// An entry of its `ErrorInfo`'s metadata, empty when there is none.
    #[must_use]
    pub fn fact(&self, key: &str) -> &str {
        let info = self.detail("ErrorInfo");
        info.and_then(|info| info["metadata"][key].as_str()).unwrap_or_default()
    }

    /// The fields its `BadRequest` names.
    #[must_use]
    pub fn fields(&self) -> Vec<&str> {
        let violations =
            self.detail("BadRequest").and_then(|bad| bad["fieldViolations"].as_array());
        let fields = violations.into_iter().flatten().filter_map(|named| named["field"].as_str());
        fields.collect()
    }
}
