-- Who cancelled an order or adjusted stock, as it was authenticated: for people who look into a case. Null where nobody
-- was authenticated, and on rows from before. Nothing is decided by it, and a pod of the version before leaves it out.

ALTER TABLE orders ADD COLUMN cancelled_by text;
ALTER TABLE stock_adjustments ADD COLUMN adjusted_by text;
