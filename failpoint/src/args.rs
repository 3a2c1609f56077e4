//! The flags of a program with fail points.

use crate::Plan;
#[cfg(feature = "enabled")]
use crate::{Safeguard, Stop};

/// What goes wrong, as typed. Flatten it into a service's own arguments. Without the feature it has no flags.
#[derive(clap::Args, Clone, Copy, Debug)]
#[command(next_help_heading = "Fail points")]
pub struct FailArgs {
    /// End the process when it reaches this point, or reaches it so often: POINT or POINT:N
    #[cfg(feature = "enabled")]
    #[arg(long, env = "FAIL_AT", value_name = "POINT")]
    fail_at: Option<Stop>,
    /// Freeze the process there instead (SIGSTOP): a zombie when it is told to go on
    #[cfg(feature = "enabled")]
    #[arg(long, env = "FREEZE_AT", value_name = "POINT")]
    freeze_at: Option<Stop>,
    /// Do without a safeguard
    #[cfg(feature = "enabled")]
    #[arg(long, env = "WITHOUT", value_name = "SAFEGUARD")]
    without: Option<Safeguard>,
}

impl FailArgs {
    /// What was asked for.
    #[cfg(feature = "enabled")]
    pub fn plan(self) -> Plan {
        Plan { end: self.fail_at, freeze: self.freeze_at, without: self.without }
    }

    /// Nothing can be asked for.
    #[cfg(not(feature = "enabled"))]
    pub fn plan(self) -> Plan {
        Plan::default()
    }
}
