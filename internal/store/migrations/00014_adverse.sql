-- Adverse events that followed doses. All that is said of one is sealed with the key of
-- its record and goes with it; what is counted is opened to be counted.

-- +goose Up

CREATE TABLE adverse (
    id      BYTEA  NOT NULL,
    version BIGINT NOT NULL,
    record  BYTEA  NOT NULL, -- whose key seals it
    counted BYTEA  NOT NULL, -- that stands now in the place of record, of whose dose it is
    content BYTEA  NOT NULL,
    PRIMARY KEY (id, version)
);
CREATE INDEX adverse_record ON adverse (record);
CREATE INDEX adverse_counted ON adverse (counted);
