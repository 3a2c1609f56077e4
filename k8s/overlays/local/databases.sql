-- Run before every start, so each step is one that may have been done. Each service has a database of its own and cannot
-- read the other's.
SELECT 'CREATE ROLE account LOGIN' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'account') \gexec
ALTER ROLE account PASSWORD 'account-local';
SELECT 'CREATE DATABASE account OWNER account' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'account') \gexec
REVOKE CONNECT ON DATABASE account FROM PUBLIC;

SELECT 'CREATE ROLE orders LOGIN' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'orders') \gexec
ALTER ROLE orders PASSWORD 'orders-local';
SELECT 'CREATE DATABASE orders OWNER orders' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'orders') \gexec
REVOKE CONNECT ON DATABASE orders FROM PUBLIC;
