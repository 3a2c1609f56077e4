//! What one service's database remembers of the other's, so that a loss is noticed though every process was restarted.
//!
//! Positions travel between the services and may arrive out of order, so each is judged against what was remembered
//! *before* it was asked for, and only the highest is kept.

use crate::{Backend, Session, StoreError, Transaction};

use super::{LineageTables, Position};

/// Partners that a database remembers. One order service has one database; more are several installations on one ledger.
pub const PARTNERS_MAX: usize = 100;

/// Reads the partners' positions.
struct ReadPartners;

/// Keeps a partner's position where it is the highest, and answers the partner's highest and this database's own
/// position, read after it.
#[derive(Debug)]
pub struct Remember<'a> {
    /// The partner's.
    pub partner: &'a Position,
}

/// Forgets all partners.
struct ForgetPartners;

/// What [`Remember`] answers.
#[derive(Debug)]
pub struct Remembered {
    /// The partner's highest position. `None`: there are [`PARTNERS_MAX`] others already, and it was not kept.
    pub partner: Option<Position>,
    /// This database's own.
    pub own: Position,
}

impl<B: Backend> Session<B> {
    /// Reads the highest positions that were told of partners.
    ///
    /// # Errors
    /// When they were not read.
    pub async fn partners(&mut self) -> Result<Vec<Position>, StoreError> {
        self.read(&mut ReadPartners).await
    }

    /// Remembers how far a partner has come.
    ///
    /// # Errors
    /// When it was not written, or its outcome is unknown.
    pub async fn remember_partner(&mut self, partner: &Position) -> Result<Remembered, StoreError> {
        self.transact(&mut Remember { partner }).await
    }

    /// Forgets all partners.
    ///
    /// # Errors
    /// When it was not written, or its outcome is unknown.
    pub async fn forget_partners(&mut self) -> Result<(), StoreError> {
        self.transact(&mut ForgetPartners).await
    }
}

impl<B: Backend> Transaction<B> for ReadPartners {
    const NAME: &'static str = "read_partners";
    type Output = Vec<Position>;

    async fn run(&mut self, connection: &mut B::Connection) -> sqlx::Result<Vec<Position>> {
        connection.partners().await
    }
}

impl<B: Backend> Transaction<B> for ForgetPartners {
    const NAME: &'static str = "forget_partners";
    type Output = ();
    const IS_COUNTED: bool = false;

    async fn run(&mut self, connection: &mut B::Connection) -> sqlx::Result<()> {
        connection.forget_partners().await
    }
}

impl<B: Backend> Transaction<B> for Remember<'_> {
    const NAME: &'static str = "remember_partner";
    type Output = Remembered;
    const IS_COUNTED: bool = false;

    async fn run(&mut self, connection: &mut B::Connection) -> sqlx::Result<Remembered> {
        connection.lock_partners().await?;
        let known = connection.partners().await?;
        let before = known.iter().find(|one| one.database_id == self.partner.database_id);

        let partner = match before {
            None if known.len() >= PARTNERS_MAX => None,
            None => Some(self.partner.clone()),
            Some(before) => {
                let mut highest = before.clone();
                highest.merge(self.partner);
                Some(highest)
            }
        };
        if let Some(partner) = partner.as_ref().filter(|partner| Some(*partner) != before) {
            connection.remember(partner).await?;
        }

        let (own, _) = connection.position().await?;
        Ok(Remembered { partner, own })
    }
}
