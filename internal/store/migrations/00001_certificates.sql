-- The same text for SQLite and PostgreSQL. Times are seconds since 1970; a zero
-- is none. What is personal is sealed under the key of its record; records are
-- found by keyed hashes. Rows that belong to a record do not say so by a foreign
-- key: they come and go with it in one statement list, and the check would cost as
-- much as the row.

-- +goose Up

-- store has one row.
CREATE TABLE store (
    id     BYTEA  NOT NULL, -- of this store: its key file and erasure list carry it too
    erased BIGINT NOT NULL, -- how many entries of the erasure list are done
    base   BIGINT NOT NULL  -- the counter that new lists start from
);

CREATE TABLE record (
    id         BYTEA  NOT NULL PRIMARY KEY, -- UUIDv7
    slot       BIGINT NOT NULL UNIQUE,      -- of its key in the key file
    version    BIGINT NOT NULL,
    state      TEXT   NOT NULL,
    reason     TEXT   NOT NULL,
    issued     BIGINT NOT NULL,
    changed    BIGINT NOT NULL,
    corrects   BYTEA,
    correction BYTEA,
    asked      BYTEA  UNIQUE,               -- HMAC of the request key, where there was one
    request    BYTEA,                       -- HMAC of what was asked for
    terms      BYTEA  NOT NULL,             -- the record's rows of term, 16 bytes each, to delete them by
    content    BYTEA  NOT NULL              -- sealed
);

CREATE TABLE artefact (
    record  BYTEA  NOT NULL,
    n       BIGINT NOT NULL,
    format  TEXT   NOT NULL,
    kid     BYTEA  NOT NULL,
    scheme  TEXT   NOT NULL, -- empty: the format has none
    mark    BYTEA  NOT NULL,
    expires BIGINT NOT NULL,
    current BIGINT NOT NULL, -- 1, or 0 after another took its place
    content BYTEA  NOT NULL, -- sealed
    PRIMARY KEY (record, n)
);

CREATE TABLE term (
    mac    BYTEA NOT NULL, -- HMAC-SHA-256 of kind and text, its first 16 bytes
    record BYTEA NOT NULL,
    PRIMARY KEY (mac, record)
);

-- list and revoked outlive the records.
CREATE TABLE list (
    scheme  TEXT   NOT NULL,
    kid     BYTEA  NOT NULL,
    counter BIGINT NOT NULL,
    PRIMARY KEY (scheme, kid)
);

CREATE TABLE revoked (
    scheme  TEXT   NOT NULL,
    kid     BYTEA  NOT NULL,
    mark    BYTEA  NOT NULL,
    change  BIGINT NOT NULL, -- the list's counter after it was added
    expires BIGINT NOT NULL,
    record  BYTEA,           -- none after the record was erased
    PRIMARY KEY (scheme, kid, mark)
);
CREATE INDEX revoked_record ON revoked (record);

CREATE TABLE audit (
    id     BYTEA  NOT NULL PRIMARY KEY, -- UUIDv7
    at     BIGINT NOT NULL,
    actor  TEXT   NOT NULL,
    action TEXT   NOT NULL,
    record BYTEA,
    reason TEXT   NOT NULL
);
