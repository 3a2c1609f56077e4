//! The invariants that this database alone can show.

use std::time::Duration;

use database::{Session, StoreError, Transaction};

use crate::storage::{Breach, Store, Tables};

/// How long reading whole tables may take.
pub(super) const SURVEY_TIMEOUT: Duration = Duration::from_secs(60 * 60);

struct Verify;

impl<B: Tables> Store<B> {
    /// Checks the invariants that this database alone can show.
    ///
    /// # Errors
    /// When it was not read.
    pub async fn verify(&mut self) -> Result<Vec<Breach>, StoreError> {
        // A connection of its own: it reads whole tables, for as long as that takes.
        let survey = Session::<B>::new(self.survey.clone());
        survey.patient(SURVEY_TIMEOUT).read(&mut Verify).await
    }
}

impl<B: Tables> Transaction<B> for Verify {
    const NAME: &'static str = "verify";
    type Output = Vec<Breach>;

    async fn run(&mut self, connection: &mut B::Connection) -> sqlx::Result<Vec<Breach>> {
        // One snapshot, and no lock that a writer would wait for. The connection ends with it.
        B::execute(connection, B::BEGIN_SNAPSHOT).await?;
        let mut breaches = Vec::new();
        for (invariant, query) in B::CHECKS {
            let rows = B::check(connection, query).await?;
            breaches.extend(rows.into_iter().map(|row| Breach { invariant, row }));
        }
        Ok(breaches)
    }
}
