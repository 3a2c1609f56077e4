-- How long the keys of each day are kept, in whole days: the longest lifetime that any pod was told on that day. Pods with
-- different lifetimes may run side by side; none lets go of keys that another one promised to keep.

CREATE TABLE key_days (
    day           date PRIMARY KEY,
    lifetime_days integer NOT NULL CHECK (lifetime_days > 0)
);
