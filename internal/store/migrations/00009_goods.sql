-- What is told of goods, and where they can be. Nothing in it is of a person but the
-- accounts of those who captured.

-- +goose Up

CREATE TABLE location (
    uri          TEXT   NOT NULL PRIMARY KEY,
    organisation TEXT   NOT NULL,
    facility     TEXT   NOT NULL,
    version      BIGINT NOT NULL,
    content      BYTEA  NOT NULL
);
CREATE INDEX location_place ON location (organisation, facility, uri);

-- Events of EPCIS, in the order in which they were captured.
CREATE TABLE event (
    n            BIGINT NOT NULL PRIMARY KEY,
    id           TEXT   NOT NULL,
    declared     BIGINT NOT NULL, -- 1: it declares the event of its name wrong
    hash         BYTEA  NOT NULL, -- CBV 2.0 section 8.9
    at           BIGINT NOT NULL, -- milliseconds, as time of the event
    recorded     BIGINT NOT NULL, -- milliseconds
    organisation TEXT   NOT NULL, -- that answers for it
    captured     TEXT   NOT NULL, -- by which account
    content      BYTEA  NOT NULL, -- JSON without its context
    prefixes     BYTEA  NOT NULL  -- of its context, JSON
);
CREATE UNIQUE INDEX event_id ON event (id, declared);
CREATE INDEX event_time ON event (at, n);
CREATE INDEX event_organisation ON event (organisation, n);

-- What events did to things. An event that is declared wrong did nothing.
CREATE TABLE move (
    event   BIGINT NOT NULL,
    k       BIGINT NOT NULL,
    thing   TEXT   NOT NULL,
    lot     TEXT   NOT NULL, -- of an item, where the event tells it
    other   TEXT   NOT NULL,
    place   TEXT   NOT NULL,
    deed    TEXT   NOT NULL,
    at      BIGINT NOT NULL, -- milliseconds
    amount  BIGINT NOT NULL, -- -1: not told
    papers  TEXT   NOT NULL, -- one a line
    PRIMARY KEY (event, k)
);
CREATE INDEX move_thing ON move (thing, at);
CREATE INDEX move_lot ON move (lot, thing) WHERE lot <> '';
CREATE INDEX move_place ON move (place, thing);
