//! Reads both databases at rest, and does to them what time would.

use std::collections::BTreeSet;

use database::{DatabaseUrl, Postgres, Sqlite};
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use uuid::Uuid;

use super::state::{Account, Order, Reservation, State};
use crate::rows::{ReadError, money, number, rows};

/// Where they are.
#[derive(Clone, Debug)]
pub struct Books {
    /// Of account-service.
    pub account: DatabaseUrl,
    /// Of order-service.
    pub order: DatabaseUrl,
}

/// The queries, by backend; each column is text.
struct Queries {
    orders: &'static str,
    payments: &'static str,
    undecided: &'static str,
    /// Of them, those that somebody has a lease on, and no transaction is deciding now.
    leased: &'static str,
    leased_in_orders: &'static str,
    waiting: &'static str,
    stock: &'static str,
}

const POSTGRES: Queries = Queries {
    orders:
        "SELECT account_id::text, idempotency_key, order_id::text, amount::text, status FROM orders
        WHERE status IN ('PLACED', 'CANCELLED')",
    payments: "SELECT order_id::text, payment_id::text FROM order_payments",
    undecided: "SELECT account_id::text, idempotency_key FROM keys WHERE status = 'PROCESSING'",
    leased: "
        SELECT account_id::text, order_id::text FROM idempotency_keys
        WHERE status = 'PROCESSING' AND lease_until > now() FOR NO KEY UPDATE SKIP LOCKED",
    leased_in_orders: "
        SELECT o.account_id::text, o.order_id::text
        FROM orders AS o JOIN claim_batches AS b ON b.batch_id = o.batch
        WHERE o.status = 'PROCESSING' AND b.lease_until > now() FOR NO KEY UPDATE OF o SKIP LOCKED",
    waiting: "SELECT account_id::text, order_id::text, action FROM notices",
    stock: "SELECT product_id::text, stock::text FROM products",
};

const SQLITE: Queries = Queries {
    orders: "SELECT CAST(account_id AS text), idempotency_key, hex(order_id), CAST(amount AS text), status FROM orders
        WHERE status IN ('PLACED', 'CANCELLED')",
    payments: "SELECT hex(order_id), hex(payment_id) FROM order_payments",
    undecided: "SELECT CAST(account_id AS text), idempotency_key FROM keys WHERE status = 'PROCESSING'",
    leased: "
        SELECT CAST(account_id AS text), hex(order_id) FROM idempotency_keys
        WHERE status = 'PROCESSING' AND lease_until > unixepoch('subsec') * 1000000",
    leased_in_orders: "
        SELECT CAST(o.account_id AS text), hex(o.order_id)
        FROM orders AS o JOIN claim_batches AS b ON b.batch_id = o.batch
        WHERE o.status = 'PROCESSING' AND b.lease_until > unixepoch('subsec') * 1000000",
    waiting: "SELECT CAST(account_id AS text), hex(order_id), action FROM notices",
    stock: "SELECT CAST(product_id AS text), CAST(stock AS text) FROM products",
};

const RESERVATIONS: &str =
    "SELECT CAST(account_id AS text), reserve_id, state, CAST(amount AS text) FROM reservations";
const HELD: &str =
    "SELECT CAST(account_id AS text), reserve_id FROM reservations WHERE state = 'HELD'";
const DEPOSITS: &str =
    "SELECT CAST(account_id AS text), deposit_id, CAST(amount AS text) FROM deposits";
const REFUNDS: &str =
    "SELECT CAST(account_id AS text), reserve_id, refund_id, CAST(amount AS text) FROM refunds";
const ACCOUNTS: &str = "
    SELECT CAST(account_id AS text), CAST(balance AS text), CAST(reserved AS text) FROM accounts";

/// As when their lifetime is over: keys that are decided, and not only just now. A refusal's row leaves the orders first,
/// when no claim of before can be under way.
const FORGET_POSTGRES: [&str; 2] = [
    "
    WITH due AS (
        DELETE FROM refused_batches WHERE due_at < now() + interval '105 seconds' RETURNING accounts, orders
    )
    DELETE FROM orders AS o
    USING due CROSS JOIN LATERAL UNNEST(due.accounts, due.orders) AS c (account_id, order_id)
    WHERE o.account_id = c.account_id AND o.order_id = c.order_id AND o.status = 'REFUSED'",
    "
    DELETE FROM idempotency_keys AS k
    WHERE decided_at < now() - interval '1 second' AND NOT EXISTS (
        SELECT FROM orders AS o
        WHERE o.account_id = k.account_id AND o.idempotency_key = k.idempotency_key AND o.status = 'REFUSED'
    )
    RETURNING account_id::text, idempotency_key, status",
];
const FORGET_SQLITE: [&str; 2] = [
    "
    DELETE FROM orders WHERE status = 'REFUSED' AND (account_id, order_id) IN (
        SELECT c.value ->> 0, unhex(c.value ->> 1) FROM refused_batches AS b CROSS JOIN json_each(b.orders) AS c
        WHERE b.due_at < unixepoch('subsec') * 1000000 + 105000000
    )",
    "
    DELETE FROM idempotency_keys
    WHERE decided_at < unixepoch('subsec') * 1000000 - 1000000 AND NOT EXISTS (
        SELECT 1 FROM orders AS o
        WHERE o.account_id = idempotency_keys.account_id AND o.idempotency_key = idempotency_keys.idempotency_key
          AND o.status = 'REFUSED'
    )
    RETURNING CAST(account_id AS text), idempotency_key, status",
];

const CLAIM_IN_ORDERS: &str = "UPDATE layout SET claims = 'orders'";

const TWO_ORDERS_A_KEY: &str =
    "ALTER TABLE orders DROP CONSTRAINT orders_account_id_idempotency_key_key";

impl Books {
    /// Reads all that the checker judges.
    ///
    /// # Errors
    /// When a database cannot be read, or holds what no service wrote.
    pub async fn read(&self) -> Result<State, ReadError> {
        let mut state = State::default();
        self.read_orders(&mut state).await?;
        self.read_accounts(&mut state).await?;
        Ok(state)
    }

    /// The orders by a key, of any account.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn orders_of_key(&self, key: &str) -> Result<Vec<Order>, ReadError> {
        let mut state = State::default();
        self.read_orders(&mut state).await?;
        state.orders.retain(|order| order.key == key);
        Ok(state.orders)
    }

    /// How many keys are undecided and outbox rows wait.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn unfinished(&self) -> Result<usize, ReadError> {
        let queries = self.queries();
        let undecided = rows(&self.order, queries.undecided).await?.len();
        Ok(undecided + rows(&self.order, queries.waiting).await?.len())
    }

    /// The ids of orders whose money is held and whose keys somebody has a lease on, but does not decide at this moment.
    ///
    /// # Errors
    /// When a database cannot be read.
    pub async fn paid_and_undecided(&self) -> Result<BTreeSet<String>, ReadError> {
        let mut undecided = BTreeSet::new();
        let queries = self.queries();
        for leased in [queries.leased, queries.leased_in_orders] {
            for row in rows(&self.order, leased).await? {
                let [_, order_id] = columns(row)?;
                undecided.insert(id(&order_id)?);
            }
        }
        let mut paid = BTreeSet::new();
        for row in rows(&self.account, HELD).await? {
            let [_, reserve_id] = columns(row)?;
            paid.extend(undecided.take(&reserve_id));
        }
        Ok(paid)
    }

    /// Whether the account service must still be told of a release.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn has_releases(&self) -> Result<bool, ReadError> {
        let waiting = rows(&self.order, self.queries().waiting).await?;
        Ok(waiting.iter().any(|row| row.last().is_some_and(|action| action == "RELEASE")))
    }

    /// Keeps everybody from writing orders until the answer is dropped; on SQLite, where there is one writer at a time.
    ///
    /// # Errors
    /// When another writer does not end.
    pub async fn hold_orders(&self) -> sqlx::Result<Option<SqliteConnection>> {
        let DatabaseUrl::Sqlite(path) = &self.order else { return Ok(None) };
        let mut connection = Sqlite::options(path).connect().await?;
        sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut connection).await?;
        Ok(Some(connection))
    }

    /// Forgets decided keys, as the service does when their lifetime is over. Answers those that had been refused.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn forget_keys(&self) -> Result<Vec<(i64, String)>, ReadError> {
        let forget = match &self.order {
            DatabaseUrl::Postgres(_) => FORGET_POSTGRES,
            DatabaseUrl::Sqlite(_) => FORGET_SQLITE,
        };
        let [leave, forget] = forget;
        rows(&self.order, leave).await?;
        let mut refused = Vec::new();
        for row in rows(&self.order, forget).await? {
            let [account, key, status] = columns(row)?;
            if status == "FAILED" {
                refused.push((number(&account)?, key));
            }
        }
        Ok(refused)
    }

    /// Lets claims go into the rows of orders.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn claim_in_orders(&self) -> sqlx::Result<()> {
        self.execute(CLAIM_IN_ORDERS).await
    }

    /// Takes the last fence away, on PostgreSQL.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn allow_two_orders_a_key(&self) -> sqlx::Result<()> {
        self.execute(TWO_ORDERS_A_KEY).await
    }

    async fn execute(&self, statement: &'static str) -> sqlx::Result<()> {
        match &self.order {
            DatabaseUrl::Postgres(address) => {
                let options = Postgres::options((**address).clone(), "chaos");
                let mut connection = options.connect().await?;
                sqlx::raw_sql(statement).execute(&mut connection).await?;
                connection.close().await
            }
            DatabaseUrl::Sqlite(path) => {
                let mut connection = Sqlite::options(path).connect().await?;
                sqlx::raw_sql(statement).execute(&mut connection).await?;
                connection.close().await
            }
        }
    }

    fn queries(&self) -> Queries {
        match &self.order {
            DatabaseUrl::Postgres(_) => POSTGRES,
            DatabaseUrl::Sqlite(_) => SQLITE,
        }
    }

    async fn read_orders(&self, state: &mut State) -> Result<(), ReadError> {
        let (url, queries) = (&self.order, self.queries());
        for row in rows(url, queries.orders).await? {
            let [account, key, order_id, amount, status] = columns(row)?;
            let (account, order_id) = (number(&account)?, id(&order_id)?);
            let (units, cancelled) = (money(url, &amount)?.units(), status == "CANCELLED");
            state.orders.push(Order { account, key, order_id, units, cancelled });
        }
        for row in rows(url, queries.payments).await? {
            let [order, payment] = columns(row)?;
            state.payments.insert(id(&order)?, id(&payment)?);
        }
        for row in rows(url, queries.undecided).await? {
            let [account, key] = columns(row)?;
            state.undecided.push((number(&account)?, key));
        }
        for row in rows(url, queries.waiting).await? {
            let [account, order, action] = columns(row)?;
            state.waiting.push((number(&account)?, id(&order)?, action));
        }
        for row in rows(url, queries.stock).await? {
            let [product, stock] = columns(row)?;
            state.stock.insert(number(&product)?, number(&stock)?);
        }
        Ok(())
    }

    async fn read_accounts(&self, state: &mut State) -> Result<(), ReadError> {
        let url = &self.account;
        for row in rows(url, RESERVATIONS).await? {
            let [account, name, stored, amount] = columns(row)?;
            let reservation = Reservation { state: stored, units: money(url, &amount)?.units() };
            state.reservations.insert((number(&account)?, name), reservation);
        }
        for row in rows(url, DEPOSITS).await? {
            let [account, name, amount] = columns(row)?;
            state.deposits.insert((number(&account)?, name), money(url, &amount)?.units());
        }
        for row in rows(url, REFUNDS).await? {
            let [account, order, name, amount] = columns(row)?;
            let name = (number(&account)?, order, name);
            state.refunds.insert(name, money(url, &amount)?.units());
        }
        for row in rows(url, ACCOUNTS).await? {
            let [account, balance, reserved] = columns(row)?;
            let (balance, reserved) =
                (money(url, &balance)?.units(), money(url, &reserved)?.units());
            state.accounts.insert(number(&account)?, Account { balance, reserved });
        }
        Ok(())
    }
}

fn columns<const N: usize>(row: Vec<String>) -> Result<[String; N], ReadError> {
    row.try_into().map_err(|row: Vec<String>| ReadError::Row(row.join(", ")))
}

/// As clients are told it.
fn id(text: &str) -> Result<String, ReadError> {
    let id = Uuid::parse_str(text).map_err(|_| ReadError::Row(text.to_owned()))?;
    Ok(id.to_string())
}
