-- Run once, on the first start of an empty volume. Each service has a database of its own and cannot read the other's.
CREATE ROLE account LOGIN PASSWORD 'account-local';
CREATE DATABASE account OWNER account;
REVOKE CONNECT ON DATABASE account FROM PUBLIC;

CREATE ROLE orders LOGIN PASSWORD 'orders-local';
CREATE DATABASE orders OWNER orders;
REVOKE CONNECT ON DATABASE orders FROM PUBLIC;
