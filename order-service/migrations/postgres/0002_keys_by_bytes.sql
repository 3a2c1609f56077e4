-- Text in unique indexes is compared by its bytes. Under the collation that the database happens to have, a new version
-- of the system's library may sort otherwise; an index that was built before then no longer finds its rows, and one
-- key could place two orders.
--
-- Each index is built anew while its table is locked: two seconds for a million orders, while claims wait.

SET LOCAL statement_timeout = 0;
ALTER TABLE idempotency_keys ALTER COLUMN idempotency_key TYPE varchar(128) COLLATE "C";
ALTER TABLE orders ALTER COLUMN idempotency_key TYPE varchar(128) COLLATE "C";
ALTER TABLE stock_adjustments ALTER COLUMN adjustment_id TYPE varchar(128) COLLATE "C";
ALTER TABLE outbox ALTER COLUMN action TYPE text COLLATE "C";
