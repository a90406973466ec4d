-- What is held against lots, and what was said of them. Nothing in it is of a person.

-- +goose Up

-- Lots as events name them, by the letters and digits of their numbers.
CREATE TABLE lot_number (
    number TEXT NOT NULL,
    lot    TEXT NOT NULL,
    PRIMARY KEY (number, lot)
);

CREATE TABLE concern (
    id      TEXT   NOT NULL PRIMARY KEY,
    version BIGINT NOT NULL,
    stands  BIGINT NOT NULL,
    lot     TEXT   NOT NULL,
    content BYTEA  NOT NULL
);
CREATE INDEX concern_stands ON concern (stands, lot);

-- Statements about lots that this service signed.
CREATE TABLE lot_statement (
    id      BYTEA  NOT NULL PRIMARY KEY,
    at      BIGINT NOT NULL,
    message BYTEA  NOT NULL
);
