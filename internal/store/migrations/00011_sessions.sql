-- Stock that clinics opened, and the doses that were given from it. Which lot a record's
-- dose was of is a keyed hash; the session names its lot plainly, since it is of no
-- person.

-- +goose Up

CREATE TABLE stock_session (
    id           TEXT   NOT NULL PRIMARY KEY,
    organisation TEXT   NOT NULL,
    facility     TEXT   NOT NULL,
    version      BIGINT NOT NULL,
    lot          TEXT   NOT NULL, -- its name, as events have it
    opened       BIGINT NOT NULL, -- seconds
    discard      BIGINT NOT NULL, -- seconds: nothing is given from it from then on
    ended        BIGINT NOT NULL, -- seconds; 0: it is open
    doses        BIGINT NOT NULL, -- that were in it
    given        BIGINT NOT NULL,
    wasted       BIGINT NOT NULL,
    content      BYTEA  NOT NULL
);
CREATE INDEX stock_session_place ON stock_session (organisation, facility, id);
CREATE INDEX stock_session_lot ON stock_session (lot);

CREATE TABLE dose (
    record       BYTEA  NOT NULL PRIMARY KEY,
    lot          BYTEA  NOT NULL, -- keyed hash of its letters and digits
    products     TEXT   NOT NULL, -- codes that name the product, JSON
    day          TEXT   NOT NULL, -- on which it was given
    organisation TEXT   NOT NULL,
    facility     TEXT   NOT NULL,
    session      TEXT   NOT NULL  -- "": none
);
CREATE INDEX dose_lot ON dose (lot, day);
CREATE INDEX dose_session ON dose (session) WHERE session <> '';

-- What is less than a pack is told in doses.
ALTER TABLE move ADD COLUMN unit TEXT NOT NULL DEFAULT '';
