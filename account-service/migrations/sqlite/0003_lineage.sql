-- By these tables the service notices that its database went back in time: a file that was copied back.

CREATE TABLE database_identity (
    singleton   INTEGER PRIMARY KEY CHECK (singleton = 1),
    -- A copy or a backup has the same.
    database_id TEXT NOT NULL,
    -- Raised by an operator who accepts that commits were lost.
    epoch       INTEGER NOT NULL,
    -- Why no process may work on this database in this epoch.
    halted      TEXT
) STRICT;

-- A UUID of version 4.
INSERT INTO database_identity (singleton, database_id, epoch)
SELECT 1, lower(
    substr(h, 1, 8) || '-' || substr(h, 9, 4) || '-4' || substr(h, 14, 3) || '-a' || substr(h, 18, 3) || '-' || substr(h, 21, 12)
), 1
FROM (SELECT hex(randomblob(16)) AS h);

-- Each transaction raises one of them in the same commit.
CREATE TABLE commit_counters (
    counter INTEGER PRIMARY KEY,
    commits INTEGER NOT NULL
) STRICT;
INSERT INTO commit_counters
WITH RECURSIVE n (counter) AS (SELECT 0 UNION ALL SELECT counter + 1 FROM n WHERE counter < 255)
SELECT counter, 0 FROM n;

-- The highest position that was told of the databases of partners: counters in one value, separated by blanks.
CREATE TABLE partner_positions (
    partner_id TEXT PRIMARY KEY,
    epoch      INTEGER NOT NULL,
    commits    TEXT NOT NULL
) STRICT, WITHOUT ROWID;
