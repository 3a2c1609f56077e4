-- Why exactly a reservation was declined, where `decline` does not say it: CURRENCY_MISMATCH, AMOUNT_PRECISION.
--
-- A pod of the version before cannot read a `decline` that it does not know, and must go on refusing what was refused.
-- So `decline` keeps to the two reasons of that version, and this column is one that it never looks at.

ALTER TABLE reservations ADD COLUMN cause varchar(32);
