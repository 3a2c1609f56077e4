//! The database of orders goes back to a copy of it, as docs/restore.md has it done: pods end, the copy is put back, the
//! pods notice and wait, an operator accepts it, callers ask again, and what is left is repaired.

use std::io;
use std::time::{Duration, Instant};

use holdfast_verify::Settings;
use holdfast_verify::calls::Calls;
use holdfast_verify::plan::Knowledge;
use holdfast_verify::repair::repair;

use super::again::ask_again;
use super::callers::Desk;
use super::calls::Pods;
use super::world::World;
use crate::HarnessError;
use crate::cluster::{Pod, Service};

/// What pods say of a database that lost commits.
const NOTICED: &str = "went back in time";

impl World {
    /// Goes back to the copy, if there is one, and lets callers ask again. Answers when it was copied and when that was put
    /// back, as the history tells times.
    ///
    /// # Errors
    /// When a pod does not notice it, or does not go on once it may.
    pub(super) async fn restore(
        &mut self,
        desk: &Desk,
        pods: &Pods,
    ) -> Result<Option<(u64, u64)>, HarnessError> {
        let Some((copied, copy)) = self.copy.take() else { return Ok(None) };
        self.orders.order.iter_mut().try_for_each(Pod::kill)?;
        copy.restore(&self.databases.order).await?;
        for pod in &mut self.orders.order {
            pod.restart()?;
        }
        for pod in &mut self.orders.order {
            pod.wait_health_says(NOTICED).await?;
        }
        self.orders.binaries().resume(Service::Order, &self.databases.order)?;
        let restored = Instant::now();

        for pod in &mut self.orders.order {
            pod.wait_ready().await?;
        }
        let copied_us = desk.micros(copied);
        ask_again(desk, pods, copied_us).await;
        self.quiet().await?;
        self.repair().await?;
        Ok(Some((copied_us, desk.micros(restored))))
    }

    /// What neither the services nor their callers bring together: orders that were cancelled before they were lost, and
    /// what was given back of them by others.
    async fn repair(&self) -> Result<(), HarnessError> {
        let failed =
            |error: String| HarnessError::Failed { what: "a repair".into(), output: error };
        let target = |pods: &[Pod]| {
            let addresses: Vec<_> = pods.iter().map(|pod| pod.address().to_string()).collect();
            format!("static:///{}", addresses.join(","))
        };
        let [accounts, orders] =
            [&self.accounts.account, &self.orders.order].map(|pods| target(pods));
        let calls = Calls::new(&accounts, &orders, None);
        let calls = calls.map_err(|error| failed(error.to_string()))?;
        let books = [self.books.account.clone(), self.books.order.clone()];
        let knowledge = Knowledge { wait_for_retries: Duration::ZERO, sole_caller: true };
        // What it could not do is a breach to the check that follows.
        let repaired =
            repair(&books, Settings::at_rest(), knowledge, Some(&calls), io::sink()).await;
        repaired.map(drop).map_err(|error| failed(error.to_string()))
    }
}
