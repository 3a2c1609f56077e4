-- By these tables the service notices that its database went back in time: a restored backup, or a standby that took
-- over without the last commits.

CREATE TABLE database_identity (
    singleton   boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    -- A copy or a backup has the same.
    database_id uuid NOT NULL DEFAULT gen_random_uuid(),
    -- Raised by an operator who accepts that commits were lost.
    epoch       bigint NOT NULL DEFAULT 1,
    -- Why no process may work on this database in this epoch.
    halted      text
);
INSERT INTO database_identity DEFAULT VALUES;

-- Each transaction raises one of them in the same commit. No index covers a changing column, so that these updates stay
-- on their page (HOT); one page has room for many versions of each row.
CREATE TABLE commit_counters (
    counter smallint PRIMARY KEY,
    commits bigint NOT NULL
) WITH (fillfactor = 20);
INSERT INTO commit_counters SELECT n, 0 FROM generate_series(0, 255) AS n;

-- The highest position that was told of the databases of partners: counters in one value, separated by blanks.
CREATE TABLE partner_positions (
    partner_id text COLLATE "C" PRIMARY KEY,
    epoch      bigint NOT NULL,
    commits    text NOT NULL
) WITH (fillfactor = 50);
