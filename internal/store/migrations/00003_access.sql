-- People, and the seals of the audit log. What names a person (login names, names
-- that people give to their passkeys and tokens) is sealed, and found by keyed
-- hashes; secrets are kept as hashes.

-- +goose Up

ALTER TABLE audit ADD COLUMN subject TEXT NOT NULL DEFAULT '';      -- account, session or token that it is about
ALTER TABLE audit ADD COLUMN organisation TEXT NOT NULL DEFAULT '';
ALTER TABLE audit ADD COLUMN seal BIGINT NOT NULL DEFAULT 0;        -- 0: not sealed yet
ALTER TABLE audit ADD COLUMN mac BYTEA;                             -- none on lines from before there were seals
CREATE INDEX audit_seal ON audit (seal, id);

CREATE TABLE seal (
    n       BIGINT NOT NULL PRIMARY KEY, -- from 1, without a gap
    at      BIGINT NOT NULL,
    adopted BIGINT NOT NULL, -- 1: lines from before there were seals
    lines   BIGINT NOT NULL,
    total   BIGINT NOT NULL, -- of this seal and all before it
    first   BYTEA  NOT NULL, -- smallest and largest identifier of its lines
    last    BYTEA  NOT NULL,
    digest  BYTEA  NOT NULL, -- SHA-256 of its lines
    prev    BYTEA  NOT NULL, -- hash of the seal before; zeros for the first
    mac     BYTEA  NOT NULL  -- HMAC of its own hash
);

CREATE TABLE account (
    id           TEXT   NOT NULL PRIMARY KEY, -- u- and a UUIDv7
    organisation TEXT   NOT NULL,
    login        BYTEA  NOT NULL UNIQUE,      -- HMAC of the login name
    grants       TEXT   NOT NULL,             -- JSON
    disabled     BIGINT NOT NULL,
    created      BIGINT NOT NULL,
    version      BIGINT NOT NULL,
    content      BYTEA  NOT NULL              -- sealed: the login name
);
CREATE INDEX account_organisation ON account (organisation, id);

CREATE TABLE credential (
    id      TEXT   NOT NULL PRIMARY KEY, -- c- and a UUIDv7
    account TEXT   NOT NULL,
    kind    TEXT   NOT NULL,
    handle  BYTEA  NOT NULL UNIQUE, -- HMAC of kind and handle
    created BIGINT NOT NULL,
    used    BIGINT NOT NULL,
    content BYTEA  NOT NULL         -- sealed
);
CREATE INDEX credential_account ON credential (account, id);

CREATE TABLE invitation (
    hash    BYTEA  NOT NULL PRIMARY KEY, -- SHA-256 of the token in the link
    account TEXT   NOT NULL,
    ends    BIGINT NOT NULL
);

CREATE TABLE session (
    id      TEXT   NOT NULL PRIMARY KEY, -- s- and a UUIDv7
    hash    BYTEA  NOT NULL UNIQUE,      -- SHA-256 of the cookie
    account TEXT   NOT NULL,
    kind    TEXT   NOT NULL,             -- of the credential
    created BIGINT NOT NULL,
    seen    BIGINT NOT NULL,
    ends    BIGINT NOT NULL
);
CREATE INDEX session_account ON session (account, id);

CREATE TABLE token (
    id       TEXT   NOT NULL PRIMARY KEY, -- t- and a UUIDv7
    hash     BYTEA  NOT NULL UNIQUE,      -- SHA-256 of the token
    account  TEXT   NOT NULL,
    scopes   TEXT   NOT NULL,             -- JSON
    facility TEXT   NOT NULL,
    created  BIGINT NOT NULL,
    ends     BIGINT NOT NULL,
    used     BIGINT NOT NULL,             -- the day of its last use
    content  BYTEA  NOT NULL              -- sealed: its name
);
CREATE INDEX token_account ON token (account, id);

CREATE TABLE setting (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);
