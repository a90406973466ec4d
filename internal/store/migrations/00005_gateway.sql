-- What the operator of a trust network's gateway lists. Nothing in it is personal:
-- certificates of participants, signed lists, hashes that are published anyway.

-- +goose Up

CREATE TABLE gateway_item (
    id      TEXT   NOT NULL PRIMARY KEY, -- UUID
    number  BIGINT NOT NULL UNIQUE,      -- from 1
    kind    TEXT   NOT NULL,
    name    TEXT   NOT NULL,
    country TEXT   NOT NULL,
    grp     TEXT   NOT NULL,
    domain  TEXT   NOT NULL,
    kid     TEXT   NOT NULL,
    claim   TEXT   NOT NULL,             -- the KID as nobody else's may be; '' claims none
    signer  TEXT   NOT NULL,
    created BIGINT NOT NULL,             -- microseconds
    changed BIGINT NOT NULL UNIQUE,      -- microseconds
    expires BIGINT NOT NULL,             -- seconds; 0: no end
    deleted BIGINT NOT NULL,
    about   TEXT   NOT NULL,             -- JSON
    content BYTEA,
    signed  BYTEA                        -- none once it is deleted
);
CREATE UNIQUE INDEX gateway_item_name ON gateway_item (kind, name) WHERE deleted = 0;
CREATE UNIQUE INDEX gateway_item_claim ON gateway_item (claim) WHERE deleted = 0 AND claim <> '';
CREATE INDEX gateway_item_kind ON gateway_item (kind, changed);
CREATE INDEX gateway_item_country ON gateway_item (country, changed);

-- The one row, from the first change on, of which whoever changes something takes the next time and number.
-- Writers wait for each other at it, so that times become visible in their order.
CREATE TABLE gateway_clock (
    id      BIGINT NOT NULL PRIMARY KEY,
    changed BIGINT NOT NULL,
    number  BIGINT NOT NULL
);

-- Proposals that were applied, so that none is applied again.
CREATE TABLE gateway_applied (
    digest  TEXT   NOT NULL PRIMARY KEY,
    changed BIGINT NOT NULL
);
