-- What prices and orders are counted in (ISO 4217). Null is the service's default (--default-currency), which a
-- migration cannot know: rows from before there were currencies have none, nor have those that a pod of the version
-- before writes.
-- Payments and notices are in the currency of their order.

ALTER TABLE products ADD COLUMN currency TEXT;
ALTER TABLE idempotency_keys ADD COLUMN currency TEXT;
ALTER TABLE orders ADD COLUMN currency TEXT;
