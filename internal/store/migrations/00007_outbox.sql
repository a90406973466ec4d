-- What is to stand in the ledger's log, and what became of it. Nothing in it is
-- personal: roots and digests, and what is public once it is logged.

-- +goose Up

CREATE TABLE outbox (
    n        BIGINT NOT NULL PRIMARY KEY, -- from 1, in the order in which it was put
    key      TEXT   NOT NULL UNIQUE,
    kind     TEXT   NOT NULL,
    about    BYTEA  NOT NULL, -- the root of a batch, or the SHA-256 of a list's address
    size     BIGINT NOT NULL, -- leaves of a batch, or bytes of a list
    digest   BYTEA,           -- of a list
    until    BIGINT NOT NULL, -- of a list; 0: none
    put      BIGINT NOT NULL,
    stage    BIGINT NOT NULL, -- see notary.Stage
    message  BYTEA,           -- once it is signed
    reason   TEXT   NOT NULL,
    retry    BIGINT NOT NULL,
    leaf     BIGINT NOT NULL, -- index in the log, once it is logged
    proof    BYTEA,
    cosigned BIGINT NOT NULL,
    receipt  BYTEA
);
CREATE INDEX outbox_stage ON outbox (stage, n);
CREATE INDEX outbox_about ON outbox (about, n);

-- Batches that were closed before.
INSERT INTO outbox (n, key, kind, about, size, until, put, stage, reason, retry, leaf, cosigned)
    SELECT n, 'batch/' || n, 'fp.batch', root, length(leaves) / 32, 0, closed, 0, '', 0, 0, 0 FROM batch;
