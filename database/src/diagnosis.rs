//! What a database's error means: for the work that met it, and for whoever looks after the database.
//!
//! The rule is the reverse of a list of what may be retried: only what is certainly our own defect is one. Whatever else a
//! server, a pooler, a disk or a network says is its environment's doing, may pass, and is told to callers as
//! UNAVAILABLE, never as INTERNAL.

use std::io;

use sqlx::{
    Error,
    error::{DatabaseError, ErrorKind},
    postgres::PgDatabaseError,
};

use crate::{
    Discontinuity,
    fault::{Diagnosis, Fault, Reason},
    sqlstate,
    unfit::Unfit,
};

impl Diagnosis {
    /// Reads an error of either backend.
    pub fn of(error: &Error) -> Self {
        if let Error::Database(refusal) = error {
            return of_refusal(refusal.as_ref());
        }
        if let Error::Configuration(why) = error {
            // Work that the lineage refuses; no other connection will do better.
            if why.is::<Discontinuity>() {
                return Self::new(Fault::Busy, Reason::WentBack);
            }
            let reason = why.downcast_ref::<Unfit>().map_or(Reason::Other, Unfit::reason);
            return Self::new(Fault::Stale, reason);
        }
        if let Error::Io(why) = error {
            return Self::new(Fault::Gone, reason_of_io(why.kind()));
        }
        if matches!(error, Error::Tls(_)) {
            return Self::new(Fault::Gone, Reason::Tls);
        }
        if matches!(error, Error::Protocol(_) | Error::WorkerCrashed | Error::BeginFailed) {
            return Self::new(Fault::Gone, Reason::Unreachable);
        }
        // What is left says that a row is not what we wrote, or that we asked wrongly.
        Self::DEFECT
    }
}

fn reason_of_io(kind: io::ErrorKind) -> Reason {
    if kind == io::ErrorKind::TimedOut {
        Reason::Timeout
    } else if kind == io::ErrorKind::InvalidData {
        // So rustls reports a certificate that it refuses.
        Reason::Tls
    } else {
        Reason::Unreachable
    }
}

fn of_refusal(refusal: &dyn DatabaseError) -> Diagnosis {
    if let Some(postgres) = refusal.try_downcast_ref::<PgDatabaseError>() {
        return sqlstate::diagnose(postgres.code(), postgres.constraint().is_some());
    }
    let code = refusal.code().and_then(|code| code.parse().ok()).unwrap_or_default();
    sqlite(code, refusal)
}

/// By SQLite's result code; its lowest byte is the class.
fn sqlite(code: u32, refusal: &dyn DatabaseError) -> Diagnosis {
    let diagnosis = Diagnosis::new;
    // A snapshot that a writer overtook.
    if code == 517 || refusal.kind() == ErrorKind::UniqueViolation {
        return diagnosis(Fault::Conflict, Reason::Conflict);
    }
    match code & 0xff {
        // A statement that SQLite cannot compile: an unknown table is the schema's fault, the rest is ours.
        1 if refusal.message().starts_with("no such") => {
            diagnosis(Fault::Busy, Reason::NotMigrated)
        }
        // Logic error, too big, constraint, type mismatch, misuse, parameter out of range
        1 | 18 | 19 | 20 | 21 | 25 => Diagnosis::DEFECT,
        3 | 23 => diagnosis(Fault::Busy, Reason::Privilege),
        5 | 6 | 15 => diagnosis(Fault::Busy, Reason::Locked),
        7 | 13 => diagnosis(Fault::Busy, Reason::Full),
        // A file that was opened read-only stays so for its connection.
        8 => diagnosis(Fault::Stale, Reason::ReadOnly),
        9 => diagnosis(Fault::Busy, Reason::Timeout),
        10 => diagnosis(Fault::Gone, Reason::Server),
        11 | 26 => diagnosis(Fault::Stale, Reason::Corrupt),
        14 => diagnosis(Fault::Gone, Reason::Unreachable),
        17 => diagnosis(Fault::Stale, Reason::StalePlan),
        _ => diagnosis(Fault::Busy, Reason::Other),
    }
}
