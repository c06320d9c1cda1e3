-- +goose Up
-- One narrow row per mail, so that an audit of millions reads no body. refs is how many mailboxes still list the mail: with
-- the last one its bytes and its envelope go, and the row stays until the mail expires, so that a replay does not bring the
-- mail back. Times are Unix milliseconds.
CREATE TABLE mail (
  id       BLOB NOT NULL PRIMARY KEY,
  size     INTEGER NOT NULL,
  sha256   BLOB NOT NULL,
  parts    INTEGER NOT NULL,
  refs     INTEGER NOT NULL,
  stored   INTEGER NOT NULL,
  envelope BLOB NOT NULL
) WITHOUT ROWID;
