//! Where claims go.

use database::{StoreError, Transaction};

use crate::storage::{Layout, Store, Tables};

struct ReadLayout;

impl<B: Tables> Store<B> {
    /// Where claims go, as this store knows. It may have changed since: each claim looks.
    pub(super) async fn known_layout(&mut self) -> Result<Layout, StoreError> {
        if let Some(layout) = self.layout {
            return Ok(layout);
        }
        let layout = self.session.read(&mut ReadLayout).await?;
        self.layout = Some(layout);
        Ok(layout)
    }
}

impl<B: Tables> Transaction<B> for ReadLayout {
    const NAME: &'static str = "read_layout";
    type Output = Layout;

    async fn run(&mut self, connection: &mut B::Connection) -> sqlx::Result<Layout> {
        B::layout(connection).await
    }
}
