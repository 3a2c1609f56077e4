-- A CHECK is read and evaluated for each row that is written. These say once more what the program's types leave no way
-- around: that ids are positive, lines are counted, and states are spelt as they are. Those about money stay.
--
-- A constraint that is gone takes nothing from the version before. Dropping it takes the table for itself, for a moment: it
-- waits longer than an autovacuum takes to give way, no longer, and `migrate` tries again.

SET LOCAL lock_timeout = '1500ms';

ALTER TABLE accounts
    DROP CONSTRAINT accounts_account_id_check,
    DROP CONSTRAINT accounts_entries_check;

ALTER TABLE reservations
    DROP CONSTRAINT reservations_account_id_check,
    DROP CONSTRAINT reservations_state_check,
    -- a decline is said of what is declined, and only of that
    DROP CONSTRAINT reservations_check2,
    -- a hold has an end
    DROP CONSTRAINT reservations_check3;

ALTER TABLE entries
    DROP CONSTRAINT entries_sequence_check,
    DROP CONSTRAINT entries_kind_check;
