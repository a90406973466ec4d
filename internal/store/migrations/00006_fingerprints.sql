-- Fingerprints of what was signed. Nothing in them is personal: a leaf is made with
-- a signature, of which there is no copy that is not sealed, and names no record. So
-- it stays when its record is erased, and is one more decoy then.

-- +goose Up

-- The leaves of the open batch.
CREATE TABLE leaf (
    hash BYTEA  NOT NULL,
    at   BIGINT NOT NULL -- of its making, cut to the hour: the second is with the record
);

-- Closed batches.
CREATE TABLE batch (
    n      BIGINT NOT NULL PRIMARY KEY, -- from 1
    closed BIGINT NOT NULL,
    root   BYTEA  NOT NULL,
    leaves BYTEA  NOT NULL -- 32 bytes each, decoys among them, in the order of the tree
);

-- The first batch that can have the certificate's leaf; 0: it was made before there
-- were fingerprints.
ALTER TABLE artefact ADD COLUMN batch BIGINT NOT NULL DEFAULT 0;
