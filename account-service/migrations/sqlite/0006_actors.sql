-- Who asked for a deposit or a refund, as it was authenticated: for people who look into a case. Null where nobody was
-- authenticated, and on rows from before. Nothing is decided by it, and a pod of the version before leaves it out.

ALTER TABLE deposits ADD COLUMN deposited_by text;
ALTER TABLE refunds ADD COLUMN refunded_by text;
