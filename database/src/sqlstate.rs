//! PostgreSQL's error codes, by class with exceptions.

use crate::fault::{
    Diagnosis,
    Fault::{self, Busy, Conflict, Defect, Gone, Stale},
    Reason,
};

/// Codes that do not mean what their class means.
const CODES: [(&str, Fault, Reason); 24] = [
    // Feature not supported: a plan that was made for another schema.
    ("0A000", Stale, Reason::StalePlan),
    ("23505", Conflict, Reason::Conflict),
    ("23P01", Conflict, Reason::Conflict),
    // A standby after a failover; the address may lead to the primary by now.
    ("25006", Stale, Reason::ReadOnly),
    // The server ended a transaction that had sat idle: this process had been stopped.
    ("25P03", Gone, Reason::Timeout),
    ("25P04", Gone, Reason::Timeout),
    // Prepared statements that are unknown, or known though never prepared: this is not one session.
    ("26000", Stale, Reason::Pooler),
    ("42P05", Stale, Reason::Pooler),
    ("40003", Gone, Reason::Unreachable),
    ("42501", Busy, Reason::Privilege),
    // Tables, columns and schemas that are not there yet.
    ("42703", Busy, Reason::NotMigrated),
    ("42704", Busy, Reason::NotMigrated),
    ("42P01", Busy, Reason::NotMigrated),
    // Statements that are too complex, or have too many columns or arguments.
    ("54001", Defect, Reason::Defect),
    ("54011", Defect, Reason::Defect),
    ("54023", Defect, Reason::Defect),
    // Closed to connections, as while it is restored.
    ("55000", Stale, Reason::Closed),
    ("57014", Busy, Reason::Timeout),
    ("57P01", Gone, Reason::Restarting),
    ("57P02", Gone, Reason::Restarting),
    ("57P03", Gone, Reason::Restarting),
    ("57P04", Gone, Reason::NoDatabase),
    ("57P05", Gone, Reason::Timeout),
    ("XX000", Busy, Reason::Server),
];

/// Classes: the first two characters of a code. Any class that is not here is the environment's.
const CLASSES: [(&str, Fault, Reason); 20] = [
    ("08", Gone, Reason::Unreachable),
    ("20", Defect, Reason::Defect),
    ("21", Defect, Reason::Defect),
    ("22", Defect, Reason::Defect),
    ("23", Defect, Reason::Defect),
    ("24", Defect, Reason::Defect),
    ("28", Stale, Reason::Credentials),
    ("2F", Defect, Reason::Defect),
    ("34", Defect, Reason::Defect),
    ("3D", Stale, Reason::NoDatabase),
    ("3F", Busy, Reason::NotMigrated),
    ("40", Conflict, Reason::Conflict),
    ("42", Defect, Reason::Defect),
    ("44", Defect, Reason::Defect),
    ("53", Busy, Reason::Full),
    ("54", Busy, Reason::Limit),
    ("55", Busy, Reason::Locked),
    ("57", Gone, Reason::Restarting),
    ("58", Busy, Reason::Server),
    ("XX", Busy, Reason::Corrupt),
];

/// Reads a code. A violated CHECK has a name, and is our defect; a row for which there is no partition has the same code
/// and none.
pub(crate) fn diagnose(code: &str, names_constraint: bool) -> Diagnosis {
    if code == "23514" && !names_constraint {
        return Diagnosis::new(Busy, Reason::NoPartition);
    }
    let exact = CODES.iter().find(|(known, ..)| *known == code);
    let by_class = || CLASSES.iter().find(|(class, ..)| code.starts_with(class));
    let found = exact.or_else(by_class);
    found.map_or(Diagnosis::new(Busy, Reason::Other), |(_, fault, reason)| {
        Diagnosis::new(*fault, *reason)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_code_is_the_environments_doing() {
        for code in ["", "99999", "P0001", "HV000", "F0001"] {
            assert_eq!(diagnose(code, false).fault, Busy, "{code}");
        }
    }

    #[test]
    fn what_cannot_take_effect_is_never_reported_as_unknown() {
        for code in ["25006", "3D000", "55000", "28P01", "42P05", "26000", "0A000"] {
            assert_eq!(diagnose(code, false).fault, Stale, "{code}");
        }
    }

    #[test]
    fn a_violated_check_is_a_defect_and_a_missing_partition_is_not() {
        assert_eq!(diagnose("23514", true).fault, Defect);
        assert_eq!(diagnose("23514", false), Diagnosis::new(Busy, Reason::NoPartition));
    }
}
